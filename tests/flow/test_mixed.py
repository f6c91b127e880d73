"""Layers of one network with different widths, on RTL with stalls: every byte of every block."""

from collections.abc import Callable

import numpy as np
import pytest

from moesaic.compiler.ir import CompileError
from moesaic.compiler.options import CompileOptions
from moesaic.compiler.pipeline import compile_all, compile_model
from moesaic.errors import InputError
from moesaic.golden import weights
from moesaic.golden.config import network_of, preset
from moesaic.golden.evaluation.agreement import agreement
from moesaic.golden.hollow import hollow_model
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantcheck import check_quantised
from moesaic.golden.quantize import quantize
from moesaic.golden.training import scenes
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.rtl import RtlRun

STALLS = [f"+stall_{channel}=40" for channel in ("ar", "r", "aw", "w", "b")]
PLANES = {"blocks.0.mlp": "planes", "blocks.1.attn": "planes", "blocks.2.attn": "planes", "blocks.2.mlp": "planes"}
MIXED = {
    "blocks.0.attn": "wide",
    "blocks.0.mlp": "activations",
    "blocks.1.attn": "activations",
    "blocks.1.mlp": "activations",
    "blocks.2.attn": "planes",
    "blocks.2.mlp": "wide",
}


def trained() -> M3ViT:
    return weights.load("m3vit-micro", 0)[0]


def quantised(finer: dict[str, str]) -> QuantModel:
    """On two scenes, as the network of the same tests that has 8 bits everywhere."""
    images, _, _ = scenes.render_batch(range(1000, 1002), preset("m3vit-micro").image_size)
    return quantize(trained(), images, weights="trained", compensate=False, finer=finer)


@pytest.fixture(scope="module")
def planes() -> QuantModel:
    return quantised(PLANES)


@pytest.fixture(scope="module")
def mixed() -> QuantModel:
    return quantised(MIXED)


def test_all_bits_of_normalised_tokens(rig, planes: QuantModel, scene: np.ndarray) -> None:
    """On a configuration without wide operands."""
    program = compile_model(planes, rig.config, blocks=3)
    rig.check(planes, rig.run(program, [RtlRun("depth", image=scene)], plusargs=STALLS)[0], scene, "depth", blocks=3)


def test_sixteen_bits_beside_eight(wide_rig: Callable, mixed: QuantModel, scene: np.ndarray) -> None:
    """Stored and streamed operands of both widths take turns in the same memories."""
    rig = wide_rig(PRESETS["micro8-wide"])
    program = compile_model(mixed, rig.config, blocks=3)
    result = rig.run(program, [RtlRun("semseg", image=scene)], plusargs=STALLS, limit=3_000_000)[0]
    rig.check(mixed, result, scene, "semseg", blocks=3)


def test_what_they_are_worth(planes: QuantModel, mixed: QuantModel, micro: QuantModel, scene: np.ndarray) -> None:
    """The first block, of whose layers one or both are finer, is nearer to float."""
    found = [
        agreement(trained(), IntM3ViT(q, 8), scene, "depth", blocks=1)[0]["sqnr_db"] for q in (micro, planes, mixed)
    ]
    assert found[0] + 0.3 < found[1] < found[2] - 1, found
    assert (micro.finer, planes.finer, mixed.finer) == ({}, PLANES, MIXED)
    assert {mixed.widths, planes.widths} == {"w8a8"} and not mixed.wide
    # Layers that are not finer are what they are without the others.
    assert np.array_equal(
        planes.blocks[3].layers[1].experts[0].fc1.weight, micro.blocks[3].layers[1].experts[0].fc1.weight
    )
    assert planes.blocks[0].layers[0].q.reads == "streamed" and planes.blocks[1].layers[0].q.reads == "planes"


def test_a_file_is_held_to_them(mixed: QuantModel) -> None:
    network = network_of(preset("m3vit-micro"))
    check_quantised(mixed, network, 8, MIXED)
    with pytest.raises(ValueError, match="bits must be 8, not 16"):
        check_quantised(mixed, network, 8)
    with pytest.raises(ValueError, match="finer must be .*, not"):
        check_quantised(mixed, network, 8, MIXED | {"blocks.3.attn": "planes"})
    assert hollow_model(network, finer=MIXED).finer == MIXED


def test_what_cannot_be(mixed: QuantModel) -> None:
    with pytest.raises(InputError, match="finer layers must be of blocks.0.attn, .*, not 'blocks.9.attn'"):
        quantised({"blocks.9.attn": "planes"})
    with pytest.raises(
        InputError, match="blocks.0.attn: what is finer must be one of planes, activations, wide, not 'both'"
    ):
        quantised({"blocks.0.attn": "both"})
    with pytest.raises(InputError, match="blocks.1.mlp: inputs must be of 8 bits, which are stored before"):
        quantised({"blocks.1.mlp": "planes"})
    with pytest.raises(CompileError, match="operands must be of 8 bits on configuration 'micro8'"):
        compile_model(mixed, PRESETS["micro8"].replace(acc_bits=40))
    with pytest.raises(CompileError, match="LayerNorm has a pass of its own, not '16 for some layers'"):
        compile_all(mixed, PRESETS["micro8-wide"], options=CompileOptions(normalise_on_read=False))
