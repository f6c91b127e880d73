"""Run many unseen scenes, compare every bit, and score the maps."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from moesaic.commands.command import examples, guarded
from moesaic.commands.options import (
    DEFAULT_LATENCY,
    DEFAULT_MEMORY,
    DEFAULT_MODEL,
    Board,
    Cluster,
    Json,
    Latency,
    Memory,
    Model,
    Quiet,
    SharedCache,
    Sim,
    Task,
    Weights,
    Widths,
    is_rtl,
)
from moesaic.errors import FAILED
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden.qmodel import DEFAULT_WIDTHS
from moesaic.names import ALL_TASKS
from moesaic.records import to_plain
from moesaic.terminal import print_json, result_console

if TYPE_CHECKING:
    from moesaic.flow.scenes import ScenesReport

__all__ = ["EXAMPLES", "scenes"]

EXAMPLES = examples(
    "scenes",
    "scenes --model m3vit-micro --count 50 --sim functional",
    "scenes --count 20 --json",
    "scenes --count 100 --cluster local:4",
    "scenes --cluster tcp://node1:8786 --shared-cache /shared/moesaic",
)


@guarded
def scenes(
    model: Model = DEFAULT_MODEL,
    count: Annotated[int, typer.Option(min=1, help="Scenes.")] = 20,
    first: Annotated[int, typer.Option(min=0, help="Number of the first scene.")] = 0,
    task: Task = ALL_TASKS,
    board: Board = None,
    sim: Sim = "rtl",
    latency: Latency = DEFAULT_LATENCY,
    memory: Memory = DEFAULT_MEMORY,
    weights: Weights = None,
    widths: Widths = DEFAULT_WIDTHS,
    cluster: Cluster = None,
    shared_cache: SharedCache = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run many unseen scenes whole, compare every block bit by bit, and score segmentation and depth."""
    rtl = is_rtl(sim)
    stages = Stages(quiet=quiet)
    request = make_request(model=model, task=task, board=board, weights=weights, widths=widths, stages=stages)
    from moesaic.flow.conditions import conditions_of
    from moesaic.flow.program import make_program
    from moesaic.flow.runner import open_runner
    from moesaic.flow.scenes import check_numbers, score_scenes

    check_numbers(range(first, first + count))
    ddr = conditions_of(request.accelerator, request.board_origin, memory=memory, latency=latency).ddr
    with open_runner(cluster, stages, shared_cache=shared_cache) as runner:
        program, _ = make_program(request, stages)
        result = score_scenes(program, range(first, first + count), stages, rtl=rtl, ddr=ddr, runner=runner)
    if as_json:
        print_json(to_plain(result))
    else:
        _show(result)
    if not result.bit_exact:
        raise typer.Exit(FAILED)


def _show(result: "ScenesReport") -> None:
    console = result_console()
    table = Table("task", "measure", "float", "accelerator", "cycles", "experts used in a mixture")
    for task, row in result.tasks.items():
        cycles, used = result.cycles.get(task), result.experts_used.get(task)
        table.add_row(
            escape(task),
            row.measure,
            f"{row.by_float:.4f}",
            f"{row.accelerator:.4f}",
            "–" if cycles is None else f"{cycles.least:,} to {cycles.most:,}",
            "–" if used is None else f"{used.least} to {used.most}, mean {used.mean:.1f}",
        )
    console.print(table)
    console.print(f"memory: {result.memory}")
    models = " = ".join(result.compared)
    if result.bit_exact:
        console.print(f"[bold green]bit exact[/]: {models}, every block of {len(result.scenes)} scenes")
    for found in result.differences[:10]:
        console.print(f"[bold red]differs[/]: scene {found.scene}, {escape(found.task)}: {escape(found.text)}")
