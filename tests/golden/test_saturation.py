"""Saturation is counted: wherever a value has no room, under the name of its tensor, and nowhere else."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from quantmodels import layer_replaced, random_image, random_qmodel

from moesaic.golden import numerics
from moesaic.golden.config import M3ViTConfig
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.numerics import Array
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.saturation import CLIPPED_SHARE, NONE, SHARE, Count, Saturation

CONFIG = M3ViTConfig(
    image_size=(16, 16), patch_size=8, dim=16, heads=2, depth=2, experts=4, expert_hidden=16, tasks=("task",)
)
IMAGE = random_image(CONFIG, 1)


def louder(linear: Any) -> Any:
    """A matrix whose results are 256 times as large."""
    return dataclasses.replace(linear, shift=linear.shift - 8)


def changed(qmodel: QuantModel, block: int, position: int, **changes: Any) -> QuantModel:
    layer = qmodel.blocks[block].layers[position]
    new = dataclasses.replace(layer, **{name: change(getattr(layer, name)) for name, change in changes.items()})
    blocks = list(qmodel.blocks)
    blocks[block] = layer_replaced(blocks[block], position, new)
    return dataclasses.replace(qmodel, blocks=tuple(blocks))


PLAIN = random_qmodel(CONFIG, 5)
POINTS = {  # a network -> where values have no room then
    "embed": dataclasses.replace(PLAIN, embed=louder(PLAIN.embed)),
    "embed.residual": dataclasses.replace(PLAIN, position=np.full_like(PLAIN.position, 32700)),
    "blocks.0.norm1": changed(PLAIN, 0, 0, norm=louder),
    "blocks.0.attn.q": changed(PLAIN, 0, 0, q=louder),
    "blocks.0.attn.k.stored": changed(PLAIN, 0, 0, k=louder),
    "blocks.0.attn.scores": changed(PLAIN, 0, 0, score_shift=lambda shift: shift - 8),
    "blocks.0.attn.context": changed(PLAIN, 0, 0, context_shift=lambda shift: shift - 8),
    "blocks.0.attn.proj": changed(PLAIN, 0, 0, proj=louder),
    "blocks.0.attn.residual": changed(PLAIN, 0, 0, proj=louder),
    "blocks.0.mlp.fc1": changed(PLAIN, 0, 1, fc1=louder),
    "blocks.0.mlp.hidden": changed(PLAIN, 0, 1, hidden_shift=lambda shift: shift - 8),
    "blocks.1.mlp.gate.task": changed(PLAIN, 1, 1, gates=lambda gates: {"task": louder(gates["task"])}),
    "blocks.1.mlp.experts.hidden": changed(PLAIN, 1, 1, hidden_shift=lambda shift: shift - 8),
    "blocks.1.mlp.scored": changed(PLAIN, 1, 1, score_shift=lambda shift: shift - 8),
}


def counted(qmodel: QuantModel) -> dict[str, Count]:
    saturation = Saturation()
    IntM3ViT(qmodel, 4).run(IMAGE, "task", saturation=saturation)
    return saturation.counts


@pytest.mark.parametrize("point", POINTS)
def test_no_saturation_is_silent(monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Every value that any saturation of the arithmetic changes is in a count."""
    changes, saturate = 0, numerics.saturate

    def watched(x: Array, bits: int) -> Array:
        nonlocal changes
        fitted = saturate(x, bits)
        changes += int(np.count_nonzero(fitted != x))
        return fitted

    monkeypatch.setattr(numerics, "saturate", watched)
    found = counted(POINTS[point])
    assert found[point].saturated > 0 and found[point].excessive
    assert changes == sum(count.saturated for count in found.values())


def test_counts_are_of_values_that_changed() -> None:
    saturation = Saturation()
    assert saturation.fit("a", np.array([-129, -128, 127, 128, 300]), 8).tolist() == [-128, -128, 127, 127, 127]
    assert saturation.stored("a", np.array([127, 128]), wide=False).tolist() == [127, 127]
    assert saturation.stored("b", np.array([32639, 32640, -32768]), wide=True).tolist() == [32639, 32639, -32768]
    assert {name: (c.values, c.saturated) for name, c in saturation.counts.items()} == {"a": (7, 4), "b": (3, 1)}


def test_what_is_excessive() -> None:
    assert NONE == 0 and SHARE == 1e-3 and CLIPPED_SHARE == 1e-2
    assert Count(NONE, 100_000, 1).excessive and not Count(NONE, 100_000, 0).excessive
    assert not Count(SHARE, 1000, 1).excessive and Count(SHARE, 1000, 2).excessive
    assert Count(SHARE, 1, 1).share == 1.0 and Count(SHARE, 4, 3).share == 0.75 and Count(SHARE).share == 0.0
    assert counted(PLAIN)["blocks.1.mlp.gate.task"].allowed == NONE
