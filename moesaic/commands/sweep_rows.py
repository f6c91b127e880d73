"""Words read per cycle of attention, for arrays of several heights."""

from pathlib import Path
from typing import Annotated

import typer

from moesaic.commands.command import examples, guarded, this_command
from moesaic.commands.options import DEFAULT_MODEL, Board, Cluster, Model, Quiet, Seed, SharedCache
from moesaic.errors import InputError
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.terminal import print_result

__all__ = ["EXAMPLES", "sweep_rows"]

EXAMPLES = examples(
    "sweep-rows",
    "sweep-rows --model m3vit-micro --board micro16 --rows 8,16 --out out/attention",
    "sweep-rows --cluster local:4",
)


@guarded
def sweep_rows(
    model: Model = DEFAULT_MODEL,
    board: Board = None,
    rows: Annotated[
        str, typer.Option(help="Rows to build, each a power of two, at most the accelerator's lanes.")
    ] = "8,16,32,64",
    out: Annotated[Path, typer.Option(help="Folder for attention_bandwidth.md, .svg, .png and .csv.")] = Path("docs"),
    seed: Seed = 0,
    cluster: Cluster = None,
    shared_cache: SharedCache = None,
    quiet: Quiet = False,
) -> None:
    """Measure words read per cycle during attention, for arrays of several heights: one block on RTL each."""
    request = make_request(model=model, board=board, blocks=1, seed=seed)
    try:
        heights = [int(part) for part in rows.split(",")]
    except ValueError as error:
        raise InputError(f"rows must be numbers with commas, not {rows!r}") from error
    from moesaic.flow import sweep
    from moesaic.flow.runner import open_runner
    from moesaic.report.sweep import write_sweep

    stages = Stages(quiet=quiet)
    with open_runner(cluster, stages, shared_cache=shared_cache) as runner:
        points = sweep.sweep_rows(request, heights, out, stages, runner=runner)
    print_result(write_sweep(out, request, points, this_command()))
