"""The ablation in the report: what each idea of the accelerator is worth."""

import dataclasses
from pathlib import Path

from rich.table import Table

from moesaic.flow.ablate import Ablation
from moesaic.report.html import render_page
from moesaic.report.stored import read_report, write_report
from moesaic.terminal import result_console

__all__ = ["add_to_report", "print_ablation"]


def add_to_report(result: Ablation, folder: Path) -> Path:
    """Put the table into report.json of a result folder, draw the page again, and return the page's path.

    Raises
    ------
    InputError
        If the folder holds no report.
    """
    write_report(dataclasses.replace(read_report(folder), ablation=result), folder)
    return render_page(folder)


def print_ablation(result: Ablation) -> None:
    """The table on the terminal."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("taken away", "bit exact", "cycles", "times", "model", "bytes read", "mJ on chip", "mJ in DDR"):
        table.add_column(column, justify="left" if column == "taken away" else "right")
    first = result.variants[0]
    for row in result.variants:
        cycles, base = row.cycles or row.model_cycles, first.cycles or first.model_cycles
        table.add_row(
            row.title if row is not first else "nothing",
            "yes" if row.bit_exact else "NO",
            "–" if row.cycles is None else f"{row.cycles:,}",
            f"{cycles / base:.2f}",
            f"{row.model_cycles:,}",
            f"{row.bytes_read:,}",
            f"{row.chip_mj:.3g} ± {100 * row.energy_error:.0f} %",
            f"{row.ddr_mj:.3g}",
        )
    console = result_console(width=100, soft_wrap=True)
    console.print(f"task {result.task}")
    console.print(table)
