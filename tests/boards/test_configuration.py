"""Accelerators as files: what is written is read back, and what is wrong is named."""

from pathlib import Path

import pytest

from moesaic.boards.board import load_board
from moesaic.boards.configuration import ConfigurationError, configuration_text, on_board, read_configuration
from moesaic.hw.spec.presets import PRESETS


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_written_and_read(name: str, tmp_path: Path) -> None:
    file = tmp_path / "any.toml"
    file.write_text(configuration_text(PRESETS[name], ["two", "lines"]))
    assert file.read_text().startswith("# two\n# lines\nname = ")
    assert read_configuration(file) == PRESETS[name]


def test_fields_left_out_are_the_boards(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("rows = 32\nclock_mhz = 250\n")
    assert read_configuration(file, PRESETS["zcu102"]) == PRESETS["zcu102"].replace(
        name="mine", rows=32, clock_mhz=250.0
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows = 8", "lanes must be given"),
        ("rows = 8\nlanes = 8\ncolour = 1", "colour must be absent (fields: name, rows, lanes"),
        ("rows = '8'\nlanes = 8", "rows must be a whole number, not '8'"),
        ("rows = 5\nlanes = 8", "rows must be a power of two from 4 to 128, not 5"),
        ("rows = 8\nlanes = 8\nmax_burst = 1", "max_burst must be a power of two from 2 to 256, not 1"),
        ("rows = 8\nlanes = 8\nexperts = 2\nmax_top_k = 3", "max_top_k must be at most experts (2), not 3"),
        ("rows = 8\nlanes = 8\nmax_burst = 256\nprefetch_words = 16", "prefetch_words must be 256 or more, to hold"),
        ("rows = 8\nlanes = 8\nultra_ram = 1", "ultra_ram must be a list of names, not 1"),
        ('rows = 8\nlanes = 8\nultra_ram = ["keys"]', "ultra_ram must be some of prefetch, activation, kv, residual"),
        ("rows = ", "must be TOML"),
    ],
)
def test_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        read_configuration(file)
    assert message in str(error.value) and str(file) in str(error.value)


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"configuration must be a readable TOML file, not .*No such file"):
        read_configuration(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_configuration(tmp_path / "latin.toml")


def test_on_a_board() -> None:
    board = load_board("zcu104")
    small = board.accelerator.replace(ports=2, clock_mhz=200.0)
    changed = on_board(board, small)
    assert (
        changed.ports.weights == board.ports.weights[:2] and changed.clock_mhz == 200 and changed.accelerator == small
    )
    with pytest.raises(ConfigurationError, match="ports must be at most 2 on pynq-z2, not 4"):
        on_board(load_board("pynq-z2"), board.accelerator)
    with pytest.raises(ConfigurationError, match="accelerator.port_bits must be one of 32, 64"):
        on_board(load_board("pynq-z2"), board.accelerator.replace(ports=2))
    with pytest.raises(ConfigurationError, match="ultra_ram must be empty"):
        on_board(load_board("zcu102"), board.accelerator)
