"""The clock that follows where nets are as long as a coarse placement makes them: a third figure beside two corners."""

from typing import Any

from moesaic.boards.board import Board
from moesaic.boards.synthesis.advice import describe, reachable_mhz
from moesaic.boards.synthesis.delays import DELAYS
from moesaic.boards.synthesis.grid import grid_of
from moesaic.boards.synthesis.synthesise import Synthesis
from moesaic.boards.synthesis.wires import SOURCES

__all__ = ["placed_report", "placed_sentence"]

NOTE = (
    "Nets by placed distance: modules are placed by wire length alone, on a grid whose resources lie evenly. Nothing "
    "draws the ends of a long path together, as a tool does that places by timing. For comparison only; no time or "
    "energy follows from it."
)


def placed_report(synthesis: Synthesis, board: Board) -> dict[str, Any] | None:
    """The clock and its longest path; nothing if the design does not fit the board, or its grid is not known."""
    if any(synthesis.total.to_dict()[kind] > amount for kind, amount in board.budget.to_dict().items()):
        return None
    grid = grid_of(board.part, board.budget)
    if grid is None:
        return None
    paths = synthesis.timing(1, grid=grid).paths
    result: dict[str, Any] = {
        "mhz": reachable_mhz(paths, DELAYS[synthesis.family]),
        "columns": round(grid.columns, 1),
        "rows": round(grid.rows, 1),
        "source": SOURCES[synthesis.family],
        "note": NOTE,
    }
    for path in paths:
        result["path"] = {
            "from": describe(path.steps[0], path),
            "to": describe(path.steps[-1], path),
            "delay_ns": round(path.delay, 3),
            "logic_ns": round(path.logic, 3),
            "net_ns": round(path.nets, 3),
            "levels": path.levels,
        }
    return result


def placed_sentence(timing: dict[str, Any], mark: str = "") -> str:
    """The figure in a sentence, names between marks; nothing if there is none."""
    placed = timing.get("placed")
    if placed is None or "path" not in placed:
        return ""
    path = placed["path"]
    return (
        f"With nets by placed distance: {placed['mhz']:g} MHz, from {mark}{path['from']}{mark} to "
        f"{mark}{path['to']}{mark}, {path['delay_ns']:.2f} ns, {path['net_ns']:.2f} of it in nets. "
        "For comparison only: this placement knows no timing."
    )
