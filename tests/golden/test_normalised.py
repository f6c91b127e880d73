"""What is read of a normalised value: in one pass, in two planes, from the activation memory."""

import dataclasses

import numpy as np
import pytest
from quantmodels import layer_replaced, random_image, random_qmodel

from moesaic.compiler.ir import CompileError
from moesaic.compiler.options import CompileOptions
from moesaic.compiler.pack import pack_linear, unpack_linear
from moesaic.compiler.pipeline import compile_all
from moesaic.golden import numerics
from moesaic.golden.config import M3ViTConfig
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qlinear import quantise_linear
from moesaic.hw.spec.presets import PRESETS

ALL = np.arange(-4096, 4096)
MODEL = M3ViTConfig(
    name="small",
    image_size=(16, 16),
    patch_size=8,
    dim=16,
    heads=2,
    depth=2,
    mlp_ratio=2,
    experts=4,
    expert_hidden=16,
    top_k=2,
)


def test_views_of_every_value():
    streamed, stored, (high, low) = numerics.norm_streamed(ALL), numerics.norm_stored(ALL), numerics.norm_planes(ALL)
    assert streamed.tolist() == [max(n // 16, -255) for n in ALL.tolist()]
    assert stored.tolist() == [n // 32 for n in ALL.tolist()]
    assert (256 * high + low).tolist() == ALL.tolist()
    for plane in (streamed, high, low):
        assert plane.min() >= -255 and plane.max() <= 255  # what the array takes
    assert stored.min() == -128 and stored.max() == 127


@pytest.mark.parametrize(("reads", "dropped"), [("streamed", 4), ("planes", 0), ("int8", 5)])
@pytest.mark.parametrize("compensated", [False, True])
def test_bias_makes_up_for_rounding_down(reads, dropped, compensated):
    rng = np.random.default_rng(3)
    weight, bias, fine = rng.standard_normal((24, 48)), rng.standard_normal(24), 1 / 1024
    x = np.clip(rng.standard_normal((4000, 48)), -3.9, 3.9)
    q = quantise_linear(
        "x",
        weight,
        bias,
        in_step=fine * 2**dropped,
        out_step=1e-3,
        reads=reads,
        dropped=dropped,
        inputs=x if compensated else None,
    )
    whole = np.clip(np.rint(x / fine), -4096, 4095).astype(np.int64)
    seen = {"streamed": numerics.norm_streamed, "planes": lambda n: n, "int8": numerics.norm_stored}[reads](whole)
    error = numerics.round_shift((seen @ q.weight.T.astype(np.int64) + q.bias) * q.mult, q.shift) * 1e-3 - (
        x @ weight.T + bias
    )
    floor = np.abs(weight).sum(axis=1).max() * fine * 2**dropped / 2  # what half a unit of every input would be
    assert np.abs(error.mean(axis=0)).max() < max(0.05 * floor, 0.01)


def test_planes_hold_their_blocks_twice():
    rng, config = np.random.default_rng(0), PRESETS["micro8"]
    weight, bias, mult = (
        rng.integers(-127, 128, (10, 20)).astype(np.int8),
        np.arange(10, dtype=np.int32),
        np.arange(10, dtype=np.uint16),
    )
    once, twice = (pack_linear(weight, bias, mult, config, planes=n) for n in (1, 2))
    padded, *_ = unpack_linear(twice, 10, 48, config)
    assert np.array_equal(padded[:, :24], padded[:, 24:]) and np.array_equal(padded[:, :20], weight)
    blocks = 2 * 3 * config.block_words * config.word_bytes
    assert len(twice) - len(once) == blocks


def test_program_and_network_must_read_alike():
    qmodel, config = random_qmodel(MODEL, 1), PRESETS["micro8"]
    apart = CompileOptions(normalise_on_read=False)
    with pytest.raises(CompileError, match=r"layer 'blocks.0.attn.k': input must be streamed or planes, not 'int8'"):
        compile_all(qmodel.reading_stored(), config)
    with pytest.raises(CompileError, match=r"layer 'blocks.0.attn.k': input must be int8, not 'streamed'"):
        compile_all(qmodel, config, options=apart)


def test_stored_network_is_nearly_the_same():
    qmodel, image = random_qmodel(MODEL, 1), random_image(MODEL, 2)
    block = dataclasses.replace(qmodel, blocks=qmodel.blocks[:1])
    fine, coarse = (IntM3ViT(q, 8).run(image, 0)[0].astype(float) for q in (block, block.reading_stored()))
    assert 0 < np.abs(fine - coarse).mean() < 0.1 * np.abs(fine).mean()


def test_stored_network_needs_a_shift():
    qmodel = random_qmodel(MODEL, 1)
    attention = dataclasses.replace(
        qmodel.blocks[0].layers[0], q=dataclasses.replace(qmodel.blocks[0].layers[0].q, shift=0)
    )
    broken = dataclasses.replace(qmodel, blocks=(layer_replaced(qmodel.blocks[0], 0, attention), *qmodel.blocks[1:]))
    with pytest.raises(ValueError, match=r"blocks.0.attn.q: shift must be at least 1 to read stored values, not 0"):
        broken.reading_stored()
