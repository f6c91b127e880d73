"""Quantise a model, and say what it costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from moesaic.commands.command import examples, guarded
from moesaic.commands.from_files import from_files
from moesaic.commands.options import (
    DEFAULT_MODEL,
    Board,
    Budget,
    Calibrate,
    CalibrationChoice,
    ModelArgument,
    Quiet,
    Recentre,
    Reconstruct,
    Seed,
    TargetDb,
    Weights,
    Widths,
)
from moesaic.flow.folder import check_replaceable, new_folder
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden.image_choice import FIRST
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.qmodel import DEFAULT_WIDTHS
from moesaic.names import ALL_TASKS
from moesaic.records import to_plain
from moesaic.terminal import print_json, result_console

if TYPE_CHECKING:
    from moesaic.flow.quantise_report import QuantiseReport

__all__ = ["EXAMPLES", "quantise"]

EXAMPLES = examples(
    "quantise m3vit-micro",
    "quantise m3vit-tiny --calibrate photos/ --all",
    "quantise checkpoint.pth.tar --calibrate photos/ --json > cost.json",
    "quantise m3vit-tiny --widths w4a8 --out out/w4a8",
    "quantise m3vit-tiny --calibrate photos/ --calibration-choice experts:64",
)


@guarded
@from_files
def quantise(
    model: ModelArgument = None,
    calibrate: Calibrate = None,
    choice: CalibrationChoice = FIRST,
    board: Board = None,
    widths: Widths = DEFAULT_WIDTHS,
    recentre: Recentre = False,
    target_db: TargetDb = None,
    budget: Budget = None,
    reconstruct: Reconstruct = False,
    every: Annotated[bool, typer.Option("--all", help="Show every layer, not only those that cost most.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the quantised network and the figures.", show_default="none")
    ] = None,
    seed: Seed = 0,
    weights: Weights = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON to standard output, and nothing else.")
    ] = False,
    quiet: Quiet = False,
    *,
    options: ImportOptions,
) -> None:
    """Quantise, and say what it costs: error and routing of every block, what each layer's rounding costs alone.

    A folder of 8 images or more is divided: every fourth image is kept to judge by. Files that are no images are
    skipped and listed. `compile` and `run` take the same --calibrate.
    """
    stages = Stages(quiet=quiet)
    if out is not None:
        from moesaic.report.quantise_folder import MARKER, write_quantised

        check_replaceable(out, marker=MARKER)
    request = make_request(
        model=model or DEFAULT_MODEL,
        task=ALL_TASKS,
        board=board,
        seed=seed,
        widths=widths,
        recentre=recentre,
        target_db=target_db,
        budget=budget,
        reconstruct=reconstruct,
        weights=weights,
        calibrate=calibrate,
        choice=choice,
        options=options,
        stages=stages,
    )
    from moesaic.flow import quantise as flow

    qmodel, report = flow.quantise(request, stages)
    if out is not None:
        with new_folder(out) as new:
            write_quantised(qmodel, report, new)
    if as_json:
        print_json(to_plain(report))
    else:
        _show(report, every)
        if out is not None:
            stages.say(f"written: {out}")


def _number(value: float | None, form: str = "{:.1f}") -> str:
    return "–" if value is None else form.format(value)


def _show(report: "QuantiseReport", every: bool) -> None:
    console = result_console()
    table = Table(
        "block", "kind", "SQNR, dB", "cosine", "routed alike, %", title="Integers against float, the worst task"
    )
    for block in report.blocks:
        routed = block.routing_agreement
        table.add_row(
            block.name,
            block.kind,
            _number(block.sqnr_db),
            _number(block.cosine, "{:.5f}"),
            _number(None if routed is None else 100 * routed),
        )
    console.print(table)
    layers = report.layers
    if not every:
        layers = tuple(sorted(sorted(layers, key=lambda row: -row.share)[:16], key=report.layers.index))
    table = Table(
        "layer",
        "SQNR, dB",
        "alone, dB",
        "share, %",
        "rerouted, %",
        title="Every rounding" if every else "Roundings that cost most (--all for every one)",
        caption="SQNR of the tensor, all roundings on; alone: of the block's output with no other rounding;\n"
        "share of the sum of these errors; tokens that this rounding alone sends to other experts;\n"
        f"images it was measured on: {report.layers_measured_on}",
    )
    for row in layers:
        table.add_row(
            row.name,
            _number(row.sqnr_db),
            _number(row.alone_db),
            f"{100 * row.share:.1f}",
            f"{100 * row.rerouted:.2f}" if row.rerouted else "–",
        )
    console.print(table)
    if report.spend:
        console.print("Where more bits would help most: " + ", ".join(row.name for row in report.spend))
    for finer in report.finer:
        console.print(finer.in_words, markup=False)
    if report.coverage is not None:
        console.print(f"Of {report.coverage.pool} images to calibrate on: {report.coverage.in_words}", markup=False)
    beyond = report.beyond_calibration
    most = f", most in {beyond.most}: {100 * beyond.most_share:.2g} %" if beyond.most else ""
    console.print(
        f"Images to judge by: up to {beyond.range:.2f} times as far from zero as those of calibration "
        f"({beyond.block}); {100 * beyond.saturated:.2g} % of all values had no room{most}",
        markup=False,
    )
    console.print(
        f"{report.weights} weights, {report.widths}; calibrated on {report.calibrated_on}, "
        f"measured on {report.measured_on}",
        style="dim",
        markup=False,
    )
