"""List the boards."""

from typing import Annotated, Any

import typer
from rich.table import Table

from moesaic.boards.board import Board, board_names, load_board
from moesaic.boards.fit_bound import lower_bound
from moesaic.commands.command import examples, guarded
from moesaic.terminal import print_json, result_console

__all__ = ["EXAMPLES", "boards"]

EXAMPLES = examples("boards", "boards --json", "boards my-board.toml")


def _entry(board: Board) -> dict[str, Any]:
    config, memory = board.accelerator, board.memory
    return {
        "name": board.name,
        "title": board.title,
        "part": board.part,
        "board_part": board.board_part,
        "family": board.family,
        "clock_mhz": board.clock_mhz,
        "accelerator": {**config.to_dict(), "hash": config.hash},
        "model": board.model,
        "pynq": board.pynq,
        "ports": board.ports.memory,
        "registers": {"port": board.ports.registers, "base": board.ports.registers_base},
        "memory": {
            "bytes": memory.bytes,
            "window_base": memory.window_base,
            "window_bytes": memory.window_bytes,
            "bandwidth_gbs": memory.bandwidth_gbs,
            "stream_gbs": board.stream_gbs,
        },
        "budget": board.budget.to_dict(),
        "needed_at_least": {
            kind: amount
            for kind, amount in lower_bound(config, board.budget).to_dict().items()
            if kind in ("dsp", "bram36", "uram")
        },
    }


@guarded
def boards(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Boards, or .toml files that describe one.", show_default="all that are known"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
) -> None:
    """List boards: device, accelerator, clock, bandwidth, resources (at least needed / there are)."""
    entries = [_entry(load_board(name)) for name in names or board_names()]
    if as_json:
        print_json(entries)
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("board", "device", "array", "MHz", "GB/s ports / DDR", "DSP", "BRAM36", "URAM", "LUT", "model"):
        table.add_column(title, justify="left" if title in ("board", "device", "model") else "right")
    for entry in entries:
        needed, budget, memory = entry["needed_at_least"], entry["budget"], entry["memory"]
        table.add_row(
            entry["name"],
            entry["part"],
            f"{entry['accelerator']['rows']} × {entry['accelerator']['lanes']}",
            f"{entry['clock_mhz']:g}",
            f"{memory['stream_gbs']:.1f} / {memory['bandwidth_gbs']:.1f}",
            *(f"{needed[kind]:,g} / {budget[kind]:,g}" for kind in ("dsp", "bram36", "uram")),
            f"{budget['lut']:,}",
            entry["model"],
        )
    console = result_console(width=130)
    console.print(table)
