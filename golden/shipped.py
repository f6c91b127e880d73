"""Weights that come with the package."""

import importlib.resources
from importlib.resources.abc import Traversable

__all__ = ["shipped_weights"]


def shipped_weights(model: str) -> Traversable | None:
    """The file of trained weights of a built-in model; None if it has none."""
    found = importlib.resources.files("moesaic.golden") / "weights" / f"{model}.safetensors"
    return found if found.is_file() else None
