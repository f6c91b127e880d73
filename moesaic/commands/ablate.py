"""Take the accelerator's ideas away, one at a time."""

from pathlib import Path
from typing import Annotated

import typer

from moesaic.commands.command import examples, guarded
from moesaic.commands.options import Cluster, Json, Quiet, SharedCache, Sim, is_rtl
from moesaic.errors import FAILED
from moesaic.flow.stages import Stages
from moesaic.terminal import print_json, print_result

__all__ = ["EXAMPLES", "ablate"]

EXAMPLES = examples(
    "ablate out/m3vit-tiny-all-zcu102",
    "ablate out/m3vit-micro-semseg-micro8 --task semseg --json",
    "ablate out/m3vit-tiny-all-zcu102 --cluster local:3",
)


@guarded
def ablate(
    folder: Annotated[Path, typer.Argument(help="Result folder of `moesaic run`; its report gets the table.")],
    task: Annotated[str | None, typer.Option(help="Task to run.", show_default="the run's first")] = None,
    sim: Sim = "rtl",
    cluster: Cluster = None,
    shared_cache: SharedCache = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure what each idea is worth: the same image with one of them taken away, cycles and bytes, bit exact."""
    rtl = is_rtl(sim)
    from moesaic.flow import ablate as flow
    from moesaic.flow.program import load_program
    from moesaic.flow.runner import open_runner
    from moesaic.golden.image_io import read_image
    from moesaic.records import to_plain
    from moesaic.report.ablation import add_to_report, print_ablation
    from moesaic.report.stored import INPUT, read_report

    read_report(folder)
    stages = Stages(quiet=quiet)
    with open_runner(cluster, stages, shared_cache=shared_cache) as runner:
        program = load_program(folder / "program", stages)
        image = read_image(folder / INPUT, *program.request.model.image.size_and_channels)
        result = flow.ablate(program, image, task or program.request.tasks[0], stages, rtl=rtl, runner=runner)
    page = add_to_report(result, folder)
    if as_json:
        print_json(to_plain(result))
    else:
        print_ablation(result)
        print_result(f"report: {page}")
    if not all(row.bit_exact for row in result.variants):
        raise typer.Exit(FAILED)
