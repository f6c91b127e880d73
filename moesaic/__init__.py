"""Moesaic: co-design of accelerators for mixture-of-experts vision transformers."""

import importlib
from typing import Any

__version__ = "0.1.0"

_API = ("Accuracy", "Compiled", "Model", "Quantised", "Result", "load")


def __getattr__(name: str) -> Any:
    """`moesaic.load` and the rest of `moesaic.api`, imported when it is first asked for: torch takes seconds."""
    if name not in _API:
        raise AttributeError(f"module 'moesaic' has no attribute {name!r}")
    return getattr(importlib.import_module("moesaic.api"), name)
