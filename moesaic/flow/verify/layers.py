"""A network of every kind of layer that the accelerator has, with sizes that fill no block."""

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from moesaic.golden.layers.fixed_points import ACTIVATIONS
from moesaic.golden.layers.sizes import (
    GATE_KINDS,
    NORM_KINDS,
    AttentionSizes,
    LayerSizes,
    MLPSizes,
    MoESizes,
    NormSizes,
)
from moesaic.golden.m3vit import M3ViT, seeded
from moesaic.golden.network import Network
from moesaic.golden.nodes import Image, Layer, chain_of

__all__ = ["SIDE", "every_layer"]

DIM, SIDE, PATCH = 20, 24, 8
HIDDEN = (9, 12, 17, 24)


def _forms(sizes: MLPSizes | MoESizes) -> Iterator[LayerSizes]:
    """The sizes, and those with each flag that is off turned on, where the hardware has it."""
    yield sizes
    for field in fields(sizes):
        if field.default is False:
            on: dict[str, Any] = {field.name: True}
            other = replace(sizes, **on)
            if not other.missing:
                yield other


def _layers() -> list[LayerSizes]:
    mlps: list[LayerSizes] = []
    for place, activation in enumerate(ACTIVATIONS):
        mlps += _forms(MLPSizes(hidden=HIDDEN[place % len(HIDDEN)], activation=activation))
    mixtures: list[LayerSizes] = []
    for kind, (experts, k) in zip(GATE_KINDS, ((5, 1), (8, 2)), strict=True):
        for place, activation in enumerate(list(ACTIVATIONS)[::3]):
            sizes = MoESizes(experts=experts, hidden=10 - place, top_k=k, gate_kind=kind, activation=activation)
            mixtures += _forms(sizes)
    return [AttentionSizes(heads=1, head_dim=DIM), *mlps, AttentionSizes(heads=5, head_dim=DIM // 5), *mixtures]


def every_layer(seed: int) -> M3ViT:
    """The network with seeded parameters; norms of all kinds in turn."""
    image = Image(height=SIDE, width=SIDE, patch_height=PATCH, patch_width=PATCH)
    norms = [NormSizes(kind=NORM_KINDS[place % len(NORM_KINDS)]) for place in range(len(_layers()))]
    blocks = [[Layer(sizes=sizes, norm=norm)] for sizes, norm in zip(_layers(), norms, strict=True)]
    nodes = chain_of(image, 0, DIM, blocks)
    network = Network(name="every-layer", tasks=("x",), image=image, class_token=False, nodes=nodes)
    return seeded(network, seed)
