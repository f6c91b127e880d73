"""Memory and clock of a run: what is used, what is said of it, and what is refused."""

import dataclasses

import pytest

from moesaic.boards.board import load_board
from moesaic.boards.clocks import supported_clocks
from moesaic.compiler.memory import BOARD_MEMORY, DdrTiming
from moesaic.errors import InputError
from moesaic.flow.conditions import conditions_of
from moesaic.hw.spec.presets import PRESETS

BOARD = load_board("zcu102")


def test_the_clock_is_what_is_supported() -> None:
    """The pessimistic corner, or what is asked for if that is slower; what a user names as it is."""
    clocks = supported_clocks(BOARD.accelerator, family=BOARD.system.fabric, uram=False)
    timing = conditions_of(BOARD.accelerator, "zcu102").timing
    assert (timing.pessimistic_mhz, timing.optimistic_mhz) == (clocks.pessimistic_mhz, clocks.optimistic_mhz)
    assert timing.used_mhz == min(300.0, clocks.pessimistic_mhz) and timing.corner == "pessimistic"
    slow = conditions_of(BOARD.accelerator.replace(clock_mhz=50.0), "zcu102")
    assert slow.timing.used_mhz == 50 and slow.clocked(BOARD.accelerator).clock_mhz == 50
    assert slow.timing.support == "supported by the timing model"
    fast = conditions_of(BOARD.accelerator.replace(clock_mhz=900.0), "zcu102").timing
    assert fast.used_mhz < 900 and fast.support == "supported by the timing model; 900 MHz are asked for"
    between = (clocks.pessimistic_mhz + clocks.optimistic_mhz) / 2
    told = conditions_of(BOARD.accelerator, "zcu102", clock_mhz=between).timing
    assert told.corner == "optimistic" and "with short nets only" in told.support and not told.warning
    wild = conditions_of(BOARD.accelerator, "zcu102", clock_mhz=900.0).timing
    assert wild.given and wild.used_mhz == 900 and "not supported" in wild.support
    assert f"the path from {wild.paths[0].start} to {wild.paths[0].end}" in wild.warning


def test_the_memory_is_the_boards_at_that_clock() -> None:
    under = conditions_of(BOARD.accelerator, "zcu102", memory=BOARD_MEMORY, clock_mhz=200.0, latency=70)
    assert under.ddr == DdrTiming(70, BOARD.memory.timing(200.0)) and under.memory_of == "zcu102"
    assert under.ideal == DdrTiming(70) == conditions_of(BOARD.accelerator, "zcu102", latency=70).ddr
    assert conditions_of(PRESETS["zcu102-small"], "zcu102-small", memory=BOARD_MEMORY).memory_of == "zcu102"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"memory": "fast"}, "memory must be ideal or board, not 'fast'"),
        ({"clock_mhz": 0.0}, "clock-mhz must be from 1 to 2000 MHz, not 0.0"),
        ({"clock_mhz": -1.0}, "clock-mhz must be from 1 to 2000 MHz, not -1.0"),
        ({"clock_mhz": float("nan")}, "clock-mhz must be from 1 to 2000 MHz, not nan"),
        ({"latency": 1}, "latency must be at least 2 cycles, not 1"),
    ],
)
def test_refused(asked: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        conditions_of(BOARD.accelerator, "zcu102", **asked)  # type: ignore[arg-type]


def test_a_board_that_does_not_know_its_memory() -> None:
    unknown = dataclasses.replace(BOARD, memory=dataclasses.replace(BOARD.memory, dram=None))
    with pytest.raises(InputError, match="whose file has no table memory.dram.*pass --memory ideal"):
        conditions_of(unknown.accelerator, unknown, memory=BOARD_MEMORY)
    assert conditions_of(unknown.accelerator, unknown).ddr == DdrTiming()
