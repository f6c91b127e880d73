"""A dry run of the PYNQ transport: whole images through a stand-in of PYNQ, with golden results."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from driverrig import CONFIG, Case, nano
from pynq_standin import DDR, Board, make_module

from moesaic.boards.errors import AcceleratorError, RunTimeout, WrongAccelerator
from moesaic.boards.pynq import PynqTransport
from moesaic.boards.runtime import Accelerator
from moesaic.compiler.image import ProgramImageError
from moesaic.hw.spec.isa import INSTRUCTION_BYTES
from moesaic.hw.spec.presets import PRESETS


@pytest.fixture(scope="module")
def case() -> Case:
    return nano()


@pytest.fixture
def folder(case: Case, tmp_path: Path) -> Path:
    """A bitstream with its description, and a program folder."""
    case.program.save(tmp_path / "program")
    (tmp_path / "micro8.bit").write_bytes(b"bits")
    (tmp_path / "micro8.hwh").write_text("<EDKSYSTEM/>")
    return tmp_path


@pytest.fixture(params=[True, False], ids=["interrupt", "polling"])
def board(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Board:
    return installed(monkeypatch, interrupts=request.param)


def installed(monkeypatch: pytest.MonkeyPatch, **options: object) -> Board:
    board = Board(options.pop("config", CONFIG), **options)
    monkeypatch.setitem(sys.modules, "pynq", make_module(board))
    return board


def opened(folder: Path, **options: object) -> Accelerator:
    return Accelerator.open(folder / "micro8.bit", folder / "program", **options)


def test_images_give_golden_results(case: Case, folder: Path, board: Board) -> None:
    with opened(folder) as accelerator:
        assert accelerator.driver.transport.interrupt_driven == board.interrupts
        assert accelerator.program.address == DDR != case.program.address
        for number, task in enumerate(("x", "y", "y")):
            result = accelerator.run(case.images[number], task)
            assert np.array_equal(result.tokens, case.expected(task, number))
            assert (
                result.map is None and result.task == task and set(result.seconds) == {"write", "run", "read", "head"}
            )
            assert result.counters["marks"] == 3 and result.counters["weight_bytes"] > 0
        assert board.downloads == [folder / "micro8.bit"]
        assert board.used > len(case.program.memory)
    assert board.used == 0
    assert (board.interrupts_taken > 0) == board.interrupts
    assert not board.device.words["IRQ_ENABLE"]


def test_a_queue_of_images(case: Case, folder: Path, board: Board) -> None:
    tasks = ["x", "y", "x", "y"]
    with opened(folder) as accelerator:
        results = list(accelerator.stream(zip(case.images.transpose(0, 2, 3, 1), tasks, strict=True)))
    assert [result.task for result in results] == tasks
    for number, result in enumerate(results):
        assert np.array_equal(result.tokens, case.expected(result.task, number)), number


def test_a_queue_that_is_left(case: Case, folder: Path, board: Board) -> None:
    """The caller stops in the middle: nothing goes on running, and the next image is right."""
    with opened(folder) as accelerator:
        for _ in accelerator.stream((image, "x") for image in case.images):
            break
        assert not accelerator.status().flag("busy")
        assert np.array_equal(accelerator.run(case.images[3], "y").tokens, case.expected("y", 3))


def test_an_unflushed_image_is_noticed(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in would not forgive a missing flush or invalidate."""
    board = installed(monkeypatch)
    with opened(folder) as accelerator:
        expected = case.expected("x", 1)
        buffer = accelerator.driver.transport.buffer
        monkeypatch.setattr(type(buffer), "flush", lambda self: None)
        assert not np.array_equal(accelerator.run(case.images[1], "x").tokens, expected)
        monkeypatch.undo()
        monkeypatch.setitem(sys.modules, "pynq", make_module(board))
        monkeypatch.setattr(type(buffer), "invalidate", lambda self: None)
        assert not np.array_equal(accelerator.run(case.images[1], "x").tokens, expected)
        monkeypatch.undo()
        assert np.array_equal(accelerator.run(case.images[1], "x").tokens, expected)


def test_faults_by_name_and_then_a_correct_run(case: Case, folder: Path, board: Board) -> None:
    with opened(folder, timeout=0.2) as accelerator:
        place = accelerator.program.task("x")["compute"]["address"] + 2 * INSTRUCTION_BYTES - DDR
        board.dram[place] |= 15
        with pytest.raises(AcceleratorError, match=r"BAD_OPCODE: .* \(compute unit, instruction 2\)"):
            accelerator.run(case.images[0], "x")
        again = accelerator.run(case.images[0], "x", retries=1)  # writes the program again
        assert again.failures[0].startswith("BAD_OPCODE") and np.array_equal(again.tokens, case.expected("x", 0))
        board.device.hang = True
        with pytest.raises(RunTimeout, match=r"within 0.2 s \(STATUS busy, .*; a soft reset made it idle"):
            accelerator.run(case.images[0], "x")
        board.device.hang = False
        assert np.array_equal(accelerator.run(case.images[1], "x").tokens, case.expected("x", 1))


def test_another_accelerator_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = installed(monkeypatch, config=PRESETS["micro16"])
    with pytest.raises(WrongAccelerator, match=r"\(nano\) was compiled for 'micro8' .* that answers is 'micro16'"):
        opened(folder)
    assert board.used == 0
    installed(monkeypatch, config=CONFIG.replace(max_tokens=80))
    with pytest.raises(WrongAccelerator, match="of a configuration that is no preset"):
        opened(folder)


def test_nothing_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = installed(monkeypatch)
    board.device.words["ID"] = 0xFFFF_FFFF
    with pytest.raises(WrongAccelerator, match="ID must be 0x4d4f4531, not 0xffffffff"):
        opened(folder)
    board.device.words |= {"ID": 0x4D4F4531, "VERSION": 0x3_0003}
    with pytest.raises(WrongAccelerator, match=r"VERSION must be 2.x, not 3.3"):
        opened(folder)


def test_files_and_cells(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = installed(monkeypatch)
    with pytest.raises(RuntimeError, match="cell must be one of accelerator_0, axi_intc_0, not 'other'"):
        opened(folder, cell="other")
    (folder / "micro8.hwh").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no '.*micro8.hwh'"):
        opened(folder)
    (folder / "program" / "memory.bin").write_bytes(b"short")
    with pytest.raises(ProgramImageError, match="memory.bin must be"):
        opened(folder)
    assert len(board.downloads) == 1  # a damaged program is refused before the bitstream is loaded


def test_not_enough_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, memory=4096)
    with pytest.raises(MemoryError, match=r"contiguous memory \(CMA\) must have [\d,]+ bytes free"):
        opened(folder)


def test_without_pynq(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynq", None)
    with pytest.raises(RuntimeError, match="PYNQ must be installed to use a board"):
        PynqTransport(folder / "micro8.bit")


def test_the_runtime_needs_numpy_only() -> None:
    code = """
import sys
import moesaic.boards.runtime, moesaic.boards.pynq, moesaic.boards.numpy_heads, moesaic.boards.frames
print(*sorted({name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name for name in out if not name.startswith("_")} == {"moesaic", "numpy"}, out
