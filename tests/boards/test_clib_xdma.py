"""The C library's port to a PCI Express card: its own command, beside a stand-in of the XDMA driver."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from crig import write_library
from driverrig import CONFIG, Case, nano
from xdmarig import DEVICE, Card, build_standin, run_beside

from moesaic.boards.place import bytes_needed, place
from moesaic.compiler.program_file import FILE, to_binary

PORTS = CONFIG.replace(name="two-ports", ports=2, port_bits=64)
APART = 1 << 20


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library as `moesaic generate` writes it, made by its own Makefile, and the stand-in."""
    folder = tmp_path_factory.mktemp("c")
    write_library(folder, PORTS.ports)
    subprocess.run(["make", "-s", "-C", folder / "c", "run_image"], check=True)
    build_standin(folder)
    return folder


@pytest.fixture(scope="module")
def case() -> Case:
    return nano(2, config=PORTS)


@pytest.fixture
def folder(case: Case, tmp_path: Path) -> Path:
    case.program.save(tmp_path / "program")
    (tmp_path / "program" / FILE).write_bytes(to_binary(case.program))
    height, width = case.program.network.image_size
    for number, image in enumerate(case.images):
        head = f"P6\n{width} {height} 255\n".encode()
        (tmp_path / f"{number}.ppm").write_bytes(head + image.transpose(1, 2, 0).tobytes())
    return tmp_path


def run_image(card: Card, built: Path, folder: Path, where: str, *, status: int = 0) -> str:
    command = [built / "c" / "run_image", "-d", f"xdma={where}", "-t", "y", "-o", folder / "tokens.bin"]
    images = [folder / f"{number}.ppm" for number in range(2)]
    return run_beside(card, built / "xdma_standin.so", *command, folder / "program", *images, status=status)


@pytest.mark.parametrize("options", ["", ",poll"])
@pytest.mark.parametrize("apart", [APART, 0])
def test_images_give_golden_results(case: Case, built: Path, folder: Path, options: str, apart: int) -> None:
    card = Card(PORTS, base=case.program.address, size=bytes_needed(case.program, 2, apart=apart))
    said = run_image(card, built, folder, f"{DEVICE},channel={apart:#x}{options}")
    assert said.count("0 failed attempts") == 2 and card.events == 2
    for number, tokens in enumerate(np.fromfile(folder / "tokens.bin", "<i2").reshape(2, -1)):
        assert np.array_equal(tokens, case.expected("y", number).ravel())
    # What a port reads lies in its channel, and nothing else does.
    left = card.device.memory.copy()
    for piece in place(case.program, case.program.address, slots=1, apart=apart).pieces:
        first = piece.address - case.program.address
        left[first : first + piece.bytes] = 0
    assert not left.any()


def test_odd_addresses(case: Case, built: Path) -> None:
    source, made = (
        Path(__file__).parent / "c" / "xdma_odd.c",
        [built / "c" / "moesaic_xdma.o", built / "c" / "libmoesaic.a"],
    )
    flags = ["-std=c11", "-Wall", "-Werror", f"-I{built / 'c'}", f"-I{built / 'include'}"]
    subprocess.run(["gcc", *flags, source, *made, "-lm", "-o", built / "xdma_odd"], check=True)
    card = Card(PORTS, base=case.program.address, size=1 << 19)
    assert run_beside(card, built / "xdma_standin.so", built / "xdma_odd", DEVICE) == "equal\n"
    assert card.device.memory[13 + 36] == 36 * 7


@pytest.mark.parametrize(
    ("attribute", "value", "where", "message"),
    [
        ("short", 8192, DEVICE, r"bytes of memory could not be written at 0x10"),
        ("gone_after", 0, DEVICE, "register 0x000 could not be read: is the bitstream loaded?"),
        ("gone_after", 40, DEVICE, "could not be read: is the bitstream loaded?"),
        (
            "short",
            0,
            "/dev/standin9",
            "/dev/standin9_user could not be opened: No such file or directory; is AMD's XDMA",
        ),
        ("short", 0, f"{DEVICE},channel=4096", "a memory channel must have"),
        ("short", 0, f"{DEVICE},channel=0x10000000000", "accelerator's memory must be 2"),
    ],
)
def test_what_goes_wrong_is_said(
    case: Case, built: Path, folder: Path, attribute: str, value: int, where: str, message: str
) -> None:
    card = Card(PORTS, base=case.program.address, size=bytes_needed(case.program, 2, apart=APART))
    setattr(card, attribute, value)
    options = "" if "channel" in where else f",channel={APART:#x}"
    assert message in run_image(card, built, folder, where + options, status=1)
