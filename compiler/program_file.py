"""The manifest of a program image as one binary file, for hosts in C: fixed fields, then tables, then a digest.

`boards/c/moesaic_program.c` reads it. All numbers are little-endian, unsigned, and as wide as `_FIELDS` says.
"""

import hashlib
import struct
from collections.abc import Iterable

from moesaic.compiler.image import ProgramImage
from moesaic.compiler.manifest import STREAMS
from moesaic.golden.layers.sizes import NORM_KINDS
from moesaic.hw.spec.registers import VERSION_VALUE

__all__ = ["FILE", "FORMAT", "NAME_BYTES", "to_binary"]

FILE = "program.bin"
FORMAT = 1
MAGIC = b"MOESAIC\0"
NAME_BYTES = 72  # of a name, padded with zeros


def _name(text: str) -> bytes:
    data = text.encode()
    if len(data) >= NAME_BYTES:
        raise ValueError(f"name must have fewer than {NAME_BYTES} bytes, not {text!r}")
    return data.ljust(NAME_BYTES, b"\0")


def _words(numbers: Iterable[int]) -> bytes:
    values = list(numbers)
    return struct.pack(f"<{len(values)}I", *values)


def _tables(program: ProgramImage) -> tuple[dict[str, int], bytes]:
    """Ports, channels, tasks, programs, items and own instructions: their numbers, and all their bytes."""
    image, offset = program.network.image, program.address
    ports = [
        struct.pack("<2Q", *(program.region(f"{what}.{port}").address - offset for what in ("weights", "image")))
        for port in range(program.config.ports)
    ]
    channels = [struct.pack("<2d", *pair) for pair in zip(image.pixel_mean, image.pixel_std, strict=True)]
    tasks, programs, items, own, members = (
        program.network.tasks,
        list[bytes](),
        list[bytes](),
        list[bytes](),
        list[int](),
    )
    for name in program.tasks:
        entry, first_item, first_own = program.task(name), len(items), len(own)
        for item, place in zip(program.items(name), program.places(name), strict=True):
            items.append(_words((item.image, tasks.index(item.task), place)))
        for run in entry["own"]:
            own.append(_words((run["instruction"], run["count"], len(members), len(run["items"]))))
            members += run["items"]
        streams = [struct.pack("<QQ", entry[s]["address"] - offset, entry[s]["count"]) for s in STREAMS]
        numbers = (len(entry["marks"]), first_item, len(items) - first_item, first_own, len(own) - first_own)
        programs.append(_name(name) + b"".join(streams) + _words(numbers))
    counts = {
        "tasks": len(tasks),
        "programs": len(programs),
        "items": len(items),
        "own": len(own),
        "members": len(members),
    }
    names = [_name(task) for task in tasks]
    return counts, b"".join([*ports, *channels, *names, *programs, *items, *own, _words(members)])


def to_binary(program: ProgramImage) -> bytes:
    """Everything that a host in C needs beside `memory.bin`; addresses are offsets from the window's first byte."""
    config, network, image = program.config, program.network, program.network.image
    counts, tables = _tables(program)
    norm = image.patch_norm
    head = _words(
        (
            VERSION_VALUE,
            int(config.hash[-8:], 16),
            config.ports,
            config.port_bits // 8,
            config.lanes,
            config.word_bytes,
            config.max_burst,
            config.addr_bits,
            program.images,
            network.tokens,
            network.prefix_tokens,
            network.dim,
            image.channels,
            *image.size,
            *image.patch,
            0 if norm is None else 1 + NORM_KINDS.index(norm.kind),
            *(counts[what] for what in ("tasks", "programs", "items", "own", "members")),
        )
    )
    wide = struct.pack(
        "<5Q2d",
        program.address,
        len(program.memory),
        program.region("result").address - program.address,
        program.region("result").bytes,
        program.region("image.0").bytes,
        0.0 if norm is None else norm.eps,
        program.manifest["tensors"][-1]["step"],
    )
    digest = bytes.fromhex(program.manifest["memory_sha256"])
    body = digest + head + wide + _name(network.name) + _name(config.name) + tables
    size = len(MAGIC) + 8 + len(body) + hashlib.sha256().digest_size
    data = MAGIC + _words((FORMAT, size)) + body
    return data + hashlib.sha256(data).digest()
