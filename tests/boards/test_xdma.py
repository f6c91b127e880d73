"""The transport to a PCI Express card: whole images through a stand-in of the XDMA driver, with golden results."""

import itertools
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from driverrig import CONFIG, Case, nano
from xdmarig import DEVICE, Card, build_standin, run_beside

from moesaic.boards.board import load_board
from moesaic.boards.place import bytes_needed, place
from moesaic.boards.runtime import Accelerator
from moesaic.boards.xdma import CHANNEL_BYTES, XdmaTransport
from moesaic.compiler.image import PAGE_BYTES

PORTS = CONFIG.replace(name="two-ports", ports=2, port_bits=64)
APART = 1 << 20
HEAD = """
import json, sys
import numpy as np
from moesaic.boards.runtime import Accelerator
program, device, folder = sys.argv[1:4]
images = np.load(f"{folder}/images.npy")
options = {"device": device, "timeout": 2.0, **json.loads(sys.argv[4])}
"""
RUN = (
    HEAD
    + """
with Accelerator.open_card(program, **options) as accelerator:
    found = [accelerator.run(image, "xy"[number % 2]) for number, image in enumerate(images)]
    streamed = [*accelerator.stream(zip(images, ["y"] * len(images)))]
np.savez(f"{folder}/tokens.npz", *(one.tokens for one in [*found, *streamed]))
print(sum(len(one.failures) for one in found), flush=True)
"""
)
FAIL = (
    HEAD
    + """
try:
    with Accelerator.open_card(program, **options) as accelerator:
        accelerator.run(images[0], "x")
        print("nothing failed")
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""
)
ODD = """
import asyncio, sys
from moesaic.boards import xdma
from moesaic.boards.xdma import XdmaTransport

async def main(device):
    transport, data = XdmaTransport(device), bytes(range(250)) * 40
    xdma._PART = 4096
    await transport.write_memory(0x1000000D, data)
    print(await transport.read_memory(0x1000000D, len(data)) == data)
    await transport.close()

asyncio.run(main(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def case() -> Case:
    return nano(2, config=PORTS)


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_standin(tmp_path_factory.mktemp("xdma"))


@pytest.fixture
def folder(case: Case, tmp_path: Path) -> Path:
    case.program.save(tmp_path / "program")
    np.save(tmp_path / "images.npy", case.images)
    return tmp_path


def card_for(case: Case, *, apart: int = APART) -> Card:
    return Card(PORTS, base=case.program.address, size=bytes_needed(case.program, 2, apart=apart))


def beside(card: Card, standin: Path, folder: Path, code: str, env: dict[str, str] | None = None, **options: object):
    given = json.dumps({"apart": APART, **options})
    return run_beside(card, standin, sys.executable, "-c", code, folder / "program", DEVICE, folder, given, env=env)


@pytest.mark.parametrize("options", [{}, {"interrupt": False}, {"apart": 0}], ids=["interrupt", "polling", "together"])
def test_images_give_golden_results(case: Case, standin: Path, folder: Path, options: dict[str, object]) -> None:
    card = card_for(case, apart=int(options.get("apart", APART)))
    assert beside(card, standin, folder, RUN, **options) == "0\n"
    with np.load(folder / "tokens.npz") as found:
        tasks = [*("xy"[number % 2] for number in range(2)), "y", "y"]
        for position, (task, tokens) in enumerate(zip(tasks, found.values(), strict=True)):
            assert np.array_equal(tokens, case.expected(task, position % 2)), position
    assert card.events == 4
    assert not card.device.words["IRQ_ENABLE"]


def test_what_a_port_reads_lies_in_its_channel(case: Case, standin: Path, folder: Path) -> None:
    """And nothing else lies there."""
    card = card_for(case)
    beside(card, standin, folder, RUN, slots=1)
    found = place(case.program, case.program.address, slots=1, apart=APART)
    left = card.device.memory.copy()
    for piece in found.pieces:
        first = piece.address - case.program.address
        left[first : first + piece.bytes] = 0
    assert not left.any() and card.device.memory.any()
    for port in range(PORTS.ports):
        for what in ("weights", "image"):
            address = found.program.region(f"{what}.{port}").address
            assert address - case.program.address in range(port * APART, (port + 1) * APART)
            assert found.program.registers("x")[f"{what.removesuffix('s')}_base{port}"] == address
    for stream in ("load", "compute", "store"):
        assert found.program.task("y")[stream]["address"] >= case.program.address + PORTS.ports * APART
    assert found.slots[0].result >= case.program.address + PORTS.ports * APART


def test_places_in_channels_do_not_overlap(case: Case) -> None:
    found = place(case.program, 0x2000_0000, slots=3, apart=APART)
    taken = [(r["address"], r["bytes"]) for r in found.program.manifest["regions"]]
    for slot in found.slots[1:]:
        taken += [(at, case.program.region(f"image.{port}").bytes) for port, at in enumerate(slot.images)]
        taken.append((slot.result, case.program.region("result").bytes))
        assert [(at - 0x2000_0000) // APART for at in (*slot.images, slot.result)] == [0, 1, 2]
    taken.sort()
    assert all(low + size <= high for (low, size), (high, _) in itertools.pairwise(taken))
    assert taken[-1][0] + taken[-1][1] <= 0x2000_0000 + found.bytes
    with pytest.raises(ValueError, match=r"apart must be 0, or whole pages that hold 0x[0-9a-f]+ bytes, not 4096"):
        place(case.program, 0x2000_0000, slots=3, apart=PAGE_BYTES)


def test_odd_addresses(case: Case, standin: Path, folder: Path) -> None:
    """In parts, through a buffer that is aligned as they are."""
    card = card_for(case)
    assert beside(card, standin, folder, ODD) == "True\n"
    assert card.device.memory[13 : 13 + 250].tolist() == list(range(250))


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("short", 8192, r"DeviceError: write at 0x10010000 must move [\d,]+ bytes, not [\d,]+\n"),
        ("gone_after", 0, "DeviceError: /dev/standin0 answers with ones only: the card was reset"),
        ("gone_after", 60, "DeviceError: /dev/standin0 answers with ones only: the card was reset"),
        (
            "base",
            1 << 30,
            r"DeviceError: write of [\d,]+ bytes at 0x[0-9a-f]+ failed: Input/output error; `dmesg` says",
        ),
    ],
)
def test_what_goes_wrong_is_said(
    case: Case, standin: Path, folder: Path, attribute: str, value: int, message: str
) -> None:
    card = card_for(case)
    if attribute == "base":
        card.device.address = value
    else:
        setattr(card, attribute, value)
    said = beside(card, standin, folder, FAIL)
    assert re.match(message, said), said


def test_devices_that_cannot_be_opened(case: Case, standin: Path, folder: Path, tmp_path: Path) -> None:
    said = beside(card_for(case), standin, folder, FAIL, env={"XDMA_STANDIN_REFUSED": "c2h_0"})
    assert said.startswith("PermissionError: '/dev/standin0_c2h_0' must be open to this user: run as root")
    with pytest.raises(FileNotFoundError, match=r"none0_user' must be there: load AMD's XDMA driver \(xdma.ko\), and"):
        XdmaTransport(tmp_path / "none0")
    with pytest.raises(FileNotFoundError, match="none0_user"):
        Accelerator.open_card(folder / "program", device=tmp_path / "none0")


def test_a_program_that_the_memory_does_not_hold(case: Case, standin: Path, folder: Path) -> None:
    said = beside(card_for(case), standin, folder, FAIL, apart=1 << 32)
    assert said.startswith("MemoryError: the card's memory must have 8,5")


def test_the_channel_is_that_of_the_card() -> None:
    board = load_board("u280")
    assert board.memory.channel_bytes == CHANNEL_BYTES
    assert replace(board.memory, channels=1).bandwidth_gbs == 14.4
