"""What is copied to a board: complete, for an older Python, with numpy alone; and the examples, on a stand-in
of PYNQ.
"""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from driverrig import CONFIG
from pynq_standin import Board, make_module, make_pmbus
from typer.testing import CliRunner

from moesaic.boards.frames import FrameError, frames, write_picture
from moesaic.cli import app
from moesaic.flow.program import make_program, save_program
from moesaic.flow.request import make_request
from moesaic.flow.runtime import closure, write_runtime
from moesaic.flow.stages import Stages
from moesaic.golden.training.scenes import render
from moesaic.images import ImageError
from moesaic.sim.device import open_simulated

HERE = Path(__file__).parent
SIZE = (64, 64)
# Imported before anything else in a process that plays a board: PYNQ is a stand-in, torch and the like do not exist.
BOARD = """
import sys
for name in ("torch", "amaranth", "cocotb", "jinja2", "typer", "safetensors", "matplotlib"):
    sys.modules[name] = None
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """m3vit-micro, compiled for each task, and for both at once."""
    folder = tmp_path_factory.mktemp("program") / "p"
    request = make_request(model="m3vit-micro", task="all", together=True, board="micro8")
    made, _ = make_program(request, Stages(quiet=True))
    save_program(made, folder)
    return folder


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime's folder."""
    folder = tmp_path_factory.mktemp("host") / "runtime"
    done = CliRunner().invoke(app, ["runtime", "--out", str(folder)])
    assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(4):
        write_picture(folder / f"street{seed}", render(seed, (96, 128) if seed == 3 else SIZE).image.transpose(1, 2, 0))
    return folder


def on_a_board(code: str, *, folder: Path, path: list[Path]) -> str:
    """Run code in a fresh process that sees only these folders, numpy and Pillow."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", BOARD + code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, Path(np.__file__).parents[1]]))},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_folder_is_complete_and_needs_numpy_only(host: Path) -> None:
    out = on_a_board(
        """
