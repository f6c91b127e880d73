"""The host runtime: the part of this package that a board needs, pure Python with numpy, as a folder to copy there."""

import ast
import importlib.resources
import importlib.util
from pathlib import Path

import moesaic
from moesaic.flow.folder import check_replaceable, new_folder

__all__ = ["MARKER", "closure", "make_runtime", "write_runtime"]

MARKER = "moesaic/boards/runtime.py"  # by which an earlier runtime folder is known
ROOTS = ("moesaic.boards.runtime", "moesaic.boards.frames")
EXAMPLES = ("run_image.py", "video_stream.py", "board.ipynb")

README = """\
# Moesaic host runtime

What a board needs to run programs of Moesaic {version}: Python 3.10 or newer, numpy and, on a board with PYNQ, that.
Nothing is installed; run the scripts here, or put this folder on `PYTHONPATH`.

    sudo python3 run_image.py PROGRAM image.png --bitfile BOARD.bit --task all
    sudo python3 video_stream.py PROGRAM street.mp4 --bitfile BOARD.bit --frames 300
    sudo python3 run_image.py PROGRAM image.png --xdma /dev/xdma0 --task all  # a PCI Express card

PROGRAM is a folder that `moesaic compile` wrote (`memory.bin`, `manifest.json`, `heads.npz` are used here).
`BOARD.hwh` must lie beside `BOARD.bit`. Image files need Pillow, videos and cameras OpenCV; PYNQ images have both.
In Python:

    from moesaic.boards.runtime import Accelerator

    with Accelerator.open("BOARD.bit", "PROGRAM") as accelerator:
        labels = accelerator.run(image, task="semseg").map  # image: uint8 [height, width, 3]
"""


def _source(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a name inside a module
        return None
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def closure(roots: tuple[str, ...] = ROOTS) -> dict[str, Path]:
    """Modules of this package that the roots import, directly or not, with their packages: name to source file."""
    waiting, found = list(roots), dict[str, Path]()
    while waiting:
        name = waiting.pop()
        path = _source(name)
        if name in found or path is None:
            continue
        found[name] = path
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "moesaic":
                waiting += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names if alias.name.split(".")[0] == "moesaic"]
    return found


def write_runtime(folder: Path) -> None:
    """Write the runtime and the examples into a folder."""
    for name, source in closure().items():
        target = folder.joinpath(*name.split("."))
        target = target / "__init__.py" if source.name == "__init__.py" else target.with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    examples = importlib.resources.files("moesaic.examples")
    for example in EXAMPLES:
        (folder / example).write_bytes((examples / example).read_bytes())
    (folder / "README.md").write_text(README.format(version=moesaic.__version__), encoding="utf-8")


def make_runtime(folder: Path) -> None:
    """`write_runtime` into a new folder, or one with an earlier runtime; it appears whole or not at all.

    Raises
    ------
    InputError
        If the folder holds something else.
    """
    check_replaceable(folder, marker=MARKER)
    with new_folder(folder) as temporary:
        write_runtime(temporary)
