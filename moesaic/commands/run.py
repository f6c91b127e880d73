"""Run one image, or a batch, through everything."""

from pathlib import Path
from typing import Annotated

import typer

from moesaic.boards.configuration import Configuration
from moesaic.commands.command import examples, guarded, this_command, verdict
from moesaic.commands.from_files import from_files
from moesaic.commands.options import (
    DEFAULT_LATENCY,
    DEFAULT_MEMORY,
    DEFAULT_MODEL,
    BaselineFile,
    Blocks,
    Board,
    Budget,
    Calibrate,
    CalibrationChoice,
    ClockMhz,
    Config,
    Hidden,
    Images,
    ImagesInOne,
    Json,
    Latency,
    Memory,
    Model,
    Quiet,
    Recentre,
    Reconstruct,
    Resize,
    Resources,
    Saif,
    Seed,
    Separate,
    Set,
    Sim,
    Speculate,
    TargetDb,
    Task,
    Waves,
    Weights,
    Widths,
    baselines,
    is_rtl,
)
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden.image_choice import FIRST
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.qmodel import DEFAULT_WIDTHS

__all__ = ["EXAMPLES", "run"]

EXAMPLES = examples(
    "run",
    "run --task all",
    "run --batch 4",
    "run --model m3vit-micro --sim functional --blocks 2",
    "run --image street.jpg --resize --out out/street",
    "run --model checkpoint.pth.tar --task all --sim functional",
    "run --widths w4a8",
    "run --model m3vit-micro --set prefetch_words=64 --set ports=1",
    "run --board zcu102-wide --target-db 36",
    "run --model m3vit-micro --waves 1000:3000",
)


@guarded
@from_files
def run(
    model: Model = DEFAULT_MODEL,
    task: Task = None,
    board: Board = None,
    config: Config = None,
    fields: Set = None,
    image: Images = None,
    batch: ImagesInOne = 1,
    separate: Separate = False,
    resize: Resize = False,
    out: Annotated[Path | None, typer.Option(help="Result folder.", show_default="out/MODEL-TASK-BOARD")] = None,
    seed: Seed = 0,
    blocks: Blocks = None,
    sim: Sim = "rtl",
    speculate: Speculate = None,
    widths: Widths = DEFAULT_WIDTHS,
    recentre: Recentre = False,
    hidden: Hidden = None,
    target_db: TargetDb = None,
    budget: Budget = None,
    reconstruct: Reconstruct = False,
    latency: Latency = DEFAULT_LATENCY,
    memory: Memory = DEFAULT_MEMORY,
    clock_mhz: ClockMhz = None,
    resources: Resources = False,
    saif: Saif = False,
    waves: Waves = None,
    baseline: BaselineFile = None,
    weights: Weights = None,
    calibrate: Calibrate = None,
    choice: CalibrationChoice = FIRST,
    as_json: Json = False,
    quiet: Quiet = False,
    *,
    options: ImportOptions,
) -> None:
    """Run one image through everything: quantise, compile, simulate, compare, report."""
    rtl, measured, stages = is_rtl(sim), baselines(baseline), Stages(quiet=quiet)
    request = make_request(
        model=model,
        task=task,
        batch=batch,
        together=not separate,
        board=board,
        accelerator=Configuration.of(config, fields),
        seed=seed,
        blocks=blocks,
        speculate=speculate,
        widths=widths,
        recentre=recentre,
        hidden=hidden,
        target_db=target_db,
        budget=budget,
        reconstruct=reconstruct,
        weights=weights,
        calibrate=calibrate,
        choice=choice,
        options=options,
        stages=stages,
    )
    from moesaic import job
    from moesaic.flow.run import Options
    from moesaic.sim.waves import Window

    folder = out if out is not None else job.results_folder(request, rtl=rtl)
    how = Options(
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
        baselines=measured,
    )
    verdict(job.run(request, how, stages), folder, as_json=as_json)
