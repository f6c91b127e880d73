"""The C library over simulated AXI4-Lite, with sanitizers; every good run equals the integer golden model."""

import subprocess
from pathlib import Path

import pytest
from crig import compile_c, write_library
from driverrig import CONFIG, Case, micro, nano, simulate
from xdmarig import build_standin

from moesaic.compiler.batch import Batch
from moesaic.compiler.pipeline import compile_model
from moesaic.compiler.program_file import FILE, to_binary


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("c")
    write_library(folder, CONFIG.ports)
    compile_c(folder, "cases", "cases.c", "port_socket.c")
    compile_c(folder, "run_image", "run_image.c", "run_image_socket.c", "port_socket.c")
    subprocess.run(["make", "-s", "-C", folder / "c", "run_image"], check=True)
    build_standin(folder)
    return folder


def run(case: Case, programs: Path, folder: Path, cases: str, *, limit: int = 30_000) -> list[str]:
    """Names of the results of some cases."""
    place = folder / "program"
    case.program.save(place)
    (place / FILE).write_bytes(to_binary(case.program))
    (place / "images.raw").write_bytes(case.images.tobytes())
    kept = simulate(
        case, folder, module="tb_clib", limit=limit, env={"COCOTB_TEST_FILTER": f"({cases})$"}, c=str(programs)
    )
    return sorted(path.name.rsplit("-", 2)[0] for path in kept)


def test_every_case_on_a_small_network(programs: Path, tmp_path: Path) -> None:
    cases = "queue|one_slot|bus_error|corrupt|.*_reset|abort|silent|busy|refused|command|card"
    kept = run(nano(), programs, tmp_path, cases)
    assert len(kept) == 4 + 1 + 1 + 1 + 2 + 1 + 2 + 3 + 1 + 2 + 3


def test_a_batch(programs: Path, tmp_path: Path) -> None:
    case = nano(2)
    program = compile_model(case.qmodel, CONFIG, tasks=[Batch(case.program.tasks, 2)], speculate=1)
    kept = run(Case(case.qmodel, program, case.images), programs, tmp_path, "batch")
    assert kept == ["after_batch_error"] * 4 + ["batch"] * 4 + ["filled"] * 2


def test_eight_images_of_micro_then_faults(programs: Path, tmp_path: Path) -> None:
    """m3vit-micro: 8 images, tasks alternating, by interrupt; then each fault, and a correct run after it."""
    kept = run(micro(8), programs, tmp_path, "queue|bus_error|corrupt|soft_reset", limit=400_000)
    assert kept == ["after_bus_error", "after_corrupt_instruction", "after_soft_reset", *["queue"] * 8]
