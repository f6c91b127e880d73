"""Run a compiled program."""

from pathlib import Path
from typing import Annotated

import typer

from moesaic.commands.command import examples, guarded, this_command, verdict
from moesaic.commands.options import (
    DEFAULT_LATENCY,
    DEFAULT_MEMORY,
    ClockMhz,
    Images,
    Json,
    Latency,
    Memory,
    Quiet,
    Resize,
    Resources,
    Saif,
    Sim,
    Waves,
    is_rtl,
)
from moesaic.flow.stages import Stages

__all__ = ["EXAMPLES", "simulate"]

EXAMPLES = examples("simulate out/program", "simulate out/program --sim functional --image street.png --resize")


@guarded
def simulate(
    program: Annotated[Path, typer.Argument(help="Folder that `moesaic compile` wrote.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="What the program was compiled from, where it is made by code (module:function) or has moved: to be "
            "compared with it.",
            show_default="as the folder says; code is not run",
        ),
    ] = None,
    image: Images = None,
    resize: Resize = False,
    out: Annotated[Path | None, typer.Option(help="Result folder.", show_default="out/MODEL-TASK-BOARD")] = None,
    sim: Sim = "rtl",
    latency: Latency = DEFAULT_LATENCY,
    memory: Memory = DEFAULT_MEMORY,
    clock_mhz: ClockMhz = None,
    resources: Resources = False,
    saif: Saif = False,
    waves: Waves = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a compiled program on an image, compare with the integer model, report."""
    rtl = is_rtl(sim)
    from moesaic import job
    from moesaic.flow.program import load_program
    from moesaic.flow.run import Options
    from moesaic.sim.waves import Window

    stages = Stages(quiet=quiet)
    loaded = load_program(program, stages, model=model)
    folder = out if out is not None else job.results_folder(loaded.request, rtl=rtl)
    options = Options(
        images=image or (),
        resize=resize,
        out=folder,
        rtl=rtl,
        memory=memory,
        latency=latency,
        clock_mhz=clock_mhz,
        command=this_command(),
        resources=resources,
        saif=saif,
        waves=None if waves is None else Window.parse(waves),
    )
    verdict(job.simulate(loaded, options, stages), folder, as_json=as_json)
