"""Builds the C library and its test programs with sanitizers, from a project's own files."""

import subprocess
from pathlib import Path

from moesaic.boards.project.c_library import c_library
from moesaic.hw.spec.registers import register_map

__all__ = ["LIBRARY", "compile_c", "write_library"]

SOURCES = Path(__file__).parent / "c"
LIBRARY = ("moesaic", "moesaic_program", "moesaic_image", "moesaic_patch_norm", "moesaic_names", "moesaic_sha256")
FLAGS = ("-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffp-contract=off")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def write_library(folder: Path, ports: int) -> None:
    """The library as `moesaic generate` writes it."""
    for name, text in c_library(register_map(ports)).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def compile_c(folder: Path, program: str, *sources: str) -> Path:
    """A program of the library in `folder`, linked with sources of its own: of `c/`, or of the tests."""
    c = folder / "c"
    own = [path if (path := SOURCES / source).is_file() else c / source for source in sources]
    library = [c / f"{name}.c" for name in (*LIBRARY, "moesaic_tables")]
    subprocess.run(
        [
            "gcc",
            *FLAGS,
            *SANITIZERS,
            f"-I{folder / 'include'}",
            f"-I{c}",
            *library,
            *own,
            "-lm",
            "-o",
            folder / program,
        ],
        check=True,
    )
    return folder / program
