"""The memory of a board: its bus, the window that the accelerator may use, and how it times its transfers."""

from dataclasses import dataclass, replace

from moesaic.boards.section import BoardError, require, section
from moesaic.compiler.memory import DramTiming

__all__ = ["Dram", "Memory", "parse_memory"]

_MOST_BANKS = 64  # as sim/dram.sv


@dataclass(frozen=True, kw_only=True)
class Dram:
    """How a DRAM and its controller time transfers; docs/memory.md says where the figures come from.

    Parameters
    ----------
    refresh_ns, recovery_ns : float, ns
        tREFI and tRFC.
    row_ns : float, ns
        tRP + tRCD: to close a row and open another.
    row_bytes : int
        In a row of one bank, over the whole width of the bus, or of all channels.
    banks : int
    to_write_ns, to_read_ns : float, ns
        Without data between a read and a write, and between a write and a read.
    posted_bytes : int
        Of writes that the controller collects before it turns the bus round.
    ahead_beats : int
        That a port of the fabric may have on their way and in its FIFO.
    """

    refresh_ns: float
    recovery_ns: float
    row_ns: float
    row_bytes: int
    banks: int
    to_write_ns: float
    to_read_ns: float
    posted_bytes: int
    ahead_beats: int

    def __post_init__(self) -> None:
        for name in ("recovery_ns", "row_ns", "to_write_ns", "to_read_ns"):
            value = getattr(self, name)
            require(0 <= value <= 1e6, f"memory.dram.{name}", "from 0 to 1e6", value)
        require(
            self.recovery_ns < self.refresh_ns <= 1e9, "memory.dram.refresh_ns", "above recovery_ns", self.refresh_ns
        )
        for name, most in (
            ("row_bytes", 1 << 20),
            ("banks", _MOST_BANKS),
            ("posted_bytes", 1 << 20),
            ("ahead_beats", 1 << 16),
        ):
            value = getattr(self, name)
            require(0 < value <= most, f"memory.dram.{name}", f"from 1 to {most}", value)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The board's memory, and the part of it that the accelerator may use.

    Parameters
    ----------
    bits : int
        Width of the data bus, of one channel if there are several.
    mega_transfers : float, MT/s
        Transfers per second and pin.
    bytes : int
    window_base, window_bytes : int
        Physical addresses that can be kept free of the operating system (a ``reserved-memory`` node); a host with an
        allocator uses any other place.
    channels : int
        Independent ones in use, each with a weight port in front of it (HBM); 1 where all ports share one memory.
    channel_bytes : int
        From the first byte of a channel to that of the next; 0 with one channel.
    dram : Dram or None
        None: unknown, and only an ideal memory can be simulated.
    """

    bits: int
    mega_transfers: float
    bytes: int
    window_base: int
    window_bytes: int
    channels: int = 1
    channel_bytes: int = 0
    dram: Dram | None = None

    @property
    def bandwidth_gbs(self) -> float:
        """Peak of all channels in use, GB/s."""
        return self.channels * self.bits / 8 * self.mega_transfers / 1e3

    def timing(self, clock_mhz: float) -> DramTiming | None:
        """In cycles of a clock; None where it is unknown."""
        if (dram := self.dram) is None:
            return None
        per_ns = clock_mhz / 1e3
        return DramTiming(
            rate=self.bandwidth_gbs / per_ns,
            refresh=dram.refresh_ns * per_ns,
            recovery=dram.recovery_ns * per_ns,
            row=dram.row_ns * per_ns,
            row_bytes=dram.row_bytes,
            banks=dram.banks,
            to_write=dram.to_write_ns * per_ns,
            to_read=dram.to_read_ns * per_ns,
            posted=dram.posted_bytes,
            ahead=dram.ahead_beats,
        )


def parse_memory(table: object) -> Memory:
    """The table `memory` of a board's file, with its own table `dram`, if it has one.

    Raises
    ------
    BoardError
    """
    if not isinstance(table, dict):
        raise BoardError(f"memory must be a table, not {table!r}")
    plain = {name: value for name, value in table.items() if name != "dram"}
    memory: Memory = section(Memory, "memory", plain)
    return replace(memory, dram=section(Dram, "memory.dram", table["dram"])) if "dram" in table else memory
