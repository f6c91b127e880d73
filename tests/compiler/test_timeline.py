"""The cost model's clocks, one by one, by cases that are worked by hand."""

from dataclasses import replace

import pytest
from quantmodels import random_qmodel

from moesaic.compiler.cost import estimate, mean_tokens
from moesaic.compiler.memory import DdrTiming, DramTiming
from moesaic.compiler.pipeline import compile_all
from moesaic.compiler.timeline import ArrayTime, Instructions, LoadTime, Sequencer
from moesaic.golden.config import M3ViTConfig
from moesaic.hw.spec import latency as of
from moesaic.hw.spec.latency import Timing
from moesaic.hw.spec.presets import PRESETS

CONFIG = PRESETS["micro8"].replace(prefetch_words=16, ports=1, port_bits=64, load_rows=2, lanes=8)
BEATS = 256 // 64  # of an instruction
LATENCY = 50
ROUND = of.CHOICE_CYCLES + of.ASK_CYCLES + LATENCY + of.ARRIVAL_CYCLES
MODEL = M3ViTConfig(name="m", image_size=(16, 16), patch_size=8, dim=32, heads=2, depth=1, experts=4, expert_hidden=16)
TIMING = Timing(feed=10, queue=4, drain=20, route=30)


@pytest.mark.parametrize("turn", [0, 2])
def test_instructions_come_half_a_queue_at_a_time(turn: int) -> None:
    """Two halves at once; the third when the first is taken."""
    stream = Instructions(CONFIG, LATENCY, turn=turn)
    first = of.SETTLE_CYCLES + turn * (of.SETTLE_CYCLES + of.CHOICE_CYCLES) + ROUND - 1
    half = of.QUEUED // 2
    arrived = []
    for number in range(3 * half + 1):
        arrived.append(stream.arrive())
        stream.take(1000.0 + number)
    steps = [(place + 1) * BEATS for place in range(half)]
    assert arrived[: 2 * half] == [first + step for step in steps * 2]
    room = 1000.0 + half - 1 + of.ROOM_CYCLES + ROUND - 1
    assert arrived[2 * half : 3 * half] == [room + step for step in steps]
    assert arrived[3 * half] == room + half + BEATS


def test_units_hold_up_the_sequencer() -> None:
    """One instruction a cycle as they arrive, four to each unit until that takes one."""
    sequencer = Sequencer(Instructions(CONFIG, LATENCY, turn=0))
    first = of.SETTLE_CYCLES + ROUND - 1 + of.DECODE_CYCLES
    for number in range(of.UNIT_QUEUE):
        assert sequencer.issue("loader", "feeder") == first + (number + 1) * BEATS
        sequencer.take("loader", 500.0 + number)
        sequencer.take("feeder", 300.0 + number)
    assert sequencer.issue("feeder") == 302.0
    sequencer.take("feeder", 304.0)
    assert sequencer.issue("loader", "feeder") == 502.0
    assert sequencer.issue("loader") == 505.0  # taken when the one before is sent


def test_words_come_one_by_one_as_long_as_there_is_room() -> None:
    """A word of 16 bytes takes two cycles of a bus of 8; 16 of them fit."""
    load = LoadTime(CONFIG, DdrTiming(latency=LATENCY))
    assert CONFIG.word_bytes == 16 and load.arrive(10, 7.0) == 27.0
    load.consumed(100.0)
    assert load.arrive(6, 0.0) == 39.0  # 16 of them: all that there is room for
    assert load.arrive(10, 0.0) == 100.0 + LATENCY + of.BUS_CYCLES + 20
    assert load.arrive(2, 500.0) == 504.0  # nothing was used since: there is no room, and none to wait for
    load.consumed(600.0)
    assert load.arrive(10, 0.0) == 600.0 + LATENCY + of.BUS_CYCLES + 20


