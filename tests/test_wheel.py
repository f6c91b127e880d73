"""A wheel works from any folder: built, put beside the dependencies in an environment of its own, and used there."""

import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[1]
FOLDERS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
NOT_SHIPPED = {".gitignore"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the tree."""
    work = tmp_path_factory.mktemp("wheel")
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, work / "tree" / folder, ignore=leave)
    for file in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / file, work / "tree")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        work,
        work / "tree",
    ]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = work.glob("*.whl")
    return found


def test_every_file_is_inside(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    missing = [
        str(path.relative_to(ROOT))
        for package, folder in FOLDERS.items()
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.name not in NOT_SHIPPED
        if f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}" not in inside
    ]
    assert not missing, "list them in package-data: " + ", ".join(missing)


def test_commands_in_another_folder(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", symlinks=True)
    (site,) = (tmp_path / "venv").rglob("site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    (site / "dependencies.pth").write_text(f"{Path(typer.__file__).parents[1]}\n", encoding="utf-8")
    work = tmp_path / "work"
    work.mkdir()

    def moesaic(*words: str) -> str:
        python = tmp_path / "venv" / "bin" / "python"
        code = "import sys, moesaic; assert sys.argv.pop(1) in moesaic.__file__; from moesaic.cli import main; main()"
        done = subprocess.run(
            [python, "-P", "-c", code, str(site), *words],
            cwd=work,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert moesaic("--version").startswith("moesaic ")
    assert "m3vit-micro" in moesaic("models")
    assert "program:" in moesaic("compile", "m3vit-micro")
    assert (work / "out" / "m3vit-micro-all-micro8-program" / "memory.bin").is_file()
