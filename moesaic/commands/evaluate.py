"""Score a model before and after quantisation."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from moesaic.commands.command import examples, guarded
from moesaic.commands.from_files import from_files
from moesaic.commands.options import (
    Board,
    Budget,
    Calibrate,
    CalibrationChoice,
    Cluster,
    ModelArgument,
    ModelOption,
    Quiet,
    Recentre,
    Reconstruct,
    Seed,
    SharedCache,
    TargetDb,
    Task,
    Weights,
    Widths,
    one_model,
)
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden.image_choice import FIRST
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.qmodel import DEFAULT_WIDTHS
from moesaic.names import ALL_TASKS
from moesaic.records import to_plain
from moesaic.terminal import print_json, result_console

if TYPE_CHECKING:
    from moesaic.flow.evaluate import EvaluateReport

__all__ = ["EXAMPLES", "evaluate"]

EXAMPLES = examples(
    "evaluate m3vit-micro",
    "evaluate m3vit-tiny --scenes 500 --widths w4a8",
    "evaluate deit.pth --data 'photos/*/*.jpg'",
    "evaluate mymodels.py:vit --data photos --metric top5 --json",
    "evaluate deit.pth --data photos --limit 50000 --cluster tcp://node1:8786",
)


@guarded
@from_files
def evaluate(
    model: ModelArgument = None,
    named: ModelOption = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="IMAGES",
            help="A folder with a folder of images for each class, or a pattern such as 'photos/*/*.png'.",
            show_default="rendered scenes, for maps of classes and depth",
        ),
    ] = None,
    metric: Annotated[str, typer.Option(help="Of classes: 'top1' or 'top5'.")] = "top1",
    limit: Annotated[int, typer.Option(min=1, help="Images of --data at most, evenly spread.")] = 1000,
    scenes: Annotated[int, typer.Option(min=1, help="Rendered scenes, without --data.")] = 100,
    task: Task = None,
    calibrate: Calibrate = None,
    choice: CalibrationChoice = FIRST,
    board: Board = None,
    widths: Widths = DEFAULT_WIDTHS,
    recentre: Recentre = False,
    target_db: TargetDb = None,
    budget: Budget = None,
    reconstruct: Reconstruct = False,
    seed: Seed = 0,
    weights: Weights = None,
    cluster: Cluster = None,
    shared_cache: SharedCache = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON, and nothing else.")] = False,
    quiet: Quiet = False,
    *,
    options: ImportOptions,
) -> None:
    """Score a model before and after quantisation: classes on your images, maps on rendered scenes.

    The integers are those of the accelerator, bit for bit. Without --calibrate some images of --data are set apart to
    calibrate on.
    """
    stages = Stages(quiet=quiet)
    request = make_request(
        model=one_model(model, named),
        task=task or (ALL_TASKS if data is None else None),
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
    from moesaic.flow import evaluate as flow
    from moesaic.flow.runner import open_runner

    with open_runner(cluster, stages, shared_cache=shared_cache) as runner:
        _, report = flow.evaluate(request, stages, data=data, metric=metric, limit=limit, scenes=scenes, runner=runner)
    if as_json:
        print_json(to_plain(report))
    else:
        _show(report)


def _show(report: "EvaluateReport") -> None:
    console = result_console()
    table = Table("task", "measure", "float", "integers", "change", "alike, %")
    for row in report.tasks:
        table.add_row(
            row.task,
            row.metric,
            f"{row.before:.4f}",
            f"{row.after:.4f}",
            f"{row.after - row.before:+.4f}",
            f"{100 * row.alike:.1f}",
        )
    console.print(table)
    console.print("alike: images whose largest output is in the same place, of maps the pixels of the same class")
    console.print(
        f"{report.weights} weights, {report.widths}; calibrated on {report.calibrated_on}, "
        f"measured on {report.measured_on}",
        style="dim",
        markup=False,
    )
