"""The program image: everything a host writes into the accelerator's DDR window, and the manifest that describes it."""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.compiler.batch import Batch, Item
from moesaic.compiler.layout import words_for
from moesaic.compiler.manifest import PAGE_BYTES, SPREAD_BYTES, ProgramImageError, check_manifest
from moesaic.compiler.pack import pack_images, split_ports, unpack_residual
from moesaic.errors import InputError
from moesaic.golden.network import Network
from moesaic.golden.numerics import IntArray
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.json_file import read_json

__all__ = ["PAGE_BYTES", "SPREAD_BYTES", "WINDOW_ADDRESS", "ProgramImage", "ProgramImageError", "Region", "RegionTable"]

WINDOW_ADDRESS = 0x1000_0000  # default first byte of the DDR window

_MEMORY, _MANIFEST = "memory.bin", "manifest.json"
_MOST_MANIFEST = 16 << 20  # bytes


@dataclass(frozen=True)
class Region:
    """One part of the window: `bytes` bytes at `address`; `port` is the weight port that reads it, if one does."""

    name: str
    address: int
    bytes: int
    port: int | None = None


class RegionTable:
    """Lays regions one after the other into a window, each on a page of its own. Regions of weights leave gaps, so that
    ports that read in step meet in no bank of the DRAM.

    Parameters
    ----------
    address : int
        First byte of the window, a multiple of the page size.

    Raises
    ------
    ValueError
        If the address is not a multiple of the page size.
    """

    def __init__(self, address: int = WINDOW_ADDRESS) -> None:
        if address < 0 or address % PAGE_BYTES:
            raise ValueError(f"window address must be a multiple of {PAGE_BYTES}, not {address!r}")
        self.address = self.end = address
        self.regions: list[Region] = []
        self._contents: list[tuple[int, bytes]] = []

    def add(self, name: str, content: bytes | int, port: int | None = None, *, apart: int = 0) -> Region:
        """A region holding `content`, or so many zeros; `apart`: bytes from the place of one port to that of the next,
        modulo `SPREAD_BYTES`.
        """
        size = content if isinstance(content, int) else len(content)
        if port is not None and apart:
            self.end += (self.address + port * apart - self.end) % SPREAD_BYTES
        region = Region(name, self.end, size, port)
        self.regions.append(region)
        if not isinstance(content, int):
            self._contents.append((region.address - self.address, content))
        self.end += -(-max(size, 1) // PAGE_BYTES) * PAGE_BYTES
        return region

    def memory(self) -> bytes:
        """The whole window."""
        window = bytearray(self.end - self.address)
        for offset, content in self._contents:
            window[offset : offset + len(content)] = content
        return bytes(window)


@dataclass(frozen=True)
class ProgramImage:
    """Contents of the DDR window with the programs of all tasks, and the manifest.

    Parameters
    ----------
    memory : bytes
        The window, from its first byte; image and result regions are zero.
    manifest : mapping
        `format`; `accelerator` and `accelerator_hash`; `network`; `weights` ("trained" or "seeded"), `seed`; `window`
        {address, bytes}; `regions` [{name, address, bytes, port}]; `images` of one run; `tasks` {program: {load,
        compute, store: {address, count}, speculated, items [{image, task}], marks}}: a program has the name of its
        task, or `all` if it computes several; `marks` lists the name of each marked tensor, the compute instruction
        that completes it, and whether tasks still have it in common; `own` the compute instructions that some items
        alone need [{instruction, count, items}]; `tensors` [{name, kind, address (residual words), words, tokens, dim,
        step, macs, weight_bytes}] in the order of the marks; `experts` {block: {expert: {offset, bytes}}} in the weight
        stream; `pieces` [{name, offset, bytes}] of the weight stream; `macs`, `weight_bytes`; `memory_sha256`.
    """

    memory: bytes
    manifest: Mapping[str, Any]

    @property
    def address(self) -> int:
        """First byte of the window."""
        return int(self.manifest["window"]["address"])

    @property
    def config(self) -> AcceleratorConfig:
        """The accelerator that the programs are for."""
        return AcceleratorConfig(**self.manifest["accelerator"])

    @property
    def network(self) -> Network:
        """The network that was compiled."""
        return Network.from_dict(self.manifest["network"])

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the programs: tasks, and `all` if there is one for several."""
        return tuple(self.manifest["tasks"])

    def region(self, name: str) -> Region:
        """The region of that name.

        Raises
        ------
        KeyError
            If there is none such.
        """
        for entry in self.manifest["regions"]:
            if entry["name"] == name:
                return Region(**entry)
        raise KeyError(f"region must be one of {', '.join(e['name'] for e in self.manifest['regions'])}, not {name!r}")

    def task(self, name: str) -> Mapping[str, Any]:
        """The manifest's entry of a task.

        Raises
        ------
        ProgramImageError
            If the image has no program for it.
        """
        if name not in self.manifest["tasks"]:
            raise ProgramImageError(f"task must be one of {', '.join(self.tasks)}, not {name!r}")
        entry: Mapping[str, Any] = self.manifest["tasks"][name]
        return entry

    def registers(self, task: str) -> dict[str, int]:
        """Values of the configuration registers that start `task`, by the names of the register map's values."""
        values = {}
        for stream in ("load", "compute", "store"):
            entry = self.task(task)[stream]
            values[f"{stream}_base"], values[f"{stream}_count"] = entry["address"], entry["count"]
        values |= {
            "result_base": self.region("result").address,
            "result_bytes": self.region("result").bytes,
            "window_base": self.address,
            "window_bytes": len(self.memory),
            "program_hash": int(self.manifest["memory_sha256"][:8], 16),
        }
        for port in range(self.config.ports):
            values[f"weight_base{port}"] = values[f"task_base{port}"] = self.region(f"weights.{port}").address
            values[f"image_base{port}"] = self.region(f"image.{port}").address
        return values

    @property
    def images(self) -> int:
        """Images of one run."""
        return int(self.manifest["images"])

    def items(self, task: str) -> tuple[Item, ...]:
        """What the program of that name computes, in the order of its results."""
        return tuple(Item(**item) for item in self.task(task)["items"])

    def items_at(self, task: str, instruction: int) -> tuple[Item, ...]:
        """The items that a compute instruction of a program works for."""
        items = self.items(task)
        for run in self.task(task)["own"]:
            if run["instruction"] <= instruction < run["instruction"] + run["count"]:
                return tuple(items[number] for number in run["items"])
        return items

    def image_parts(self, images: IntArray) -> list[tuple[int, bytes]]:
        """(address, bytes) that a host writes to run on `images`, one or as many as the program takes,
        [(images,) channels, height, width] uint8.
        """
        several = list(images) if isinstance(images, np.ndarray) and images.ndim == 4 else [images]
        if len(several) != self.images:
            raise InputError(
                f"images must be as many as the program was compiled for, {self.images}, not {len(several)}"
            )
        parts = split_ports(pack_images(several, self.network, self.config), self.config)
        return [(self.region(f"image.{port}").address, part) for port, part in enumerate(parts)]

    def memory_with(self, images: IntArray) -> bytes:
        """The window with input images in place."""
        window = bytearray(self.memory)
        for address, part in self.image_parts(images):
            window[address - self.address : address - self.address + len(part)] = part
        return bytes(window)

    def unpack_result(self, data: bytes, task: str | None = None) -> IntArray:
        """Final residuals [items * tokens, dim] int16 of a program's items (None: of the first program's) from the
        bytes of the result region.
        """
        task = self.tasks[0] if task is None else task
        return self.unpack_items(data, task, len(self.task(task)["marks"]) - 1)

    @property
    def item_bytes(self) -> int:
        """Bytes of an item's residual."""
        return self.network.tokens * words_for(self.network.dim, self.config.lanes) * 2 * self.config.lanes

    def places(self, task: str, mark: int = -1) -> list[int]:
        """Where each of a program's items has its residual at a mark, in numbers of items: the same place where items
        still have it in common.
        """
        batch, shared = Batch.from_items(self.items(task)), self.task(task)["marks"][mark]["shared"]
        return [batch.place(number, shared=shared) for number in range(len(batch.items))]

    def unpack_items(self, data: bytes, task: str, mark: int) -> IntArray:
        """Residuals [items * tokens, dim] int16 of a program's items at a mark, from residual words: those of items
        that still have theirs in common once for each.
        """
        size, (tokens, dim) = self.item_bytes, (self.network.tokens, self.network.dim)
        parts = [data[place * size : (place + 1) * size] for place in self.places(task, mark)]
        return np.concatenate([unpack_residual(part, tokens, dim, self.config) for part in parts])

    def save(self, directory: str | Path) -> None:
        """Write `memory.bin` and `manifest.json`; each appears complete or not at all, the manifest last."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.manifest, indent=1) + "\n"
        for name, content in ((_MEMORY, self.memory), (_MANIFEST, text.encode())):
            handle, temporary = tempfile.mkstemp(dir=directory, prefix=f".{name}.")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                os.chmod(temporary, 0o644)
                os.replace(temporary, directory / name)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise

    @classmethod
    def load(cls, directory: str | Path) -> "ProgramImage":
        """Read and verify what :meth:`save` wrote.

        Raises
        ------
        ProgramImageError
            If a file is missing, not what the manifest says, of another format, or regions do not fit the window.
        """
        directory = Path(directory)
        try:
            manifest = read_json(directory / _MANIFEST, most=_MOST_MANIFEST, what=_MANIFEST, error=ProgramImageError)
            check_manifest(manifest)
            memory = _read_memory(directory / _MEMORY, manifest["window"]["bytes"], manifest["memory_sha256"])
        except ProgramImageError as error:
            raise ProgramImageError(f"program image '{directory}': {error}") from error
        return cls(memory, manifest)


def _read_memory(path: Path, size: int, sha256: str) -> bytes:
    """`memory.bin`, read only after its size and its digest are known to be those of the manifest."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise ProgramImageError(f"{_MEMORY} must be {size} bytes, not {found.st_size!r}")
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while part := file.read(1 << 20):
                digest.update(part)
            if digest.hexdigest() != sha256:
                raise ProgramImageError(f"SHA-256 of {_MEMORY} must be {sha256}, not {digest.hexdigest()}")
            file.seek(0)
            return file.read(size)
    except OSError as error:
        raise ProgramImageError(f"{_MEMORY} cannot be read: {error.strerror} ({error.filename})") from error
