"""The C library without an accelerator: how images become bytes, damaged programs, the ports, what it links with."""

import hashlib
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from crig import LIBRARY, compile_c, write_library
from driverrig import nano

from moesaic.compiler.batch import Batch
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.layout import words_for
from moesaic.compiler.pipeline import compile_model
from moesaic.compiler.program_file import to_binary
from moesaic.golden.layers.sizes import NormSizes
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.spec.registers import ErrorCode, register_map

MEAN, STD = (0.2, 0.4, 0.6, 0.7), (0.25, 0.5, 0.3, 0.4)
NEEDED = {"memchr", "memcmp", "memcpy", "memmove", "memset", "strcmp", "strlen", "vsnprintf", "sqrt", "rint"}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("c")
    write_library(folder, 4)
    compile_c(folder, "probe", "probe.c", "moesaic_linux.c", "moesaic_bare.c")
    return folder


def probe(library: Path, *arguments: object, status: int = 0) -> str:
    done = subprocess.run([library / "probe", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == status and not done.stderr, done.stderr
    return done.stdout.strip()


def program(preset: str, *, images: int = 1, channels: int = 3, norm: str | None = None) -> ProgramImage:
    """A program for some accelerator, its images changed afterwards: enough to pack them."""
    config, case = PRESETS[preset], nano(1)
    made = compile_model(case.qmodel, config, tasks=[Batch(case.program.tasks, images)], speculate=1)
    image = replace(
        made.network.image,
        channels=channels,
        pixel_mean=MEAN[:channels],
        pixel_std=STD[:channels],
        patch_norm=None if norm is None else NormSizes(kind=norm, eps=1e-5),
    )
    words = words_for(images * made.network.tokens * words_for(image.patch_values, config.lanes), config.load_rows)
    size = words * config.word_bytes // config.ports
    regions = [{**r, "bytes": size} if r["name"].startswith("image.") else r for r in made.manifest["regions"]]
    embed, *others = made.manifest["network"]["nodes"]
    nodes = [{**embed, "sizes": {"values": image.patch_values}}, *others]
    network = {**made.manifest["network"], "image": asdict(image), "nodes": nodes}
    return replace(made, manifest={**made.manifest, "network": network, "regions": regions})


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("micro8", {}),
        ("pynq-z2", {"images": 2, "channels": 1}),
        ("zcu102", {"images": 3, "channels": 4}),
        ("micro8", {"norm": "layernorm"}),
        ("zcu104", {"norm": "rmsnorm", "channels": 2, "images": 2}),
    ],
)
def test_images_are_packed_as_by_the_compiler(library: Path, tmp_path: Path, preset: str, options: dict) -> None:
    made, rng = program(preset, **options), np.random.default_rng(3)
    images = rng.integers(0, 256, (made.images, *made.network.image.shape), np.uint8)
    images[0, :, :8] = 77  # patches without any deviation
    (tmp_path / "program.bin").write_bytes(to_binary(made))
    (tmp_path / "images.raw").write_bytes(images.tobytes())
    probe(library, "pack", tmp_path / "program.bin", tmp_path / "images.raw", tmp_path / "parts")
    wanted = made.image_parts(images if made.images > 1 else images[0])
    assert (tmp_path / "parts").read_bytes() == b"".join(part for _, part in wanted)


def test_damaged_programs(library: Path, tmp_path: Path) -> None:
    """Whatever is in the file, nothing beside it is read: the sanitizers look."""
    path = tmp_path / "program.bin"
    path.write_bytes(to_binary(program("micro8", images=2)))
    accepted, _ = map(int, probe(library, "damage", path, 20_000).split())
    assert 0 < accepted < 10_000


def test_the_file_ends_with_its_digest() -> None:
    data = to_binary(program("micro8"))
    assert hashlib.sha256(data[:-32]).digest() == data[-32:] and int.from_bytes(data[12:16], "little") == len(data)


def stand_in(folder: Path) -> tuple[Path, Path]:
    """Files in the places of UIO's, u-dma-buf's and memory's devices."""
    dev, sys = folder / "dev", folder / "sys"
    for number, name in enumerate(("other", "moesaic")):
        maps = sys / "uio" / f"uio{number}" / "maps"
        (maps / "map0").mkdir(parents=True)
        (maps / "map1").mkdir()
        (maps.parent / "name").write_text(f"{name}\n")
        (maps / "map0" / "size").write_text("0x0000000000001000\n")
        (maps / "map1" / "addr").write_text("0x0000000010000000\n")
        (maps / "map1" / "size").write_text("0x0000000000004000\n")
    (sys / "u-dma-buf" / "buffer").mkdir(parents=True)
    (sys / "u-dma-buf" / "buffer" / "phys_addr").write_text("0x0000000020000000\n")
    (sys / "u-dma-buf" / "buffer" / "size").write_text("12288\n")
    dev.mkdir()
    for name, size in (("uio1", 0x5000), ("buffer", 12288), ("mem", 0x30000)):
        (dev / name).write_bytes(bytes(size))
    return dev, sys


def test_the_port_of_linux(library: Path, tmp_path: Path) -> None:
    dev, sys = stand_in(tmp_path)
    offset = register_map(4)["WATCHDOG"].offset
    assert probe(library, "linux", "uio1", dev, sys) == "0x10000000 16384"
    assert (dev / "uio1").read_bytes()[offset : offset + 4] == (12345).to_bytes(4, "little")
    assert (dev / "uio1").read_bytes()[0x2000 + 8 : 0x2000 + 10] == bytes([1, 8])
    assert probe(library, "linux", "moesaic,udmabuf=buffer,poll", dev, sys) == "0x20000000 12288"
    assert (dev / "buffer").read_bytes()[4096 + 8 : 4096 + 10] == bytes([1, 8])
    assert probe(library, "linux", "registers=0x10000,memory=0x20000:0x3000", dev, sys) == "0x20000 12288"
    assert (dev / "mem").read_bytes()[0x10000 + offset : 0x10000 + offset + 4] == (12345).to_bytes(4, "little")
    for where, message in (
        ("uio9", "uio9 could not be opened: No such file or directory"),
        ("absent", "no UIO device is called 'absent': is the device tree's overlay loaded?"),
        ("uio1,udmabuf=none", "no u-dma-buf is called 'none'"),
        ("uio1,memory=5", "'memory=5' must be uioN, udmabuf=NAME, memory=ADDRESS:BYTES, registers=ADDRESS or poll"),
        ("registers=0x10000", "an accelerator must have registers and memory: uio0, for instance"),
    ):
        assert message in probe(library, "linux", where, dev, sys, status=1)


def test_the_port_without_an_operating_system(library: Path) -> None:
    assert probe(library, "bare") == ""


def test_what_is_generated(library: Path) -> None:
    """The Makefile works, no memory is allocated, and every error has its name."""
    subprocess.run(["make", "-s", "-C", library / "c", "CFLAGS=-O0"], check=True)
    objects = [library / "c" / f"{name}.o" for name in (*LIBRARY, "moesaic_tables", "moesaic_bare")]
    listed = subprocess.check_output(["nm", "-u", *objects], text=True)
    found = {line.split()[1] for line in listed.splitlines() if line.strip().startswith("U ")}
    assert {name for name in found if not name.startswith(("moesaic_", "_GLOBAL"))} <= NEEDED
    done = subprocess.run([library / "c" / "run_image"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("usage: run_image")
    tables = (library / "c" / "moesaic_tables.c").read_text()
    assert all(f'{{"{code.name}", "{code.doc}"}}' in tables for code in ErrorCode)
