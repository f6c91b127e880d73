"""Runs Tcl scripts in the stand-in for Vivado, and makes the folders that they belong to."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from moesaic.boards.board import Board, load_board
from moesaic.boards.project.interfaces import interfaces_of, port_attributes, ports_of
from moesaic.boards.project.rtl import write_rtl
from moesaic.boards.project.write import write_ip, write_project
from moesaic.hw.export import TOP
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["RELEASES", "Outcome", "ports_only_verilog", "project", "run"]

STANDIN = Path(__file__).parent / "vivado" / "vivado.tcl"
RELEASES = ("2022.2", "2022.1", "2023.2", "2024.2", "2025.2")  # versions of IP and of board files differ


@dataclass(frozen=True)
class Outcome:
    """Of one run: whether it reached its end, what it printed, and its summary."""

    ok: bool
    text: str
    error: str
    summary: dict[str, Any]


def run(script: Path, *arguments: str, release: str = RELEASES[0], boards: str = "") -> Outcome:
    """Run a script as `vivado -mode batch -source` would.

    Parameters
    ----------
    script : Path
    *arguments : str
        After ``-tclargs``.
    release : str
        Of Vivado.
    boards : str
        Board parts that are installed, separated by blanks; empty: all that this release knows.
    """
    tclsh = shutil.which("tclsh")
    assert tclsh is not None, "tclsh must be installed: sudo apt-get install tcl"
    summary = script.parent / "summary.json"
    summary.unlink(missing_ok=True)
    command = [
        tclsh,
        str(STANDIN),
        "-release",
        release,
        "-boards",
        boards,
        "-summary",
        str(summary),
        "-source",
        str(script),
    ]
    done = subprocess.run(
        [*command, "-tclargs", *arguments], check=False, capture_output=True, text=True, timeout=60, cwd=script.parent
    )
    written = json.loads(summary.read_text()) if summary.exists() else {}
    return Outcome(done.returncode == 0, done.stdout, done.stderr, written)


def ports_only_verilog(config: AcceleratorConfig) -> str:
    """The accelerator's ports as its real Verilog declares them, and nothing inside: an export takes half a minute."""
    ports, attributes = ports_of(config), port_attributes(interfaces_of(config))
    lines = [f"// module {TOP}", f"module {TOP}({', '.join(port.name for port in ports)});"]
    for port in ports:
        width = f" [{port.bits - 1}:0]" if port.bits > 1 else ""
        lines += [f'  (* {name} = "{value}" *)' for name, value in attributes[port.name].items()]
        lines += [f"  {'output' if port.output else 'input'}{width} {port.name};"]
    return "\n".join([*lines, "endmodule", ""])


@cache
def _made(name: str) -> tuple[Board, TemporaryDirectory[str]]:
    board = load_board(name)
    kept = TemporaryDirectory(prefix=f"moesaic-{name}-")
    folder = Path(kept.name)
    write_rtl(ports_only_verilog(board.accelerator), board.accelerator, folder, version="test")
    write_ip(board.accelerator, folder, part=board.part)
    write_project(board, folder, version="test")
    return board, kept


def project(name: str, place: Path) -> tuple[Board, Path]:
    """A board, and its generated project (with ports-only Verilog) in a new folder below `place`."""
    board, kept = _made(name)
    return board, Path(shutil.copytree(kept.name, place / name))
