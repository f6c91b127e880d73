"""Where a program lies in the memory of a board: moved to another address, with more than one place for images and
results.
"""

from dataclasses import dataclass, replace
from typing import Any

from moesaic.compiler.image import PAGE_BYTES, ProgramImage

__all__ = ["Placement", "Slot", "bytes_needed", "place"]


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
    """

    program: ProgramImage
    slots: tuple[Slot, ...]
    bytes: int


def _pages(size: int) -> int:
    return -(-max(size, 1) // PAGE_BYTES) * PAGE_BYTES


def _slot_sizes(program: ProgramImage) -> list[int]:
    images = [program.region(f"image.{port}").bytes for port in range(program.config.ports)]
    return [*images, program.region("result").bytes]


def bytes_needed(program: ProgramImage, slots: int) -> int:
    """Bytes of a program with room for so many images and results."""
    return _pages(len(program.memory)) + (slots - 1) * sum(map(_pages, _slot_sizes(program)))


def _moved(program: ProgramImage, address: int) -> ProgramImage:
    by = address - program.address
    manifest: dict[str, Any] = dict(program.manifest)
    manifest["window"] = {**manifest["window"], "address": address}
    manifest["regions"] = [{**region, "address": region["address"] + by} for region in manifest["regions"]]
    manifest["tasks"] = {
        name: {
            **task,
            **{s: {**task[s], "address": task[s]["address"] + by} for s in ("load", "compute", "store")},
        }
        for name, task in manifest["tasks"].items()
    }
    return replace(program, manifest=manifest)


def place(program: ProgramImage, address: int, *, slots: int) -> Placement:
    """The program moved to `address`, with `slots` places for images and results.

    Instructions hold offsets from base registers only, so the bytes of a program are the same everywhere.

    Raises
    ------
    ValueError
        If the address is not a page's, or what follows from it does not fit the accelerator's addresses.
    """
    if slots < 1:
        raise ValueError(f"slots must be 1 or more, not {slots!r}")
    if address < 0 or address % PAGE_BYTES:
        raise ValueError(f"address must be a multiple of {PAGE_BYTES}, not {address:#x}")
    size, limit = bytes_needed(program, slots), 1 << program.config.addr_bits
    if address + size > limit:
        raise ValueError(
            f"address must leave {size:#x} bytes below {limit:#x}, what the accelerator can address, not {address:#x}"
        )
    moved = _moved(program, address)
    ports = range(program.config.ports)
    places = [Slot(tuple(moved.region(f"image.{port}").address for port in ports), moved.region("result").address)]
    end = address + _pages(len(program.memory))
    for _ in range(slots - 1):
        starts = []
        for part in _slot_sizes(program):
            starts.append(end)
            end += _pages(part)
        places.append(Slot(tuple(starts[:-1]), starts[-1]))
    return Placement(moved, tuple(places), size)
