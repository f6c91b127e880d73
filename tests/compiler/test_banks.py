"""Weights in the banks of a DRAM: matrices of experts begin where ports that jump do not meet those that have not."""

import itertools

import pytest
from quantmodels import random_qmodel

from moesaic.compiler.banks import bytes_apart, next_place, places, row_bytes
from moesaic.compiler.weights import pack_weights
from moesaic.golden.config import M3ViTConfig
from moesaic.hw.spec.presets import PRESETS

ROW = 8192


def met(sizes: tuple[int, int], starts: tuple[int, int], drift: int, row: int) -> int:
    """Pairs of bursts, one before a jump and one behind it, up to `drift` apart, whose rows are an even number apart:
    counted from what is read, 256 bytes at a time, for ports that stand an even number of rows apart.
    """
    count = 0
    for one in (0, 1):
        left = range(starts[one], starts[one] + sizes[one], 256)
        entered = range(starts[1 - one], starts[1 - one] + sizes[1 - one], 256)
        for before, behind in itertools.product(left[-drift:], entered[:drift]):
            count += (before // row - behind // row) % 2 == 0
    return count


@pytest.mark.parametrize("sizes", [(19008, 18720), (9728, 9472), (73728, 73728), (8192, 8192)])
def test_ports_that_jump_do_not_meet_those_that_have_not(sizes):
    starts = places(sizes, ROW)
    assert starts is not None and all(0 <= start < 2 * ROW for start in starts)
    assert met(sizes, starts, 4, ROW) == 0


@pytest.mark.parametrize("row", [2048, 8192])
@pytest.mark.parametrize("sizes", [(19008, 18720), (9728, 9472), (5000, 5100)])
def test_no_place_is_farther_from_the_end_of_a_row(sizes, row):
    """Of all in steps of a sixteenth of one: from where a matrix begins to its row's end, and from its last row."""

    def margin(starts: tuple[int, int]) -> int:
        ends = [(start + size - 1) % (2 * row) for start, size in zip(starts, sizes, strict=True)]
        if any(end // row == start // row for end, start in zip(ends, reversed(starts), strict=True)):
            return 0
        return min(*(row - start % row for start in starts), *(end % row for end in ends))

    found = places(sizes, row)
    assert found is not None and all(start % (row // 16) == 0 for start in found)
    steps = range(0, 2 * row, row // 16)
    assert margin(found) == max(map(margin, itertools.product(steps, steps))) > 0


def test_ports_meet_where_matrices_follow_each_other():
    assert met((19008, 18720), (0, 19008), 4, ROW) > 0


def test_what_has_no_place():
    assert places((19008, 9000), ROW) is not None
    assert places((300, 24900), ROW) is None  # the second begins where it ends, and the first cannot avoid both
    assert places((19008,), ROW) is None and places((1, 2, 3), ROW) is None and places((0, 100), ROW) is None


def test_next_place():
    assert [next_place(offset, 3, 8) for offset in (0, 3, 4, 11, 12)] == [3, 3, 11, 11, 19]


def test_ports_share_a_turn_of_the_banks():
    assert (row_bytes(PRESETS["zcu102"]), bytes_apart(PRESETS["zcu102"])) == (8192, 16384)
    assert (row_bytes(PRESETS["pynq-z2"]), bytes_apart(PRESETS["pynq-z2"])) == (2048, 8192)
    assert bytes_apart(PRESETS["micro8"]) == 0


def test_experts_of_a_network_begin_there():
    model = M3ViTConfig(image_size=(16, 16), patch_size=8, dim=64, heads=2, depth=2, experts=4, expert_hidden=96)
    qmodel, config = random_qmodel(model, 0), PRESETS["pynq-z2"]
    store = pack_weights(qmodel, config, tasks=model.tasks, blocks=2)
    per_port, row, words = config.word_bytes // config.ports, row_bytes(config), set()
    for expert in range(4):
        both = [store.pieces[f"blocks.1.mlp.experts.{expert}.{part}"] for part in ("fc1", "fc2")]
        starts = tuple(piece.offset * per_port % (2 * row) for piece in both)
        sizes = tuple(piece.words * per_port for piece in both)
        assert starts == places(sizes, row) and met(sizes, starts, 2, row) == 0
        words.add(sizes)
    assert len(words) == 1
