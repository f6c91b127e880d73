"""Moesaic: co-design of accelerators for mixture-of-experts vision transformers."""

__version__ = "0.1.0"
