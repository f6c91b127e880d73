"""Tables of boards in docs/ are those of the boards' files."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from moesaic.boards.board import Board, board_names, load_board

DOCS = Path(__file__).parents[2] / "docs"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| ---", "|---").replace("--- |", "---|")


def overview(boards: Sequence[Board]) -> str:
    """What a reader chooses a board by."""
    head = ("board", "device", "accelerator", "array", "clock", "weight ports", "DDR", "model it is meant for")
    rows = []
    for board in boards:
        config, ports = board.accelerator, board.ports.weights
        names = ", ".join(ports) if len(ports) < 3 else f"{ports[0]}–{ports[-1]}"
        rows.append(
            (
                f"`{board.name}`",
                f"`{board.part}`",
                f"`{config.name}`",
                f"{config.rows} × {config.lanes}",
                f"{board.clock_mhz:g} MHz",
                f"{names}, {config.port_bits} bit: {board.stream_gbs:.1f} GB/s",
                f"{board.memory.bandwidth_gbs:.1f} GB/s",
                f"`{board.model}`",
            )
        )
    return table(head, rows)


def memories(boards: Sequence[Board]) -> str:
    """How each board's DDR times its transfers."""
    head = ("board", "width, MT/s", "peak, GB/s", "`refresh_ns`", "`recovery_ns`", "`row_ns`", "`row_bytes`", "`banks`")
    rows = []
    for board in boards:
        memory, dram = board.memory, board.memory.dram
        assert dram is not None
        channels = f"{memory.channels} × " if memory.channels > 1 else ""
        rows.append(
            (
                f"`{board.name}`",
                f"{channels}{memory.bits} bit, {memory.mega_transfers:,}",
                f"{memory.bandwidth_gbs:.2f}",
                f"{dram.refresh_ns:,}",
                f"{dram.recovery_ns:,}",
                f"{dram.row_ns:g}",
                f"{dram.row_bytes:,}",
                f"{dram.banks}",
                f"{dram.to_write_ns:g}, {dram.to_read_ns:g}",
            )
        )
    return table((*head, "`to_write_ns`, `to_read_ns`"), rows)


def pynq(boards: Sequence[Board]) -> str:
    """Which PYNQ each board needs."""
    assert all(board.pynq for board in boards)
    return table(("board", "PYNQ"), [(f"`{board.name}`", board.pynq) for board in boards])


@pytest.mark.parametrize(("page", "make"), [("boards.md", overview), ("boards.md", pynq), ("memory.md", memories)])
def test_tables_are_of_the_boards_as_they_are(page: str, make: Callable[[Sequence[Board]], str]) -> None:
    text = make([load_board(name) for name in board_names()])
    assert text in (DOCS / page).read_text(encoding="utf-8"), f"docs/{page} must have this table:\n\n{text}"


def test_posted_bytes_and_ports_are_the_same_everywhere() -> None:
    """docs/memory.md gives them once."""
    drams = [load_board(name).memory.dram for name in board_names()]
    assert {(dram.posted_bytes, dram.ahead_beats) for dram in drams if dram is not None} == {(512, 128)}
