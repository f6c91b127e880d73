"""Search the configurations of an accelerator."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moesaic.boards.board import Board as Device
from moesaic.boards.fields import read_fields
from moesaic.commands.command import examples, guarded
from moesaic.commands.from_files import from_files
from moesaic.commands.options import (
    DEFAULT_LATENCY,
    DEFAULT_MEMORY,
    Blocks,
    Cluster,
    Latency,
    Memory,
    ModelArgument,
    ModelOption,
    Quiet,
    Seed,
    Set,
    SharedCache,
    Weights,
    Widths,
    one_model,
)
from moesaic.compiler.batch import MOST_IMAGES
from moesaic.compiler.memory import IDEAL_MEMORY
from moesaic.errors import FAILED, InputError
from moesaic.flow.boards import find_board
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.qmodel import DEFAULT_WIDTHS, WIDTHS
from moesaic.names import ALL_TASKS
from moesaic.records import to_plain
from moesaic.terminal import print_json, print_result

if TYPE_CHECKING:
    from moesaic.boards.memory import Memory as DramOfBoard
    from moesaic.flow.exploration import Exploration
    from moesaic.flow.explore_space import Space

__all__ = ["EXAMPLES", "explore"]

EXAMPLES = examples(
    "explore m3vit-tiny --board zcu104",
    "explore m3vit-micro --board pynq-z2 --space space.toml --out out/space",
    "explore vit.safetensors --heads 6 --board kv260",
    "explore m3vit-tiny --board zcu102 --batch 4",
    "explore m3vit-tiny --board zcu102 --set lanes=64 --set ports=4",
    "explore m3vit-tiny --board zcu102 --clock 250 --limit 85 --confirm 3",
    "explore m3vit-tiny --board zcu104 --confirm 6 --cluster tcp://node1:8786 --shared-cache /shared/moesaic",
)


_Board = Annotated[str, typer.Option(help="Board, or a .toml file that describes one: its resources, ports and DDR.")]
_Space = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Values to search, a .toml file: docs/explore.md.",
        show_default="sizes around the board's own",
    ),
]
_Clock = Annotated[
    float | None,
    typer.Option(
        metavar="MHZ", help="Clock to assume.", show_default="the space's, else what the board's own supports"
    ),
]
_Batch = Annotated[
    int, typer.Option(min=1, max=MOST_IMAGES, help="Search programs of up to so many images too: 1, 2, 4, ...")
]
_Page = Annotated[
    Path | None, typer.Option(help="Markdown page whose table of this board is written anew.", show_default="none")
]
_Json = Annotated[bool, typer.Option("--json", help="Print explore.json to standard output, and nothing else.")]


def _check(task: str | None, widths: str) -> None:
    if task == ALL_TASKS:
        raise InputError(f"task must be one of the model's, not {task!r}: latency is that of one")
    if WIDTHS.get(widths, 8) > 8:
        raise InputError(
            f"widths must be of 8 bits, not {widths!r}: what wide operands cost is not estimated (`moesaic synth` "
            f"counts it)"
        )


def _space(
    board: Device, file: Path | None, clock: float | None, widths: str, batch: int, fields: list[str] | None
) -> "tuple[Space, Device]":
    """What to search, and on what: the file's values or the board's usual ones, with what was asked for by itself."""
    from moesaic.flow.explore_space import Space, default_space, read_space, with_fields

    axes = dict((default_space(board) if file is None else read_space(file, board)).axes)
    if clock is not None:
        axes["clock_mhz"] = (clock,)
    if widths != DEFAULT_WIDTHS:
        axes["widths"] = (widths,)
    if batch != 1:
        axes["batch"] = tuple(images for images in (1, 2, 4, 8) if images < batch) + (batch,)
    return with_fields(Space(axes), board, read_fields(fields or ()))


def _device(name: str) -> Device:
    found = find_board(name)
    if found is None:
        raise InputError(f"board must be one with resources to compare with, not the bare accelerator {name!r}")
    return found


def _memory(board: Device, memory: str, clock: float | None, latency: int) -> "DramOfBoard | None":
    """The DDR to reckon with: the board's, or None for an ideal one."""
    from moesaic.flow.conditions import conditions_of

    conditions_of(board.accelerator, board, memory=memory, clock_mhz=clock, latency=latency)
    return None if memory == IDEAL_MEMORY else board.memory


def _show(result: "Exploration", folder: Path, *, as_json: bool) -> None:
    from moesaic.report.explore import print_exploration

    if as_json:
        print_json(to_plain(result))
    else:
        print_exploration(result)
        print_result(f"results: {folder}")
    if any(point.confirmed is not None and not point.confirmed.bit_exact for point in result.front):
        raise typer.Exit(FAILED)


@guarded
@from_files
def explore(
    model: ModelArgument = None,
    named: ModelOption = None,
    board: _Board = "zcu102",
    space: _Space = None,
    fields: Set = None,
    clock: _Clock = None,
    limit: Annotated[float, typer.Option(min=1, max=100, help="Per cent of each resource that may be taken.")] = 100.0,
    task: Annotated[str | None, typer.Option(help="Task of the model.", show_default="the model's first")] = None,
    blocks: Blocks = None,
    confirm: Annotated[
        int, typer.Option(min=0, help="Simulate so many of the fastest of the front on RTL (minutes each).")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="out/explore-MODEL-BOARD")
    ] = None,
    page: _Page = None,
    batch: _Batch = 1,
    widths: Widths = DEFAULT_WIDTHS,
    weights: Weights = None,
    seed: Seed = 0,
    latency: Latency = DEFAULT_LATENCY,
    memory: Memory = DEFAULT_MEMORY,
    cluster: Cluster = None,
    shared_cache: SharedCache = None,
    as_json: _Json = False,
    quiet: Quiet = False,
    *,
    options: ImportOptions,
) -> None:
    """Search configurations for a model and a board: time against resources, the best as files for --config."""
    _check(task, widths)
    found = _device(board)
    wanted, found = _space(found, space, clock, widths, batch, fields)
    from moesaic.flow import explore as flow
    from moesaic.flow.explore_confirm import confirm_front
    from moesaic.flow.explore_work import Question
    from moesaic.flow.folder import check_replaceable
    from moesaic.flow.runner import open_runner
    from moesaic.report.explore import write_page
    from moesaic.report.explore_folder import MARKER, update_exploration, write_exploration
    from moesaic.sim.tools import find_compiler, find_verilator

    ddr = _memory(found, memory, clock, latency)
    stages = Stages(quiet=quiet)
    request = make_request(
        model=one_model(model, named),
        task=task,
        board=board,
        seed=seed,
        blocks=blocks,
        widths=widths,
        weights=weights,
        options=options,
        stages=stages,
    )
    folder = out if out is not None else Path("out") / f"explore-{request.model.name}-{found.name}"
    check_replaceable(folder, marker=MARKER)
    if confirm:
        find_compiler()
        find_verilator()
    question = Question(request.model, request.tasks[0], request.blocks, latency, ddr)
    keep = partial(update_exploration, folder=folder)
    with open_runner(cluster, stages, shared_cache=shared_cache) as runner:
        searcher = None if cluster is None else runner  # alone, this machine uses all its processors
        explored = flow.explore(question, found, wanted, stages, limit=limit / 100, runner=searcher)
        write_exploration(explored, folder)
        result = confirm_front(request, explored, confirm, stages, keep, question, runner=runner)
    if page is not None:
        write_page(page, result)
    _show(result, folder, as_json=as_json)
