"""What the functional simulator holds: words and bytes at the ends of their ranges, and what is not there yet."""

from typing import NoReturn

import numpy as np
import pytest
from quantmodels import random_image, random_qmodel

from moesaic.compiler.pipeline import compile_model
from moesaic.golden.config import M3ViTConfig
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.machine import Machine, ProgramError, Tracked

MODEL = M3ViTConfig(name="m", image_size=(16, 16), patch_size=8, dim=32, heads=2, depth=1, experts=4, expert_hidden=16)
CONFIG = PRESETS["micro16"]


def fail(reason: str) -> NoReturn:
    raise ProgramError("compute", 7, reason)


@pytest.mark.parametrize(("addresses", "wrong"), [([0, 3], None), ([3, 4], 4), ([-1, 9], -1), ([9, 5], 9), ([], None)])
def test_words_that_exist(addresses: list[int], wrong: int | None) -> None:
    memory, where = Tracked("activation", np.zeros((4, 8), np.uint8)), np.array(addresses, np.int64)
    for action in (
        lambda: memory.check_range(where, fail),
        lambda: memory.read(where, 7, 7, fail),
        lambda: memory.write(where, np.zeros((len(where), 8), np.uint8), 7, fail),
    ):
        if wrong is None:
            action()
        else:
            with pytest.raises(ProgramError, match=f"7: activation address must be below 4, not {wrong}"):
                action()


def test_who_read_and_who_wrote() -> None:
    memory, values = Tracked("residual", np.zeros((5, 2), np.int16)), np.array([[1, 2], [3, 4]])
    memory.write(np.array([1, 3]), values, 4, fail)
    assert memory.words.tolist() == [[0, 0], [1, 2], [0, 0], [3, 4], [0, 0]]
    assert memory.read(np.array([3, 2]), 6, 4, fail).tolist() == [[3, 4], [0, 0]]
    assert (memory.writer.tolist(), memory.reader.tolist()) == ([-1, 4, -1, 4, -1], [-1, -1, 6, 6, -1])
    with pytest.raises(ProgramError, match="reads residual words that instruction 4 writes, but waits only for 3"):
        memory.read(np.array([2, 3]), 6, 3, fail)


@pytest.mark.parametrize("wide", [False, True])
def test_memories_of_a_machine(wide: bool) -> None:
    """Sizes as configured, and noise of the whole range: another for another seed, the same for the same."""
    config = CONFIG.replace(wide_operands=wide, acc_bits=40 if wide else CONFIG.acc_bits)
    one, other, again = Machine(config, 1), Machine(config, 2), Machine(config, 1)
    depths = {
        "activation": (config.activation_words, config.lanes),
        "kv": (config.kv_words, config.lanes),
        "activation_low": (config.activation_words if wide else 0, config.lanes),
        "kv_low": (config.kv_words if wide else 0, config.lanes),
        "residual": (config.residual_words, config.lanes),
        "state": (2 * config.max_tokens,),
        "extra": (2 * config.max_tokens, 2),
        "sums": (config.max_tokens, 2),
    }
    for name, shape in depths.items():
        words, types = getattr(one, name).words, {"activation": np.uint8, "residual": np.int16}
        assert words.shape == shape and np.array_equal(words, getattr(again, name).words)
        if words.size:
            assert not np.array_equal(words, getattr(other, name).words)
            assert words.min() < 0 < words.max() if words.dtype != np.uint8 else words.max() > 127
        assert name not in types or words.dtype == types[name]
    assert one.block_max.shape == one.block_writer.shape == one.block_state.shape == (config.activation_words, 1)
    assert (one.block_writer == -1).all() and (one.block_state == -1).all() and one.stored == -1
    assert len(one.queue_tokens) == len(one.queue_scores) == config.experts
    assert not any(len(queue) for queue in (*one.queue_tokens, *one.queue_scores))


def test_the_window_and_what_is_not_loaded() -> None:
    simulator = FunctionalSimulator(CONFIG)
    with pytest.raises(ValueError, match="a program image must be loaded before tensor"):
        simulator.tensor(None, 0)
    with pytest.raises(ValueError, match="bytes 0x0 to 0x0 must lie in the window of 0x0 bytes at 0x0"):
        simulator.read(0, 1)
    image = compile_model(random_qmodel(MODEL, 0), CONFIG)
    simulator.load(image)
    first, size = image.address, len(image.memory)
    simulator.write(first, b"\1\2")
    simulator.write(first + size - 2, b"\3\4")
    assert (simulator.read(first, 3)[:2], simulator.read(first + size - 2, 2)) == (b"\1\2", b"\3\4")
    for address in (first - 1, first + size - 1):
        message = f"bytes {address:#x} to {address + 1:#x} must lie in the window of {size:#x} bytes at {first:#x}"
        with pytest.raises(ValueError, match=message):
            simulator.read(address, 2)
        with pytest.raises(ValueError, match=message):
            simulator.write(address, b"\0\0")


def test_tensors_of_a_run() -> None:
    """The last marked residual is the result; each is what the image's manifest calls it."""
    image = compile_model(random_qmodel(MODEL, 0), CONFIG)
    simulator = FunctionalSimulator(CONFIG)
    simulator.load(image)
    run = simulator.run("depth", random_image(MODEL, 3))
    names = [tensor["name"] for tensor in image.manifest["tensors"]]
    assert names == ["embed", "blocks.0"] and run.task == "depth" and len(run.marks) == 2
    embedded, last = (simulator.tensor(run, position) for position in range(2))
    assert last.shape == (5, 32) and np.array_equal(last, image.unpack_result(run.result, "depth"))
    assert not np.array_equal(embedded, last)
