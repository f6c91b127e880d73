"""What a run leaves for a user to look at: numbers, data, pictures and the page, put into its result folder."""

from pathlib import Path

from moesaic.flow.run import Outcome
from moesaic.flow.stages import Stages
from moesaic.golden.image_io import write_image
from moesaic.report.build import build_report
from moesaic.report.data import save_data
from moesaic.report.html import PAGE, render_html
from moesaic.report.maps import write_maps
from moesaic.report.model import Report
from moesaic.report.outputs import module_outputs
from moesaic.report.stored import DATA, INPUT, write_report
from moesaic.report.trace import TRACE, trace_text

__all__ = ["fill"]


def fill(folder: Path, run: Outcome, stages: Stages) -> Report:
    """Write all of it, and return the report."""
    with stages.stage("report", "report"):
        write_image(folder / INPUT, run.given.pixels[0])
        pictures = write_maps(run.program, run.tasks, run.given, folder)
        save_data(folder / DATA, run.tasks)
        (folder / TRACE).write_text(trace_text(run.program, run.tasks, run.conditions.ddr), encoding="utf-8")
        outputs = module_outputs(run.program, run.tasks, run.given.pixels)
        report = build_report(run, stages, pictures=pictures, outputs=outputs)
        write_report(report, folder)
        (folder / PAGE).write_text(render_html(folder), encoding="utf-8")
    return report
