"""The list of rooms: a new kind of layer is added here."""

from typing import Any

from moesaic.compiler.ir import CompileError
from moesaic.compiler.layers.attention import AttentionRoom
from moesaic.compiler.layers.mlp import MLPRoom
from moesaic.compiler.layers.moe import MoERoom
from moesaic.compiler.layers.room import Room
from moesaic.golden.layers.attention import QuantAttention
from moesaic.golden.layers.layer import QuantLayer
from moesaic.golden.layers.mlp import QuantMLP
from moesaic.golden.layers.moe import QuantMoE

__all__ = ["ROOMS", "room", "room_of_stage"]

ROOMS: dict[str, Room[Any]] = {
    QuantAttention.kind: AttentionRoom(),
    QuantMLP.kind: MLPRoom(),
    QuantMoE.kind: MoERoom(),
}


def room(layer: QuantLayer) -> Room[Any]:
    """The room of a layer.

    Raises
    ------
    CompileError
        If the compiler has none for its kind.
    """
    if layer.kind not in ROOMS:
        raise CompileError(
            f"layer behind '{layer.norm.name}': kind must be one of {', '.join(ROOMS)}, not {layer.kind!r}"
        )
    return ROOMS[layer.kind]


def room_of_stage(stage: str) -> Room[Any] | None:
    """The room that lowered a stage; None for what is no layer: the embedding and the result."""
    return ROOMS.get(stage)
