"""The command line: `moesaic run | compile | simulate | generate | report | train | sweep-rows`."""

import functools
import json
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn, ParamSpec

import typer
from rich.console import Console

import moesaic
from moesaic.flow.folder import check_replaceable, new_folder
from moesaic.flow.request import ALL_TASKS, InputError, Request, make_request
from moesaic.flow.stages import Stages
from moesaic.golden.config import PRESETS as MODELS
from moesaic.hw.spec.config import PRESETS as BOARDS
from moesaic.problems import FAILED, explain
from moesaic.summary import print_summary

__all__ = ["app", "main"]

DEFAULT_MODEL, DEFAULT_LATENCY = "m3vit-tiny", 100
P = ParamSpec("P")
app = typer.Typer(
    name="moesaic",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="From a mixture-of-experts vision transformer in PyTorch to an accelerator: RTL, program, proof and report.",
)


def _examples(*commands: str) -> str:
    return "\n\n".join(["Examples:", *(f"  moesaic {command}" for command in commands)])


Model = Annotated[str, typer.Option(help=f"Model: {', '.join(MODELS)}.")]
Task = Annotated[
    str | None,
    typer.Option(help=f"Task of the model (semseg, depth), or '{ALL_TASKS}'.", show_default="the model's first"),
]
Board = Annotated[
    str | None,
    typer.Option(
        help=f"Accelerator: {', '.join(BOARDS)}.",
        show_default="micro8 for m3vit-micro, zcu102-small for what zcu102 cannot hold, else zcu102",
    ),
]
Seed = Annotated[int, typer.Option(help="Of seeded weights, the sample scene and the DDR model's stalls.")]
Blocks = Annotated[int | None, typer.Option(help="Stop after so many blocks.", show_default="all")]
Speculate = Annotated[
    int | None,
    typer.Option(
        help="Experts fetched before the router has decided; 0 turns it off.", show_default="the compiler's choice"
    ),
]
Weights = Annotated[Path | None, typer.Option(help="Parameters (.safetensors) in place of the shipped ones.")]
Image = Annotated[Path | None, typer.Option(help="Input image file.", show_default="a rendered street scene")]
Resize = Annotated[bool, typer.Option("--resize", help="Scale an image of another size.")]
Sim = Annotated[
    str,
    typer.Option(help="How far to simulate: 'functional' (the program, seconds) or 'rtl' (the hardware too, minutes)."),
]
Latency = Annotated[int, typer.Option(help="Of the DDR model, cycles.")]
Json = Annotated[bool, typer.Option("--json", help="Print report.json to standard output, and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def _guarded(function: Callable[P, None]) -> Callable[P, None]:
    """A command whose foreseeable failures are one line on standard error and an exit status."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except BaseException as error:
            problem = explain(error)
            if problem is None:
                raise
            console = Console(stderr=True, highlight=False, soft_wrap=True)
            console.print("[bold red]error:[/] ", end="")
            console.print(problem.text, markup=False)
            if problem.details:
                console.print(problem.details, markup=False, style="dim")
            raise typer.Exit(problem.status) from error

    return command


def _is_rtl(sim: str) -> bool:
    if sim not in ("functional", "rtl"):
        raise InputError(f"sim must be functional or rtl, not {sim!r}")
    return sim == "rtl"


def _this_command() -> str:
    return shlex.join(["moesaic", *sys.argv[1:]])


def _verdict(report: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    """Print what came out; fail if the models differ."""
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        print_summary(report, folder)
    if not report["bit_exact"]:
        raise typer.Exit(FAILED)


@app.command(
    epilog=_examples(
        "run",
        "run --task all",
        "run --model m3vit-micro --sim functional --blocks 2",
        "run --image street.jpg --resize --out out/street",
    )
)
@_guarded
def run(
    model: Model = DEFAULT_MODEL,
    task: Task = None,
    board: Board = None,
    image: Image = None,
    resize: Resize = False,
    out: Annotated[Path | None, typer.Option(help="Result folder.", show_default="out/MODEL-TASK-BOARD")] = None,
    seed: Seed = 0,
    blocks: Blocks = None,
    sim: Sim = "rtl",
    speculate: Speculate = None,
    latency: Latency = DEFAULT_LATENCY,
    weights: Weights = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run one image through everything: quantise, compile, simulate, compare, report."""
    rtl = _is_rtl(sim)
    request = make_request(
        model=model, task=task, board=board, seed=seed, blocks=blocks, speculate=speculate, weights=weights
    )
    from moesaic.flow import run as flow

    folder = out if out is not None else Path("out") / request.name
    options = flow.Options(image=image, resize=resize, out=folder, rtl=rtl, latency=latency, command=_this_command())
    _verdict(flow.run(request, options, Stages(quiet=quiet)), folder, as_json=as_json)


def _print_dump(compilation: Any, request: Request) -> None:
    from moesaic.compiler.dump import dump

    for task in request.tasks:
        for stage, text in dump(compilation, task).items():
            print(f"==== {stage}, task {task}\n{text}\n")


@app.command(
    name="compile",
    epilog=_examples(
        "compile --model m3vit-micro --out out/program",
        "compile --model m3vit-micro --blocks 1 --dump | less",
    ),
)
@_guarded
def compile_(
    model: Model = DEFAULT_MODEL,
    task: Annotated[str, typer.Option(help=f"Task of the model (semseg, depth), or '{ALL_TASKS}'.")] = ALL_TASKS,
    board: Board = None,
    out: Annotated[
        Path | None, typer.Option(help="Program folder.", show_default="out/MODEL-TASK-BOARD-program")
    ] = None,
    seed: Seed = 0,
    blocks: Blocks = None,
    speculate: Speculate = None,
    weights: Weights = None,
    dump: Annotated[
        bool, typer.Option("--dump", help="Print IR, schedule, buffers, disassembly and memory map.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Quantise and compile: write a program folder (memory image, manifest, quantised network)."""
    request = make_request(
        model=model, task=task, board=board, seed=seed, blocks=blocks, speculate=speculate, weights=weights
    )
    from moesaic.flow import program as programs

    folder = out if out is not None else Path("out") / f"{request.name}-program"
    check_replaceable(folder, marker=programs.MARKER)
    stages = Stages(quiet=quiet)
    with new_folder(folder) as new:
        program, compilation = programs.make_program(request, stages)
        programs.save_program(program, new)
    if dump:
        _print_dump(compilation, request)
    stages.say(f"program: {folder}")


@app.command(
    epilog=_examples("simulate out/program", "simulate out/program --sim functional --image street.png --resize")
)
@_guarded
def simulate(
    program: Annotated[Path, typer.Argument(help="Folder that `moesaic compile` wrote.")],
    image: Image = None,
    resize: Resize = False,
    out: Annotated[Path | None, typer.Option(help="Result folder.", show_default="out/MODEL-TASK-BOARD")] = None,
    sim: Sim = "rtl",
    latency: Latency = DEFAULT_LATENCY,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a compiled program on an image, compare with the integer model, report."""
    rtl = _is_rtl(sim)
    from moesaic.flow import program as programs
    from moesaic.flow import run as flow

    stages = Stages(quiet=quiet)
    loaded = programs.load_program(program, stages)
    folder = out if out is not None else Path("out") / loaded.request.name
    options = flow.Options(image=image, resize=resize, out=folder, rtl=rtl, latency=latency, command=_this_command())
    _verdict(flow.simulate(loaded, options, stages), folder, as_json=as_json)


@app.command(epilog=_examples("generate --board zcu102 --out out/rtl", "generate --board micro8 --rtl-only"))
@_guarded
def generate(
    board: Annotated[str, typer.Option(help=f"Accelerator: {', '.join(BOARDS)}.")] = "zcu102",
    out: Annotated[Path | None, typer.Option(help="Folder to write.", show_default="out/BOARD-rtl")] = None,
    rtl_only: Annotated[
        bool, typer.Option("--rtl-only", help="Write accelerator.v and its configuration, no register map.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write the accelerator as Verilog for synthesis, with its configuration and register map."""
    if board not in BOARDS:
        raise InputError(f"board must be one of {', '.join(BOARDS)}, not {board!r}")
    from moesaic.flow import generate as generator

    folder = out if out is not None else Path("out") / f"{board}-rtl"
    generator.generate(BOARDS[board], folder, Stages(quiet=quiet), rtl_only=rtl_only)


@app.command(epilog=_examples("report out/m3vit-micro-semseg-micro8"))
@_guarded
def report(folder: Annotated[Path, typer.Argument(help="Result folder of `moesaic run`.")]) -> None:
    """Draw report.html again from the numbers and data of a result folder."""
    from moesaic.report.html import render_page

    print(render_page(folder))


@app.command(epilog=_examples("train", "train --model m3vit-micro --steps 200 --scenes 500 --out out/weights"))
@_guarded
def train(
    model: Model = "m3vit-micro",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for MODEL.safetensors and MODEL.json.", show_default="the shipped weights"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates.", show_default="the recipe's")] = None,
    scenes: Annotated[int | None, typer.Option(help="Rendered scenes.", show_default="the recipe's")] = None,
    seed: Annotated[int | None, typer.Option(help="Of parameters and order.", show_default="the recipe's")] = None,
) -> None:
    """Train a model and its heads on rendered scenes."""
    make_request(model=model)
    for name, value in (("steps", steps), ("scenes", scenes)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be positive, not {value!r}")
    from moesaic.golden.train import main as train_main

    given = {"--out": out, "--steps": steps, "--scenes": scenes, "--seed": seed}
    train_main(
        ["--model", model, *(str(word) for name, value in given.items() if value is not None for word in (name, value))]
    )


@app.command(
    name="sweep-rows",
    epilog=_examples(
        "sweep-rows",
        "sweep-rows --model m3vit-micro --board micro16 --rows 8,16 --out out/attention",
    ),
)
@_guarded
def sweep_rows(
    model: Model = DEFAULT_MODEL,
    board: Board = None,
    rows: Annotated[
        str, typer.Option(help="Rows to build, each a power of two, at most the accelerator's lanes.")
    ] = "8,16,32,64",
    out: Annotated[Path, typer.Option(help="Folder for attention_bandwidth.md and .png.")] = Path("docs"),
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Measure words read per cycle during attention, for arrays of several heights: one block on RTL each."""
    request = make_request(model=model, board=board, blocks=1, seed=seed)
    try:
        heights = [int(part) for part in rows.split(",")]
    except ValueError as error:
        raise InputError(f"rows must be numbers with commas, not {rows!r}") from error
    from moesaic.flow import sweep

    print(sweep.sweep_rows(request, heights, out, Stages(quiet=quiet), command=_this_command()))


def _version(show: bool) -> None:
    if show:
        print(f"moesaic {moesaic.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # so that temporary folders go


def main() -> None:
    """Entry point of the `moesaic` command."""
    signal.signal(signal.SIGTERM, _terminated)
    app(prog_name="moesaic")
