"""Count what an accelerator takes of a device."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moesaic.boards.configuration import Configuration
from moesaic.commands.command import examples, guarded
from moesaic.commands.options import Config, Quiet, Set
from moesaic.errors import FAILED
from moesaic.flow.boards import accelerator_of, board_choices, configured, find_board
from moesaic.flow.stages import Stages
from moesaic.terminal import print_json, result_console

__all__ = ["EXAMPLES", "synth"]

EXAMPLES = examples(
    "synth --board zcu102",
    "synth --board pynq-z2 --timing",
    "synth --board micro8 --json",
    "synth --board zcu102 --config out/explore/1.toml",
)
KINDS = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram36": "BRAM36", "uram": "URAM"}


def _cells(amount: dict[str, Any]) -> list[str]:
    return [f"{amount[kind]:,}" if amount[kind] else "[dim]–[/]" for kind in KINDS]


def _print_resources(console: Console, report: dict[str, Any]) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("unit")
    for title in KINDS.values():
        table.add_column(title, justify="right")
    for unit, amount in report["units"].items():
        table.add_row(unit, *_cells(amount))
    table.add_section()
    table.add_row("total" if report["complete"] else "total, incomplete", *_cells(report["resources"]), style="bold")
    if "budget" in report:
        table.add_row(report["board"], *_cells(report["budget"]), style="dim")
        table.add_row(
            "",
            *(
                "" if percent is None else f"[{'red' if percent > 100 else 'green'}]{percent:.1f} %[/]"
                for percent in report["percent"].values()
            ),
        )
    console.print(table)
    for module, reason in report["unmapped"].items():
        console.print(f"[red]not mapped:[/] {module}: {escape(reason.splitlines()[0])}")
    if "fits_on" in report and report["complete"]:
        room = [name for name, fits in report["fits_on"].items() if fits]
        none = f"no board of family {report['family']} that comes along"
        console.print(f"fits {', '.join(room)}" if room else f"[red]fits[/] {none}")
    if report.get("fits"):
        console.print(f"fits {report['board']} ({report['part']})")
    elif report.get("excess"):
        parts = ", ".join(f"{KINDS[kind]} by {amount:,}" for kind, amount in report["excess"].items())
        best = report.get("largest_that_fits")
        console.print(
            f"[red]does not fit[/] {report['board']}: {parts}; the largest preset that fits is {best}"
            if best
            else f"[red]does not fit[/] {report['board']}: {parts}; no preset fits"
        )
    console.print(report["note"], style="dim")


def _print_timing(console: Console, timing: dict[str, Any]) -> None:
    from moesaic.flow.placed import placed_sentence

    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("ns", "optimistic", "slack", "levels", "logic", "nets"):
        table.add_column(title, justify="right")
    for title in ("from, to", "what would shorten it"):
        table.add_column(title, overflow="fold")
    for path in timing["paths"]:
        style = "red" if path["slack_ns"] < 0 else "green"
        table.add_row(
            f"{path['delay_ns']:.2f}",
            f"{path['optimistic_ns']:.2f}",
            f"[{style}]{path['slack_ns']:+.2f}[/]",
            str(path["levels"]),
            f"{path['logic_ns']:.2f}",
            f"{path['net_ns']:.2f}",
            f"{path['from']}\n{path['to']}",
            path["advice"],
        )
    console.print()
    console.print(
        f"longest paths at {timing['asked_mhz']:g} MHz, {timing['delays']}; the model supports "
        f"{timing['pessimistic_mhz']} MHz (pessimistic) to {timing['optimistic_mhz']} MHz (optimistic)"
    )
    console.print(table)
    if sentence := placed_sentence(timing):
        console.print(escape(sentence))
    counts = timing["structure"]
    console.print(
        f"{counts['control_sets']:,} control sets, {counts['with_reset']:,} of {counts['flip_flops']:,} flip-flops "
        f"with a reset, {counts['wide_nets']:,} nets of more than 256 loads"
    )
    if timing["warning"]:
        console.print(f"[yellow]warning:[/] {escape(timing['warning'])}")
    console.print(timing["note"], style="dim")


@guarded
def synth(
    board: Annotated[
        str, typer.Option(help=f"Board or accelerator: {', '.join(board_choices())}, or a board's .toml file.")
    ] = "zcu102",
    config: Config = None,
    fields: Set = None,
    timing: Annotated[bool, typer.Option("--timing", help="Also report the longest paths.")] = False,
    paths: Annotated[int, typer.Option(min=1, help="How many paths.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Folder for synthesis.json.", show_default="none")] = None,
    page: Annotated[
        Path | None,
        typer.Option(help="Markdown page whose tables of this board are written anew.", show_default="none"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print synthesis.json to standard output, and nothing else.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Synthesise the whole accelerator with Yosys: resources per unit, fit to the board, longest paths."""
    asked = Configuration.of(config, fields)
    found, sizes = (find_board(board), accelerator_of(board)[2]) if asked is None else configured(board, asked)
    from moesaic.flow import synth as flow

    report = flow.synth(sizes, found, Stages(quiet=quiet), timing=paths if timing else 0, out=out)
    if page is not None:
        flow.write_page(page, report)
    if as_json:
        print_json(report)
    else:
        console = result_console(width=110)
        _print_resources(console, report)
        if "timing" in report:
            _print_timing(console, report["timing"])
    if not report["complete"] or report.get("fits") is False:
        raise typer.Exit(FAILED)
