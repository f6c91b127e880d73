"""Where a program lies in the memory of a board: moved to another address, with more than one place for images and
results, and each weight port's part in a memory channel of its own where there are several.
"""

from dataclasses import dataclass, replace
from typing import Any

from moesaic.compiler.image import PAGE_BYTES, ProgramImage

__all__ = ["Piece", "Placement", "Slot", "bytes_needed", "place"]


@dataclass(frozen=True)
class Piece:
    """Bytes of a program's memory, from `offset` on, that lie together at an address."""

    address: int
    offset: int
    bytes: int


@dataclass(frozen=True)
class Slot:
    """Addresses of one input image, a part for each weight port, and of one result."""

    images: tuple[int, ...]
    result: int


@dataclass(frozen=True)
class Placement:
    """A program at its place.

    Parameters
    ----------
    program : ProgramImage
        With the addresses of this place.
    slots : tuple of Slot
        The first is the program's own.
    bytes : int
        Of the whole window, from the program's first byte.
    pieces : tuple of Piece
        What to write where to load it.
    """

    program: ProgramImage
    slots: tuple[Slot, ...]
    bytes: int
    pieces: tuple[Piece, ...]


def _pages(size: int) -> int:
    return -(-max(size, 1) // PAGE_BYTES) * PAGE_BYTES


def _slot_sizes(program: ProgramImage) -> list[int]:
    images = [program.region(f"image.{port}").bytes for port in range(program.config.ports)]
    return [*images, program.region("result").bytes]


def _linear(program: ProgramImage, slots: int) -> int:
    return _pages(len(program.memory)) + (slots - 1) * sum(map(_pages, _slot_sizes(program)))


def bytes_needed(program: ProgramImage, slots: int, *, apart: int = 0) -> int:
    """Bytes of a program with room for so many images and results; parameters as of `place`."""
    return _linear(program, slots) + program.config.ports * apart


def _moved(program: ProgramImage, address: int, apart: int) -> ProgramImage:
    by, behind = address - program.address, program.config.ports * apart
    manifest: dict[str, Any] = dict(program.manifest)
    manifest["window"] = {**manifest["window"], "address": address}
    manifest["regions"] = [
        {**region, "address": region["address"] + by + (behind if region["port"] is None else region["port"] * apart)}
        for region in manifest["regions"]
    ]
    manifest["tasks"] = {
        name: {
            **task,
            **{s: {**task[s], "address": task[s]["address"] + by + behind} for s in ("load", "compute", "store")},
        }
        for name, task in manifest["tasks"].items()
    }
    return replace(program, manifest=manifest)


def _pieces(program: ProgramImage, moved: ProgramImage, apart: int) -> tuple[Piece, ...]:
    if not apart:
        return (Piece(moved.address, 0, len(program.memory)),)
    return tuple(
        Piece(there["address"], here["address"] - program.address, here["bytes"])
        for here, there in zip(program.manifest["regions"], moved.manifest["regions"], strict=True)
    )


def place(program: ProgramImage, address: int, *, slots: int, apart: int = 0) -> Placement:
    """The program moved to `address`, with `slots` places for images and results.

    Instructions hold offsets from base registers only, so the bytes of a program are the same everywhere.

    Parameters
    ----------
    program : ProgramImage
    address : int
    slots : int
    apart : int, bytes
        From the memory channel of one weight port to that of the next; instructions and results lie in the one behind
        the last, into which every weight port writes. 0: all in one memory.

    Raises
    ------
    ValueError
        If the address is not a page's, or what follows from it does not fit the accelerator's addresses or a channel.
    """
    if slots < 1:
        raise ValueError(f"slots must be 1 or more, not {slots!r}")
    if address < 0 or address % PAGE_BYTES:
        raise ValueError(f"address must be a multiple of {PAGE_BYTES}, not {address:#x}")
    if apart and (apart % PAGE_BYTES or apart < _linear(program, slots)):
        raise ValueError(f"apart must be 0, or whole pages that hold {_linear(program, slots):#x} bytes, not {apart!r}")
    size, limit = bytes_needed(program, slots, apart=apart), 1 << program.config.addr_bits
    if address + size > limit:
        raise ValueError(
            f"address must leave {size:#x} bytes below {limit:#x}, what the accelerator can address, not {address:#x}"
        )
    moved = _moved(program, address, apart)
    ports = range(program.config.ports)
    places = [Slot(tuple(moved.region(f"image.{port}").address for port in ports), moved.region("result").address)]
    end = address + _pages(len(program.memory))
    for _ in range(slots - 1):
        starts = []
        for channel, part in enumerate(_slot_sizes(program)):  # the result is behind those of the ports
            starts.append(end + channel * apart)
            end += _pages(part)
        places.append(Slot(tuple(starts[:-1]), starts[-1]))
    return Placement(moved, tuple(places), size, _pieces(program, moved, apart))
