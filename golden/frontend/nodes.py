"""Names and functions of the nodes of a captured graph."""

from collections.abc import Callable
from typing import Any

from torch import fx

__all__ = ["function_of", "name_of"]


def name_of(node: fx.Node) -> str:
    """ATen name of what a node calls, without overload: `linear`."""
    packet = getattr(node.target, "overloadpacket", node.target)
    return str(getattr(packet, "__name__", packet))


def function_of(node: fx.Node) -> Callable[..., Any]:
    """What a node calls."""
    assert callable(node.target)
    return node.target
