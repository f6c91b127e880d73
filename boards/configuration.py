"""An accelerator's sizes as a file of one's own: TOML, one field to a line."""

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moesaic.boards.board import Board, BoardError
from moesaic.boards.fields import name_with, read_fields
from moesaic.boards.project.quote import comment
from moesaic.boards.section import section
from moesaic.boards.toml_file import name_of, parse_toml, read_toml_text
from moesaic.errors import InputError
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.names import check_name

__all__ = ["Configuration", "ConfigurationError", "configuration_text", "on_board", "read_configuration"]


class ConfigurationError(InputError):
    """A configuration's file is wrong, or does not suit the board; the message names file, field and value."""


def configuration_text(config: AcceleratorConfig, comments: Sequence[str] = ()) -> str:
    """The file's text: every field, after lines of comment."""

    def literal(value: object) -> str:
        if isinstance(value, tuple):
            return f"[{', '.join(map(literal, value))}]"
        return f'"{value}"' if isinstance(value, str) else str(value).lower()

    lines = [
        *(f"# {comment(line)}".rstrip() for line in comments),
        *(f"{name} = {literal(value)}" for name, value in config.to_dict().items()),
    ]
    return "\n".join(lines) + "\n"


def read_configuration(path: Path, base: AcceleratorConfig | None = None) -> AcceleratorConfig:
    """The accelerator that a file describes.

    Parameters
    ----------
    path : Path
    base : AcceleratorConfig, optional
        Where fields come from that the file leaves out (a board's accelerator); without it rows and lanes must be
        there.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, is not TOML, or a field is unknown, of a wrong type or out of range.
    """
    text = read_toml_text(path, what="configuration", error=ConfigurationError)
    try:
        table = parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"configuration {str(path)!r} must be TOML: {error}") from error
    before = {} if base is None else {name: value for name, value in base.to_dict().items() if name != "name"}
    try:
        config: AcceleratorConfig = section(AcceleratorConfig, "", {"name": name_of(path), **before, **table})
        check_name("name", config.name, error=BoardError)
    except BoardError as error:
        raise ConfigurationError(f"configuration {str(path)!r}: {error}") from error
    return config.replace(clock_mhz=float(config.clock_mhz))  # TOML may say 300


@dataclass(frozen=True)
class Configuration:
    """What is asked for in place of a board's own accelerator.

    Parameters
    ----------
    file : Path or None
    fields : mapping of str to Any
        Values that replace those of the file, or of the board's accelerator.
    """

    file: Path | None
    fields: Mapping[str, Any]

    @classmethod
    def of(cls, file: Path | None, texts: Sequence[str] | None) -> "Configuration | None":
        """From what was typed: a file, and texts such as `rows=32`; None for neither."""
        return cls(file, read_fields(texts or ())) if file is not None or texts else None

    def on(self, base: AcceleratorConfig | None) -> AcceleratorConfig:
        """The accelerator, where `base` gives what neither file nor fields do.

        Raises
        ------
        ConfigurationError
            If the file is wrong, or a field is of a wrong type, out of range, or does not fit another.
        """
        if self.file is not None:
            base = read_configuration(self.file, base)
        if not self.fields:
            assert base is not None
            return base
        table = {} if base is None else base.to_dict()
        named = {"name": name_with("custom" if base is None else base.name, self.fields)}
        try:
            config: AcceleratorConfig = section(AcceleratorConfig, "", {**table, **named, **self.fields})
            check_name("name", config.name, error=BoardError)
        except BoardError as error:
            raise ConfigurationError(str(error)) from error
        return config


def on_board(board: Board, config: AcceleratorConfig) -> Board:
    """The board with another accelerator, at that one's clock; its first ports, if the accelerator has fewer.

    Raises
    ------
    ConfigurationError
        If the accelerator has more ports, other widths or longer bursts than the board, or UltraRAM where there is
        none.
    """
    ports = board.ports.weights
    if config.ports > len(ports):
        raise ConfigurationError(f"ports must be at most {len(ports)} on {board.name}, not {config.ports!r}")
    try:
        return dataclasses.replace(
            board,
            accelerator=config,
            clock_mhz=config.clock_mhz,
            ports=dataclasses.replace(board.ports, weights=ports[: config.ports]),
        )
    except BoardError as error:
        raise ConfigurationError(f"configuration {config.name!r} on {board.name}: {error}") from error
