"""Under what a run is timed: the memory behind the ports, and the clock that turns cycles into time."""

from dataclasses import dataclass
from typing import Annotated

from moesaic.boards.board import Board
from moesaic.boards.clocks import supported_clocks
from moesaic.boards.estimate import LongPath
from moesaic.compiler.memory import DDR_LATENCY, IDEAL_MEMORY, MEMORIES, DdrTiming
from moesaic.errors import InputError
from moesaic.flow.boards import find_board
from moesaic.flow.resources import judge
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.schema import Choice

__all__ = ["Conditions", "MemoryKind", "Timing", "conditions_of", "timing_of"]

MemoryKind = Annotated[str, Choice(MEMORIES)]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What the clock is, and how far the timing model supports it.

    Parameters
    ----------
    asked_mhz : float
        Of the board or the configuration.
    optimistic_mhz, pessimistic_mhz : float
        That the longest paths allow, with short nets and with those of a well filled device.
    used_mhz : float
        By which cycles become times and energies here.
    given : bool
        The user named it; otherwise it is what was asked for, as far as the pessimistic corner supports that.
    counted : bool
        The corners are of exactly this accelerator and hardware; otherwise an estimate from others of the family.
    paths : tuple of LongPath
        The longest, as far as they are known.
    """

    asked_mhz: float
    optimistic_mhz: float
    pessimistic_mhz: float
    used_mhz: float
    given: bool
    counted: bool
    paths: tuple[LongPath, ...]

    @property
    def corner(self) -> str:
        """The corner that supports the clock that is used; empty if none does."""
        if self.used_mhz <= self.pessimistic_mhz:
            return "pessimistic"
        return "optimistic" if self.used_mhz <= self.optimistic_mhz else ""

    @property
    def support(self) -> str:
        """What the timing model says of the clock that is used, in a few words."""
        if self.corner == "pessimistic":
            asked = f"; {self.asked_mhz:g} MHz are asked for" if self.used_mhz != self.asked_mhz else ""
            return f"supported by the timing model{asked}"
        if self.corner == "optimistic":
            return f"supported by the timing model with short nets only; {self.pessimistic_mhz:g} MHz with long ones"
        return f"not supported by the timing model: {self.pessimistic_mhz:g} to {self.optimistic_mhz:g} MHz"

    @property
    def warning(self) -> str:
        """Why the clock that is used is too fast, and by which path; empty if it is not."""
        if self.corner:
            return ""
        path = f": the path from {self.paths[0].start} to {self.paths[0].end} takes" if self.paths else ": a path takes"
        shortest = self.paths[0].optimistic_ns if self.paths else 1e3 / self.optimistic_mhz
        return (
            f"clock of {self.used_mhz:g} MHz is more than the timing model supports, {self.pessimistic_mhz:g} MHz with "
            f"long nets and {self.optimistic_mhz:g} MHz with short ones{path} {shortest:.2f} ns even then"
        )


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Memory and clock.

    Parameters
    ----------
    memory : str
        `IDEAL_MEMORY` or `BOARD_MEMORY`.
    memory_of : str
        The board whose memory it is; empty for an ideal one.
    ddr : DdrTiming
    timing : Timing
    """

    memory: str
    memory_of: str
    ddr: DdrTiming
    timing: Timing

    @property
    def ideal(self) -> DdrTiming:
        """The same latency, without a DRAM."""
        return DdrTiming(self.ddr.latency)

    def clocked(self, accelerator: AcceleratorConfig) -> AcceleratorConfig:
        """The accelerator at the clock that is used."""
        return accelerator.replace(clock_mhz=self.timing.used_mhz)


def check_memory(memory: str) -> None:
    """A kind of memory that there is.

    Raises
    ------
    InputError
    """
    if memory not in MEMORIES:
        raise InputError(f"memory must be {' or '.join(MEMORIES)}, not {memory!r}")


def check_clock(clock_mhz: float | None) -> None:
    """A clock that is one, if it was named.

    Raises
    ------
    InputError
    """
    if clock_mhz is not None and not 1 <= clock_mhz <= 2000:  # nan is neither
        raise InputError(f"clock-mhz must be from 1 to 2000 MHz, not {clock_mhz!r}")


def timing_of(accelerator: AcceleratorConfig, board: Board, clock_mhz: float | None = None) -> Timing:
    """The clock of an accelerator on a board, and what the timing model says of it.

    Parameters
    ----------
    accelerator : AcceleratorConfig
    board : Board
    clock_mhz : float or None
        To use; None: what is asked for, as far as the pessimistic corner supports that.
    """
    clocks = supported_clocks(accelerator, family=board.system.fabric, uram=board.budget.uram > 0)
    asked = accelerator.clock_mhz
    return Timing(
        asked_mhz=asked,
        optimistic_mhz=clocks.optimistic_mhz,
        pessimistic_mhz=clocks.pessimistic_mhz,
        used_mhz=float(clock_mhz) if clock_mhz is not None else min(asked, clocks.pessimistic_mhz),
        given=clock_mhz is not None,
        counted=clocks.counted,
        paths=clocks.paths,
    )


def board_under(accelerator: AcceleratorConfig, name: str | Board) -> Board:
    """The board of that name or file, or the one that a bare preset is held against (`flow.resources.judge`).

    Without a name it is the one that the accelerator's own name or size leads to.
    """
    if isinstance(name, Board):
        return name
    found = find_board(name) if name else None
    return judge(accelerator, name or accelerator.name) if found is None else found


def conditions_of(
    accelerator: AcceleratorConfig,
    board: str | Board,
    *,
    memory: str = IDEAL_MEMORY,
    clock_mhz: float | None = None,
    latency: int = DDR_LATENCY,
) -> Conditions:
    """From what a user asks for.

    Parameters
    ----------
    accelerator : AcceleratorConfig
    board : str or Board
        A board, its name or file, or the name of a bare preset, which gets the memory of the board it is held against;
        empty for an accelerator that was described in Python.
    memory : str
    clock_mhz : float or None
        As of `timing_of`.
    latency : int, cycles
        Of the memory.

    Raises
    ------
    InputError
        If one of them is none, or the board's file says nothing of its DRAM.
    """
    check_memory(memory)
    check_clock(clock_mhz)
    if latency < 2:
        raise InputError(f"latency must be at least 2 cycles, not {latency!r}")
    under = board_under(accelerator, board)
    timing = timing_of(accelerator, under, clock_mhz)
    if memory == IDEAL_MEMORY:
        return Conditions(memory=memory, memory_of="", ddr=DdrTiming(latency), timing=timing)
    dram = under.memory.timing(timing.used_mhz)
    if dram is None:
        raise InputError(
            f"memory must be {IDEAL_MEMORY} on board '{under.name}', whose file has no table memory.dram, "
            f"not {memory!r}: add one (docs/memory.md), or pass --memory {IDEAL_MEMORY}"
        )
    return Conditions(memory=memory, memory_of=under.name, ddr=DdrTiming(latency, dram), timing=timing)
