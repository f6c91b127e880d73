"""What an exploration found, as a table."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from moesaic.compiler.memory import BOARD_MEMORY, IDEAL_MEMORY
from moesaic.errors import InputError
from moesaic.flow.exploration import Exploration, FrontPoint
from moesaic.golden.qmodel import DEFAULT_WIDTHS
from moesaic.report.explore_chart import has_batches
from moesaic.terminal import result_console

__all__ = ["print_exploration", "write_page"]

_MEMORY = {BOARD_MEMORY: "with the DDR as the board has it", IDEAL_MEMORY: "with an ideal DDR"}
_KINDS = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram36": "BRAM36", "uram": "URAM"}


def _widths(front: Sequence[FrontPoint]) -> bool:
    """Whether the front has more than the usual widths."""
    return {entry.widths for entry in front} != {DEFAULT_WIDTHS}


def _markdown(result: Exploration) -> str:
    """The front as a table of a page."""
    searched, space = result.searched, result.space
    values = "; ".join(f"{axis} {', '.join(str(value) for value in values)}" for axis, values in space.items())
    confirmed = any(entry.confirmed for entry in result.front)
    widths, batches = _widths(result.front), has_batches(result.front)
    columns = [
        *([("widths", "---")] if widths else []),
        *([("images", "--:")] if batches else []),
        ("array", "---"),
        ("load", "--:"),
        ("ports", "---"),
        *((title, "--:") for title in ("prefetch, KiB", "activation, KiB", "cycles", "ms")),
        *([("ms an image", "--:")] if batches else []),
        ("limit", "---"),
        *((title, "--:") for title in ("LUT %", "DSP %", "BRAM %", f"mJ ± {100 * result.energy_error:.0f} %")),
    ]
    more = ("", "") if not confirmed else ("on RTL | estimate | bit exact |", "--:|--:|---|")
    lines = [
        (
            f"{searched.combinations:,} combinations ({values}): {searched.possible:,} possible, "
            f"{searched.fit:,} fit, "
            f"{searched.hold_model:,} hold `{result.model}`; {len(result.front)} on the front."
        ),
        "",
        "| | " + "".join(f"{title} | " for title, _ in columns) + more[0],
        "|--:|" + "".join(f"{rule}|" for _, rule in columns) + more[1],
    ]
    for entry in result.front:
        config, percent = entry.config, entry.percent
        ultra = ", UltraRAM" if config.ultra_ram else ""
        cells = [
            entry.number,
            *([entry.widths] if widths else []),
            *([entry.batch] if batches else []),
            f"{config.rows} × {config.lanes}",
            config.load_rows,
            f"{config.ports} × {config.port_bits}",
            f"{config.prefetch_words * config.load_rows * config.lanes >> 10}{ultra}",
            config.activation_words * config.lanes >> 10,
            f"{entry.cycles:,}",
            f"{entry.latency_ms:.4g}",
            *([f"{entry.image_ms:.4g}"] if batches else []),
            entry.limit,
            *(f"{percent[kind]:.1f}" for kind in ("lut", "dsp", "bram36")),
            f"{entry.energy_mj:.3g}",
        ]
        done = entry.confirmed
        if confirmed:
            cells += (
                [f"{done.cycles:,}", f"{100 * done.error:+.2f} %", "yes" if done.bit_exact else "NO"]
                if done
                else ["", "", ""]
            )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def write_page(page: Path, result: Exploration) -> None:
    """Put the front where a page has its place: between ``<!-- explore BOARD -->`` and ``<!-- end BOARD -->``.

    Raises
    ------
    InputError
        If the page has no such place.
    """
    start, end = f"<!-- explore {result.board} -->\n", f"<!-- end {result.board} -->\n"
    before, found, rest = page.read_text(encoding="utf-8").partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise InputError(f"page {page} must have the lines {start.strip()} and {end.strip()}")
    page.write_text(before + start + _markdown(result) + end + after, encoding="utf-8")


def print_exploration(result: Exploration) -> None:
    """The front on the terminal."""
    searched, front = result.searched, result.front
    console = result_console(width=118)
    console.print(
        f"{searched.combinations:,} combinations: {searched.possible:,} possible, {searched.fit:,} fit "
        f"{result.board}, "
        f"{searched.hold_model:,} hold {result.model}; {len(front)} on the front"
    )
    table = Table(box=None, header_style="dim", pad_edge=False)
    kinds = [kind for kind in _KINDS if any(kind in entry.percent for entry in front)]
    clocks = len({entry.config.clock_mhz for entry in front}) > 1
    widths, batches = _widths(front), has_batches(front)
    titles = [
        "#",
        *(["widths"] if widths else []),
        *(["images"] if batches else []),
        "array",
        "load",
        "ports",
        "prefetch",
        "activation",
        *(["MHz"] if clocks else []),
        "cycles",
        "ms",
        *(["ms/image"] if batches else []),
        "limit",
        *(f"{_KINDS[kind]} %" for kind in kinds),
    ]
    confirmed = any(entry.confirmed for entry in front)
    titles += [f"mJ ± {100 * result.energy_error:.0f} %", *(["on RTL", "error"] if confirmed else [])]
    for title in titles:
        table.add_column(title, justify="left" if title == "limit" else "right")
    for entry in front:
        config = entry.config
        ram = " ultra" if config.ultra_ram else ""
        row = [
            str(entry.number),
            *([entry.widths] if widths else []),
            *([str(entry.batch)] if batches else []),
            f"{config.rows} × {config.lanes}",
            str(config.load_rows),
            f"{config.ports} × {config.port_bits}",
            f"{config.prefetch_words * config.load_rows * config.lanes >> 10} KiB{ram}",
            f"{config.activation_words * config.lanes >> 10} KiB{ram}",
            *([f"{config.clock_mhz:g}"] if clocks else []),
            f"{entry.cycles:,}",
            f"{entry.latency_ms:.4g}",
            *([f"{entry.image_ms:.4g}"] if batches else []),
            entry.limit,
        ]
        row += [
            f"[bold]{entry.percent[kind]:.1f}[/]" if kind == entry.fullest else f"{entry.percent.get(kind, 0):.1f}"
            for kind in kinds
        ]
        row.append(f"{entry.energy_mj:.3g}")
        if confirmed:
            done = entry.confirmed
            row += [f"{done.cycles:,}", f"{100 * done.error:+.2f} %"] if done else ["", ""]
        table.add_row(*row)
    console.print(table)
    console.print(
        f"Latency: analytic model, every expert used alike, {_MEMORY[result.ddr.memory]}. Resources and energy: "
        "estimated (docs/explore.md, docs/energy.md).",
        style="dim",
    )
