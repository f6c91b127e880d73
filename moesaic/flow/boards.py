"""What ``--board`` accepts: boards, files that describe one, and bare accelerator presets for simulation."""

from pathlib import Path

from moesaic.boards.board import Board, BoardError, board_names, load_board
from moesaic.boards.configuration import Configuration, on_board
from moesaic.boards.fit_bound import check_fit
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.presets import PRESETS

__all__ = ["AUTO", "accelerator_of", "board_choices", "configured", "find_board"]

AUTO = "auto"  # in place of a board's name: the preset that suits the model


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
        raise BoardError(
            f"board must be one of {', '.join(board_choices())}, or a .toml file that describes one, not {name!r}"
        )
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


def configured(name: str | None, asked: Configuration) -> tuple[Board | None, AcceleratorConfig]:
    """The accelerator that was asked for, and the board with it.

    Parameters
    ----------
    name : str or None
        Board or preset whose accelerator is changed; None: the configuration stands for itself.
    asked : Configuration

    Raises
    ------
    BoardError, ConfigurationError, FitError
        If one of them is wrong, or the accelerator is too large for the board.
    """
    if name is None:
        return None, asked.on(None)
    board = find_board(name)
    if board is None:
        return None, asked.on(PRESETS[name])
    accelerator = asked.on(board.accelerator)
    board = on_board(board, accelerator)
    check_fit(board)
    return board, accelerator
