"""What a run leaves for a user to look at: numbers, data, pictures and the page, put into its result folder."""

import dataclasses
from pathlib import Path
from typing import Any

from moesaic.flow.appraise import appraise
from moesaic.flow.run import ACTIVITY, Outcome
from moesaic.flow.stages import Stages
from moesaic.golden.image_io import write_image
from moesaic.report.data import save_data
from moesaic.report.html import PAGE, render_html
from moesaic.report.maps import write_maps
from moesaic.report.numbers import report
from moesaic.report.outputs import module_outputs
from moesaic.report.stored import DATA, INPUT, write_report

__all__ = ["fill"]


def fill(folder: Path, run: Outcome, stages: Stages) -> dict[str, Any]:
    """Write all of it, and return what report.json holds."""
    with stages.stage("report", "report"):
        write_image(folder / INPUT, run.given.pixels)
        pictures = write_maps(run.program, run.tasks, run.given.pixels, run.given.scene, folder)
        save_data(folder / DATA, run.tasks)
        result = report(
            run.program,
            run.tasks,
            wall_s=stages.wall_s,
            image=run.given.where,
            latency=run.options.latency,
            command=run.options.command,
            total_s=stages.elapsed,
            resources=run.resources,
        )
        appraise(result, run.program, run.tasks)
        result["saif"] = None if run.saif is None else {"file": ACTIVITY, **dataclasses.asdict(run.saif)}
        result["pictures"] = pictures
        result["outputs"] = module_outputs(run.program, run.tasks, run.given.pixels)
        write_report(result, folder)
        (folder / PAGE).write_text(render_html(folder), encoding="utf-8")
    return result