import moesaic, moesaic.boards.runtime, moesaic.boards.frames, moesaic.boards.pynq
print(moesaic.__file__)
print(*sorted({name.split(".")[0] for name, module in sys.modules.items() if module} - set(sys.stdlib_module_names)))
""",
        folder=host,
        path=[host],
    ).splitlines()
    assert Path(out[0]) == host / "moesaic" / "__init__.py"
    assert {name for name in out[1].split() if not name.startswith("_")} == {"moesaic", "numpy"}
    assert sum(path.stat().st_size for path in host.rglob("*.py")) < 300_000


def test_the_folder_runs_on_an_older_python(host: Path) -> None:
    """PYNQ's images have Python 3.10."""
    command = [
        sys.executable,
        "-c",
        "import vermin; vermin.main()",
        "--no-tips",
        "--violations",
        "-t=3.10-",
        "--eval-annotations",
    ]
    done = subprocess.run([*command, str(host)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (host / "newer.py").write_text("import tomllib\n")
    done = subprocess.run([*command, str(host)], capture_output=True, text=True, check=False)
    (host / "newer.py").unlink()
    assert done.returncode != 0 and "tomllib" in done.stdout


def test_a_folder_that_is_something_else_is_kept(tmp_path: Path, host: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    done = CliRunner().invoke(app, ["runtime", "--out", str(tmp_path)])
    assert done.exit_code == 2 and (tmp_path / "thesis.tex").exists()
    copy = tmp_path / "again"
    shutil.copytree(host, copy)
    assert CliRunner().invoke(app, ["runtime", "--out", str(copy)]).exit_code == 0


GROUND = {"errors", "images", "json_file", "names", "schema"}


def test_nothing_beside_the_runtime_is_copied() -> None:
    layers = {".".join(name.split(".")[:2]) for name in closure()}
    assert layers == {"moesaic", *(f"moesaic.{name}" for name in GROUND | {"boards", "compiler", "golden", "hw"})}
    assert not {
        name
        for name in closure()
        if name.startswith(("moesaic.hw.top", "moesaic.golden.m3vit", "moesaic.boards.project"))
    }


@pytest.fixture
def bitfile(tmp_path: Path) -> Path:
    (tmp_path / "b.bit").write_bytes(b"bits")
    (tmp_path / "b.hwh").write_text("<EDKSYSTEM/>")
    return tmp_path / "b.bit"


def play(script: Path, arguments: list[object], monkeypatch: pytest.MonkeyPatch, *, pynq: bool) -> None:
    """Run an example in this process, with the stand-in of PYNQ."""
    if pynq:
        board = Board(CONFIG)
        monkeypatch.setitem(sys.modules, "pynq", make_module(board))
        monkeypatch.setitem(sys.modules, "pynq.pmbus", make_pmbus(board, {"INT": (2.0, 3.5)}))
        monkeypatch.setattr("moesaic.boards.power.LEAST_SAMPLES", 1)
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("board", [True, False])
def test_the_example_for_images(
    board: bool,
    program: Path,
    host: Path,
    pictures: Path,
    bitfile: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = ["--bitfile", bitfile, "--power", "0.2"] if board else []
    play(host / "run_image.py", [program, pictures, "--out", tmp_path / "maps", *place], monkeypatch, pynq=board)
    names = sorted(path.name for path in (tmp_path / "maps").glob("*.png"))
    assert names == sorted(f"street{n}-{task}.png" for n in range(4) for task in ("depth", "semseg"))
    out = capsys.readouterr().out
    assert "street0 semseg: " in out and ("rail INT: 2.00 W idle, 3.50 W busy, " in out) == board
    power = tmp_path / "maps" / "power.json"
    assert power.exists() == board
    assert not board or json.loads(power.read_text())["rails"]["INT"]["busy_w"] == 3.5
    accelerator = open_simulated(program)
    image = render(0, SIZE).image
    wanted = accelerator.heads.picture(accelerator.run(image, "semseg").map)
    accelerator.close()
    assert np.array_equal(next(frames(tmp_path / "maps" / "street0-semseg.png", SIZE))[1], wanted)


@pytest.mark.parametrize("board", [True, False])
def test_the_example_for_streams(
    board: bool,
    program: Path,
    host: Path,
    pictures: Path,
    bitfile: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = ["--bitfile", bitfile] if board else []
    play(host / "video_stream.py", [program, pictures, "--frames", "6", "--loop", *place], monkeypatch, pynq=board)
    out = capsys.readouterr().out
    assert "6 frames in " in out and " frames per second, 0 attempts repeated" in out
    assert all(f"  {stage}" in out for stage in ("frame", "write", "run", "read", "head"))


def test_the_notebook(
    program: Path,
    host: Path,
    pictures: Path,
    bitfile: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "pynq", make_module(Board(CONFIG)))
    cells = [cell for cell in json.loads((host / "board.ipynb").read_text())["cells"] if cell["cell_type"] == "code"]
    sources = ["".join(cell["source"]) for cell in cells]
    assert sources[0].startswith("BITFILE, PROGRAM, IMAGE = ")
    image = str(pictures / "street1.png")
    sources[0] = f"BITFILE, PROGRAM, IMAGE = {str(bitfile)!r}, {str(program)!r}, {image!r}"
    script = bitfile.with_name("cells.py")
    script.write_text("\n".join(sources))
    runpy.run_path(str(script))
    out = capsys.readouterr().out
    assert "('semseg', 'depth') (64, 64)" in out and "frames per second" in out and "weight_bytes" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["PROGRAM", "PICTURES", "--bitfile", "BITFILE"], "error: PYNQ must be installed to use a board"),
        (["PROGRAM", "PICTURES"], "error: --bitfile or --xdma must be given: the host runtime has no simulator"),
        (
            ["nowhere", "PICTURES", "--bitfile", "BITFILE"],
            "error: program image 'nowhere': manifest.json must be a readable JSON file, not 'nowhere/",
        ),
    ],
)
@pytest.mark.parametrize("script", ["run_image.py", "video_stream.py"])
def test_a_board_process_ends_with_one_line(
    script: str, arguments: list[str], message: str, program: Path, host: Path, pictures: Path, bitfile: Path
) -> None:
    """In a process of its own, where only numpy and Pillow exist."""
    names = {"PROGRAM": program, "PICTURES": pictures, "BITFILE": bitfile}
    code = f"""
import runpy
sys.argv = {[script, *(str(names.get(argument, argument)) for argument in arguments)]!r}
sys.modules["pynq"] = None
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit as end:
    print(end)
"""
    out = on_a_board(code, folder=host, path=[host])
    assert out.startswith(message) and out.count("\n") == 1


def test_sources_of_frames(tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [name for name, _ in frames(pictures, SIZE)] == [f"street{n}" for n in range(4)]
    assert all(image.shape == (*SIZE, 3) and image.dtype == np.uint8 for _, image in frames(pictures, SIZE))
    exact = next(frames(pictures / "street2.png", SIZE))[1]
    assert np.array_equal(exact, render(2, SIZE).image.transpose(1, 2, 0))
    np.save(tmp_path / "a.npy", np.stack([exact, exact[::-1]]))
    assert np.array_equal([image for _, image in frames(tmp_path / "a.npy", SIZE)], [exact, exact[::-1]])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "float.npy", np.zeros((1, *SIZE, 3)))
    for source, message in (
        (
            "nothing.png",
            "source must be an image, a folder, a video, an .npy file or the number of a camera, not 'nothing.png'",
        ),
        (tmp_path / "broken.png", "image must be a readable image file"),
        (tmp_path / "empty", "folder must hold images"),
        (tmp_path / "float.npy", r"frames must be uint8 \[N, 64, 64, 3\], not float64 \[1, 64, 64, 3\]"),
    ):
        with pytest.raises(ImageError, match=message):
            list(frames(source, SIZE))
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(FrameError, match="opencv-python-headless must be installed to read videos and cameras"):
        list(frames("0", SIZE))
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(FrameError, match="pillow must be installed to read image files"):
        list(frames(pictures, SIZE))
    assert write_picture(tmp_path / "x", exact).read_bytes() == b"P6 64 64 255\n" + exact.tobytes()


def opencv(pictures: list[np.ndarray]) -> ModuleType:
    """What is used of OpenCV: frames in blue, green, red; scaling by repetition."""
    module = ModuleType("cv2")

    class VideoCapture:
        def __init__(self, source: str | int) -> None:
            self.left = [picture[..., ::-1] for picture in pictures] if source in (0, "a.mp4") else None

        def isOpened(self) -> bool:
            return self.left is not None

        def read(self) -> tuple[bool, np.ndarray | None]:
            return (True, self.left.pop(0)) if self.left else (False, None)

        def release(self) -> None:
            self.left = None

    module.VideoCapture, module.INTER_AREA, module.COLOR_BGR2RGB = VideoCapture, 3, 4
    module.resize = lambda frame, size, interpolation: frame[:: frame.shape[0] // size[1], :: frame.shape[1] // size[0]]
    module.cvtColor = lambda frame, code: frame[..., ::-1] if code == 4 else None
    return module


def test_videos_and_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.mp4").touch()
    wanted = [render(seed, SIZE).image.transpose(1, 2, 0) for seed in range(2)]
    monkeypatch.setitem(sys.modules, "cv2", opencv([np.repeat(np.repeat(w, 2, axis=0), 2, axis=1) for w in wanted]))
    for source in ("a.mp4", "0"):
        found = list(frames(source, SIZE))
        assert [name for name, _ in found] == ["frame-00000", "frame-00001"]
        assert all(np.array_equal(image, picture) for (_, image), picture in zip(found, wanted, strict=True))
    for source, what in (("b.mp4", "'b.mp4'"), ("7", "camera 7")):
        with pytest.raises(FrameError, match=f"source must be a video or a camera that OpenCV can open, not {what}"):
            list(frames(source, SIZE))
    monkeypatch.setitem(sys.modules, "cv2", opencv([wanted[0][..., 0].astype(np.uint16)]))
    with pytest.raises(FrameError, match=r"frames must be of 8-bit colour, not uint16 \[64, 64\] \(camera 0\)"):
        list(frames("0", SIZE))
    monkeypatch.setitem(sys.modules, "cv2", opencv([]))
    with pytest.raises(FrameError, match="source must give at least one frame, not camera 0"):
        list(frames("0", SIZE))


def test_write_runtime_into_a_folder_with_a_program(program: Path, tmp_path: Path) -> None:
    shutil.copytree(program, tmp_path / "board" / "program")
    write_runtime(tmp_path / "board")
    assert {"moesaic", "program", "run_image.py", "video_stream.py", "board.ipynb", "README.md"} == {
        path.name for path in (tmp_path / "board").iterdir()
    }
