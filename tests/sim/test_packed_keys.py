"""Two keys in a row: the functional simulator against the integer golden model, and one instruction by itself."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from quantmodels import layer_replaced, random_image, random_qmodel

from moesaic.compiler.batch import Batch
from moesaic.compiler.pipeline import compile_all, compile_model
from moesaic.golden.config import M3ViTConfig, preset
from moesaic.golden.layers.attention import QuantAttention
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.trace import Trace
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Opcode, Stationary, Stream, decode, encode
from moesaic.hw.spec.packing import packs
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.spec.tables import NO_KEY
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.machine import Machine
from moesaic.sim.matmul import Matmul

COMMON: dict[str, Any] = {"max_tokens": 64, "max_dim": 128, "prefetch_words": 512, "packed_keys": True}
NARROW = AcceleratorConfig(name="narrow", rows=4, lanes=8, port_bits=64, **COMMON)
WIDE = AcceleratorConfig(name="wide", rows=8, lanes=32, **COMMON)
WIDEST = AcceleratorConfig(name="widest", rows=4, lanes=64, **COMMON)
# Heads of the two blocks, of 48 channels together: of 4 in half a word, and of 6 in a whole one; of 16, and of 24 in a
# word of 32; of 12 in quarters of a word, and of 24 in halves.
HEADS = {"narrow": (12, 8), "wide": (3, 2), "widest": (4, 2)}


def network(tokens: int, heads: tuple[int, int], seed: int = 1) -> QuantModel:
    """Two blocks with different heads."""
    config = M3ViTConfig(
        name="packed",
        image_size=(8, 8 * tokens),
        patch_size=8,
        dim=48,
        heads=heads[0],
        depth=2,
        mlp_ratio=1,
        experts=4,
        expert_hidden=16,
        top_k=2,
        class_token=False,
        tasks=("x", "y"),
    )
    qmodel = random_qmodel(config, seed)
    other = qmodel.blocks[1]
    assert isinstance(other.layers[0], QuantAttention)
    other = layer_replaced(other, 0, replace(other.layers[0], heads=heads[1]))
    return replace(qmodel, blocks=(qmodel.blocks[0], other))


def packing(qmodel: QuantModel, config: AcceleratorConfig) -> list[bool]:
    """Of the heads of each block, from the instructions of a compiled program."""
    ops = compile_all(qmodel, config, tasks=["x"]).scheduled["x"].ops
    found = [(op.block, packs(op.fields, config)) for op in ops if op.function is Function.SOFTMAX]
    assert len(set(found)) == 2
    return [answer for _, answer in sorted(set(found))]


@pytest.mark.parametrize("tokens", [1, 2, 3, 7, 8, 9, 16, 17, 23, 33])
@pytest.mark.parametrize("config", [NARROW, WIDE, WIDEST], ids=lambda config: config.name)
def test_equals_golden(config: AcceleratorConfig, tokens: int) -> None:
    """Heads that pack and heads that do not, one after the other."""
    qmodel = network(tokens, HEADS[config.name])
    image, program = random_image(qmodel.network, tokens), compile_model(qmodel, config)
    assert packing(qmodel, config) == [True, config is WIDEST]
    simulator = FunctionalSimulator(config, seed=tokens)
    simulator.load(program)
    for task in program.tasks:
        run = simulator.run(task, image)
        for number, residual in enumerate(IntM3ViT.of(qmodel, config).run(image, task), start=1):
            assert np.array_equal(simulator.tensor(run, number), residual), (task, number)


@pytest.mark.parametrize("batch", [Batch(("x",), 3), Batch(("x", "y"))], ids=["images", "tasks"])
def test_batches(batch: Batch) -> None:
    """The keys of every item begin anywhere."""
    qmodel = network(13, HEADS["wide"])
    program = compile_all(qmodel, WIDE, tasks=[batch]).image
    images = np.stack([random_image(qmodel.network, seed) for seed in range(batch.images)])
    simulator, model = FunctionalSimulator(WIDE), IntM3ViT.of(qmodel, WIDE)
    simulator.load(program)
    run = simulator.run(batch.name, images)
    items = [model.run(images[item.image], item.task) for item in batch.items]
    for number, parts in enumerate(zip(*items, strict=True), start=1):
        assert np.array_equal(simulator.tensor(run, number), np.concatenate(parts)), number


def test_small_on_its_board() -> None:
    """Two blocks of m3vit-small: heads of half a word, 1,201 keys."""
    config = PRESETS["zcu104-small"]
    small = preset("m3vit-small")
    qmodel = random_qmodel(replace(small, depth=2), 0)
    image = random_image(small, 0)
    simulator = FunctionalSimulator(config)
    simulator.load(compile_model(qmodel, config))
    task = small.tasks[0]
    run = simulator.run(task, image)
    for number, residual in enumerate(IntM3ViT.of(qmodel, config).run(image, task), start=1):
        assert np.array_equal(simulator.tensor(run, number), residual), number


def test_golden_takes_twice_as_many_keys_of_heads_that_pack() -> None:
    """Two halves of a block share a maximum: probabilities differ, and only where heads pack."""
    qmodel = network(33, HEADS["wide"])
    image, found = random_image(qmodel.network, 5), []
    for config in (WIDE, WIDE.replace(packed_keys=False)):
        trace = Trace(only=("blocks.0.attn.probs",))
        IntM3ViT.of(qmodel, config).run(image, "x", blocks=1, trace=trace)
        found.append(trace["blocks.0.attn.probs"])
    assert not np.array_equal(found[0], found[1])
    model = IntM3ViT.of(qmodel, WIDE)
    assert [model.keys(width) for width in (1, 16, 17, 32, 64)] == [16, 16, 8, 8, 8]
    assert IntM3ViT.of(qmodel, WIDE.replace(packed_keys=False)).keys(16) == IntM3ViT(qmodel, 8).keys(16) == 8


def scores(config: AcceleratorConfig, **fields: int) -> tuple[Matmul, Machine]:
    """A SOFTMAX of 3 queries and 11 keys of random bytes."""
    machine, rng = Machine(config, seed=3), np.random.default_rng(4)
    machine.kv.words[:11] = rng.integers(-128, 128, (11, config.lanes))
    common = {"stationary": Stationary.KEYS, "function": Function.SOFTMAX, "stream": Stream.ACTIVATION}
    sizes = {"token_count": 3, "out_count": 11, "in_blocks": 1, "src_stride": 1, "kv_stride": 1, "dst_stride": 2}
    rest = {"dst_addr": 20, "scalar": 40000, "shift": 20, "lane_count": 8}
    values = decode(encode(Opcode.MATMUL, common | sizes | rest | fields))[1]
    return Matmul(machine, 0, values, loaded=-1, fed=-1), machine


@pytest.mark.parametrize(
    ("fields", "takes"),
    [
        ({"lane_low": 0, "lane_count": 16}, 16),
        ({"lane_low": 16, "lane_count": 16}, 16),
        ({"lane_low": 31, "lane_count": 1}, 16),
        ({"lane_low": 3, "lane_count": 13}, 16),
        ({"lane_low": 3, "lane_count": 14}, 8),
        ({"lane_low": 15, "lane_count": 2}, 8),
        ({"lane_low": 0, "lane_count": 32}, 8),
        ({"in_blocks": 2}, 8),
        ({"stream": Stream.NORMALISED}, 8),
    ],
)
def test_which_heads_pack(fields: dict[str, int], takes: int) -> None:
    assert scores(WIDE, **fields)[0].rows == takes
    assert scores(WIDE.replace(packed_keys=False), **fields)[0].rows == 8


@pytest.mark.parametrize("low", [0, 5, 16, 24])
def test_an_instruction_by_itself(low: int) -> None:
    """Keys in their order; one maximum, the larger, for both groups of a block; `group` without its lowest bit."""
    one, before = scores(WIDE.replace(packed_keys=False), lane_low=low)
    one.run(np.zeros(0, np.uint8))
    for group in (0, 1):
        matmul, machine = scores(WIDE, lane_low=low, group=group)
        matmul.run(np.zeros(0, np.uint8))
        assert matmul.blocks == 1 and np.array_equal(machine.state.words, before.state.words)
        found, wanted = machine.block_max[20:26:2], before.block_max[20:26:2]
        assert (found[:, :2] == wanted[:, :2].max(axis=1, keepdims=True)).all()
        assert (wanted[:, 0] != wanted[:, 1]).any()
        codes, alone = (m.activation.words[20:26:2].astype(int) for m in (machine, before))
        assert (codes[:, 11:16] == NO_KEY).all() and (codes[:, 11:] == alone[:, 11:])[:, 5:].all()
        # Distances from a larger maximum: larger by what the maximum is, and the order stays.
        assert (codes[:, :11] >= alone[:, :11]).all() and (codes[:, :11] > alone[:, :11]).any()


def test_groups_of_further_blocks() -> None:
    """From an odd group on, 20 keys, two blocks: four groups, in two words."""
    matmul, machine = scores(WIDE, group=3, out_count=20)
    machine.kv.words[11:20] = 1
    matmul.run(np.zeros(0, np.uint8))
    assert matmul._positions()[[0, -1]].tolist() == [16, 47] and matmul._addresses(np.arange(1)).tolist() == [[20, 21]]
    assert (machine.block_writer[20:22] == [[-1, -1, 0, 0], [0, 0, -1, -1]]).all()
    assert (machine.block_max[20, 2] == machine.block_max[20, 3]) and machine.block_max[21, 0] == machine.block_max[
        21, 1
    ]
