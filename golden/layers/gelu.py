"""GELU in floats."""

__all__ = ["GELU"]

GELU = {"exact": "none", "tanh": "tanh"}  # torch's words for the kinds of GELU