def test_a_fetch_waits_for_the_one_before() -> None:
    """Until its requests are sent, unless it was skipped."""
    load = LoadTime(CONFIG.replace(ports=2, port_bits=64, load_rows=4), DdrTiming(latency=LATENCY))
    taken = of.SETTLE_CYCLES + 2 * (of.SETTLE_CYCLES + of.CHOICE_CYCLES) + ROUND - 1 + BEATS
    begun = taken + of.FETCH_CYCLES + 2 * of.PORT_CYCLES + of.START_CYCLES
    assert load.fetch(0.0) == begun + LATENCY + of.BUS_CYCLES
    assert load.fetch(1000.0, skipped=True) == 0.0
    assert load.fetch(0.0) == 1000.0 + of.FETCH_CYCLES + 2 * of.PORT_CYCLES + of.START_CYCLES + LATENCY + of.BUS_CYCLES
    load.arrive(2000, 0.0)
    sent = load.time - LATENCY - of.BUS_CYCLES - CONFIG.max_burst
    assert load.time == 4000.0 and load.fetch(0.0) == sent + of.START_CYCLES + LATENCY + of.BUS_CYCLES


def test_a_refresh_that_is_covered_by_what_is_on_its_way() -> None:
    """128 beats are ahead of a memory that answers after 28: 100 cycles of a refresh go by unnoticed."""
    config = CONFIG.replace(max_burst=16, max_outstanding=8)
    for recovery, share in ((100.0, 1.0), (60.0, 1.0), (110.0, 1 - 10 / 1000)):
        dram = DramTiming(
            rate=64, refresh=1000, recovery=recovery, row=0, row_bytes=1024, banks=8, to_write=0, to_read=0, posted=0
        )
        assert DdrTiming(28, dram).bytes_per_cycle(config) == pytest.approx(8 * share)


def test_a_result_costs_its_words_wherever_they_lie() -> None:
    config = PRESETS["micro16"]
    compilation = compile_all(random_qmodel(MODEL, 0), config, tasks=["depth"])
    graph = compilation.scheduled["depth"]
    moved = replace(graph.tensors["residual"], address=graph.tensors["residual"].address + 40)
    there = replace(graph, tensors={**graph.tensors, "residual": moved})
    costs, others = (estimate(g, compilation.pieces, config, mean_tokens, timing=TIMING) for g in (graph, there))
    assert costs == others and costs[-1].end > costs[-1].start


def test_the_queue_of_vectors_has_room_when_one_has_entered() -> None:
    """Vector 4 waits for vector 0, which a stationary block holds up."""
    array = ArrayTime(TIMING)
    assert array.room(3) == 0.0
    assert array.run(3, earliest=5.0, full=100.0) == (100.0, 85.0)
    assert array.lone(0.0) == 103.0
    assert [array.room(vector) for vector in (3, 4, 5, 6, 7)] == [0.0, 101.0, 102.0, 103.0, 104.0]
    assert (array.issued, array.time, array.gap, array.count) == (9.0, 104.0, 101.0 + of.REUSE_CYCLES, 4)
    assert array.run(2, earliest=0.0, full=0.0) == (111.0, 0.0)
    assert (array.issued, array.time) == (103.0, 113.0)
    assert array.run(1, earliest=0.0, full=0.0) == (112.0 + of.REUSE_CYCLES, 0.0)  # an entry would come too early
    assert array.run(1, earliest=0.0, full=0.0) == (113.0 + 2 * of.REUSE_CYCLES, 0.0)
    assert array.lone(200.0) == 210.0


def test_more_vectors_than_the_queue_holds() -> None:
    """Vector 9 is issued when vector 5 has entered, and enters as many cycles later as it takes to the array."""
    array = ArrayTime(TIMING)
    assert array.run(10, earliest=5.0, full=100.0) == (100.0, 85.0)
    assert (array.issued, array.time, array.count) == (107.0, 117.0, 10)
    assert array.run(6, earliest=0.0, full=150.0) == (150.0, 33.0)  # 107 + 10 were its first entry
    assert (array.issued, array.time, array.count) == (153.0, 163.0, 16)
