"""Writes the files of a Vivado project, and of an IP component, for a board."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moesaic.boards.board import REGISTERS_BYTES, Board, board_names, load_board
from moesaic.boards.fit_bound import lower_bound
from moesaic.boards.host import ProcessingSystem
from moesaic.boards.project.c_library import c_library
from moesaic.boards.project.card_design import card_design
from moesaic.boards.project.design import DESIGN, block_design
from moesaic.boards.project.device_tree import device_tree
from moesaic.boards.project.interfaces import interfaces_of, ports_of
from moesaic.boards.project.render import render
from moesaic.boards.project.rtl import VERILOG, put
from moesaic.hw.export import TOP
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.register_text import to_markdown
from moesaic.hw.spec.registers import MAP_BYTES, register_map

__all__ = ["ProgramFacts", "write_ip", "write_project"]

MINIMUM_VIVADO = "2022.1"
_SYNTHESIS, _IMPLEMENTATION = "Flow_PerfOptimized_high", "Performance_ExplorePostRoutePhysOpt"
_VLNV = {"vendor": "moesaic", "library": "accelerator", "name": "accelerator", "version": "1.0"}
_FAMILIES = (
    "zynquplus",
    "zynquplusRFSOC",
    "kintexuplus",
    "virtexuplus",
    "virtexuplusHBM",
    "zynq",
    "artix7",
    "kintex7",
    "virtex7",
)
_ACCESS = {"RO": "read-only", "RW": "read-write", "W1S": "read-write", "W1C": "read-write"}
_BOARD_FILES = {
    "tul.com.tw": "the board files from TUL's site unpacked into a folder of board.repoPaths",
    "digilentinc.com": "those of Digilent's repository vivado-boards in a folder of board.repoPaths",
}


@dataclass(frozen=True)
class ProgramFacts:
    """What the documents say about the program in the folder.

    Parameters
    ----------
    model, tasks : str
    address, bytes : int
        Where it was compiled to lie, and its length.
    """

    model: str
    tasks: str
    address: int
    bytes: int


def _ip_values(config: AcceleratorConfig, sources: Sequence[str]) -> dict[str, Any]:
    interfaces = interfaces_of(config)
    return {
        "top": TOP,
        "sources": sources,
        "vlnv": _VLNV,
        "interfaces": interfaces,
        "axi": [interface for interface in interfaces if interface.is_axi],
        "ports": ports_of(config),
        "registers": register_map(config.ports, config_hash=int(config.hash[-8:], 16)),
        "registers_bytes": REGISTERS_BYTES,
        "access": _ACCESS,
        "families": _FAMILIES,
        "display_name": f"Moesaic accelerator {config.name}",
        "description": f"Mixture-of-experts vision transformer accelerator, {config.rows} x {config.lanes} int8 "
        f"multipliers, "
        f"configuration {config.hash[:16]}",
    }


def write_ip(config: AcceleratorConfig, folder: Path, *, part: str, sources: Sequence[str] = (VERILOG,)) -> None:
    """Write `ip/component.xml`, which refers to the Verilog beside it, and `ip/package.tcl`.

    Parameters
    ----------
    config : AcceleratorConfig
    folder : Path
    part : str
        Device for which the packager is run; the component is for any.
    sources : sequence of str
        The Verilog files, relative to `folder`.
    """
    values = _ip_values(config, sources)
    put(
        folder,
        {
            "ip/component.xml": render("component.xml", **values),
            "ip/package.tcl": render(
                "package.tcl", **{**values, "families": " ".join(f"{f} Production" for f in _FAMILIES)}, part=part
            ),
        },
    )


def _block_design(board: Board) -> tuple[str, dict[str, Any]]:
    """The template of `bd.tcl` that a board's host asks for, and what it needs."""
    host, interfaces = board.system.host, interfaces_of(board.accelerator)
    if isinstance(host, ProcessingSystem):
        return "bd_processors.tcl", {"host": host, **vars(block_design(board, host, interfaces))}
    assert board.card is not None  # a board without one is refused
    return "bd_card.tcl", {"card": board.card, **vars(card_design(board, host, board.card, interfaces))}


def write_project(board: Board, folder: Path, *, version: str, program: ProgramFacts | None = None) -> None:
    """Write scripts, constraints and documents; the Verilog and the IP component are written by others.

    Parameters
    ----------
    board : Board
    folder : Path
    version : str
        Of this package.
    program : ProgramFacts, optional
        The program that the folder also holds.

    Raises
    ------
    ValueError
        If the board does not place every bus of its accelerator.
    """
    config = board.accelerator
    template, design = _block_design(board)
    table = register_map(config.ports, config_hash=int(config.hash[-8:], 16))
    values: dict[str, Any] = {
        "title": f"Moesaic accelerator {config.name} on {board.title}",
        "version": version,
        "board": board,
        "known": board.name in board_names() and board == load_board(board.name),
        "system": board.system,
        "processors": isinstance(board.system.host, ProcessingSystem),
        "config": config,
        "config_hash": int(config.hash[-8:], 16),
        "clock": f"{board.clock_mhz:g}",
        "clock_name": board.system.host.clock_name,
        "design": DESIGN,
        "top": TOP,
        "minimum_vivado": MINIMUM_VIVADO,
        "synthesis_strategy": _SYNTHESIS,
        "implementation_strategy": _IMPLEMENTATION,
        "board_files": _BOARD_FILES.get(board.board_part.split(":")[0], ""),
        "registers_bytes": REGISTERS_BYTES,
        "map_bytes": MAP_BYTES,
        "low": min(board.memory.bytes, board.system.low_bytes),
        "high": max(0, board.memory.bytes - board.system.low_bytes),
        "program": program,
        "resources": lower_bound(config, board.budget),
    }
    put(
        folder,
        {
            "build.tcl": render("build.tcl", **values),
            "bd.tcl": render(template, **values, **design),
            "constraints.xdc": render("constraints.xdc", **values),
            "address_map.md": render("address_map.md", **values),
            "README.md": render("README.md", **values),
            "registers.md": to_markdown(table),
            "include/moesaic_board.h": render("board.h", **values),
            **c_library(table),
            **device_tree(board),
        },
    )
