"""What ``--board`` accepts: boards, files that describe one, and bare accelerator presets for simulation."""

from pathlib import Path

from moesaic.boards.board import Board, BoardError, board_names, load_board
from moesaic.hw.spec.config import PRESETS, AcceleratorConfig

__all__ = ["accelerator_of", "board_choices", "find_board"]


def board_choices() -> list[str]:
    """Names that are accepted, boards first."""
    boards = board_names()
    return [*boards, *(name for name in PRESETS if name not in boards)]


def find_board(name: str) -> Board | None:
    """The board of that name or in that file; None for a bare preset.

    Raises
    ------
    BoardError
        If it is neither, or the file is wrong; the message lists what is known.
    """
    if name.endswith(".toml") or name in board_names():
        return load_board(name)
    if name not in PRESETS:
        raise BoardError(f"board must be one of {', '.join(board_choices())}, or a .toml file that describes one, not {name!r}")
    return None


def accelerator_of(name: str) -> tuple[str, str, AcceleratorConfig]:
    """Name, origin (the name, or a file's absolute path) and accelerator of what ``--board`` was given.

    Raises
    ------
    BoardError
    """
    board = find_board(name)
    if board is None:
        return name, name, PRESETS[name]
    return board.name, str(Path(name).absolute()) if name.endswith(".toml") else name, board.accelerator
