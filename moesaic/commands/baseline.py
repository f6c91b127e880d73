"""Measure the same model on this machine."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from moesaic.commands.command import examples, guarded
from moesaic.commands.from_files import from_files
from moesaic.commands.options import BASELINE, ModelArgument, ModelOption, Quiet, Seed, Weights, one_model
from moesaic.errors import InputError
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden.importers.options import ImportOptions
from moesaic.records import to_plain
from moesaic.terminal import print_json, result_console

if TYPE_CHECKING:
    from moesaic.energy.baselines import Baseline

__all__ = ["EXAMPLES", "baseline"]

EXAMPLES = examples(
    "baseline m3vit-tiny --device cpu",
    "baseline m3vit-tiny --device cuda --batch 1,8,64",
    "baseline m3vit-micro --modes eager --experts dense --seconds 0.2 --json",
)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"batch must be numbers with commas between, such as 1,8, not {text!r}") from None


@guarded
@from_files
def baseline(
    model: ModelArgument = None,
    named: ModelOption = None,
    device: Annotated[str, typer.Option(help="'cpu', 'cuda', or 'cuda:1' for another one.")] = "cpu",
    batch: Annotated[str, typer.Option(metavar="N,N", help="Images of a call.")] = "1,8",
    modes: Annotated[
        str, typer.Option(metavar="MODE,MODE", help="'eager', 'compile' (torch.compile), 'graph' (CUDA graph).")
    ] = "eager,compile,graph",
    experts: Annotated[
        str,
        typer.Option(metavar="FORM,FORM", help="Mixtures: 'loop' over experts, 'dense' (all of them), 'grouped'."),
    ] = "loop,dense,grouped",
    seconds: Annotated[float, typer.Option(min=0.01, max=600, help="Of calls for each way.")] = 1.0,
    precision: Annotated[
        str | None,
        typer.Option(help="'bfloat16', 'float16' or 'float32'.", show_default="bfloat16 on a GPU, else float32"),
    ] = None,
    out: Annotated[Path, typer.Option(help="File to write.")] = BASELINE,
    seed: Seed = 0,
    weights: Weights = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the file to standard output, and nothing else.")
    ] = False,
    quiet: Quiet = False,
    *,
    options: ImportOptions,
) -> None:
    """Measure the same model on this machine's processor or GPU, for the report's comparison.

    `moesaic run` puts the fastest way of each batch beside the published accelerators. Watts are measured where NVML
    (nvidia-ml-py) or the processor's energy counters can be read.
    """
    from moesaic.flow.baseline import Ways, find_device, measure
    from moesaic.flow.quantised import load_float

    ways = Ways(
        batches=_numbers(batch),
        forms=tuple(experts.split(",")),
        modes=tuple(modes.split(",")),
        seconds=seconds,
        precision=precision or "",
    )
    found, stages = find_device(device), Stages(quiet=quiet)
    if out.is_dir():
        raise InputError(f"out must be a file, not the folder {str(out)!r}")
    request = make_request(model=one_model(model, named), seed=seed, weights=weights, options=options, stages=stages)
    measured = measure(load_float(request).model, found, ways, stages)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    try:
        partial.write_text(json.dumps(to_plain(measured), indent=1) + "\n", encoding="utf-8")
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    if as_json:
        print_json(to_plain(measured))
    else:
        _show(measured)
    stages.say(f"written: {out}")


def _show(measured: "Baseline") -> None:
    console = result_console()
    table = Table("batch", "experts", "mode", "ms an image", "W", "mJ an image", title=measured.device)
    for row in measured.rows:
        table.add_row(
            str(row.batch),
            row.moe,
            row.mode,
            f"{row.ms_image:.3g}",
            "–" if row.watts is None else f"{row.watts:.0f}",
            "–" if row.mj_image is None else f"{row.mj_image:.3g}",
        )
    console.print(table)
