"""report.html: one file that needs nothing else, made from report.json, data.npz and the pictures beside them."""

import base64
import importlib.resources
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from moesaic.errors import InputError
from moesaic.flow.folder import put_file
from moesaic.golden.training.scenes import CLASSES, PALETTE
from moesaic.report import plots
from moesaic.report.chart import Chart
from moesaic.report.data import load_data
from moesaic.report.figures import common_charts, marks, task_charts, trace_of
from moesaic.report.likeness import in_words
from moesaic.report.model import Report
from moesaic.report.stored import DATA, INPUT, PICTURES, read_picture, read_report
from moesaic.report.style import COLOURS, MEANINGS
from moesaic.report.vivado import FILE, Comparison, comparison_text, read_comparison

__all__ = ["PAGE", "render_html", "render_page"]

PAGE = "report.html"
# What drawing raises where numbers contradict each other, in ways that a schema does not know.
_DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, jinja2.TemplateError)


def _uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(read_picture(path)).decode()


def _svg(text: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def _share(part: float | None, whole: float | None) -> str:
    return "–" if part is None or not whole else f"{100 * part / whole:.1f} %"


def _number(value: float | None, pattern: str = ",.0f", unit: str = "") -> str:
    return "–" if value is None else f"{value:{pattern}}{unit}"


def _code(text: str) -> markupsafe.Markup:
    """Text in which `what stands between back ticks` is code."""
    parts = [markupsafe.escape(part) for part in text.split("`")]
    return markupsafe.Markup("").join(
        markupsafe.Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)
    )


def _timeline(task: str, report: Report, data: dict[str, Any]) -> markupsafe.Markup:
    """What timeline.js draws, as JSON without anything that HTML would read."""
    entry, trace = report.tasks[task], trace_of(task, data)
    if not trace or entry.cycles is None:
        return markupsafe.Markup("null")
    ends = [*marks(task, entry, data), ("result", entry.cycles)]
    drawn = plots.timeline_data(trace, ends, report.ddr.bytes_per_cycle, report.accelerator.port_bits // 8)
    return markupsafe.Markup(json.dumps(drawn, separators=(",", ":")).replace("<", "\\u003c"))


def _written(folder: Path, found: Iterable[Chart]) -> dict[str, str]:
    """SVG data URIs by name, of charts that are also written as files."""
    return {chart.name: _svg(chart.write(folder)) for chart in found}


def render_html(folder: Path, vivado: Comparison | None = None) -> str:
    """The page for a result folder; also writes its charts there, as SVG, PNG and CSV.

    Parameters
    ----------
    folder : Path
    vivado : Comparison, optional
        Measured figures of the accelerator; otherwise those that the folder keeps, if it does.

    Raises
    ------
    InputError
        If report.json, data.npz or a picture is missing or damaged.
    """
    report = read_report(folder)
    vivado = vivado or read_comparison(folder, report)
    try:
        data = load_data(folder / DATA)
        pictures = {
            task: [(what, PICTURES[what], _uri(folder / name)) for what, name in files.items()]
            for task, files in report.pictures.items()
        }
        own = importlib.resources.files("moesaic.report")
        source, script = ((own / name).read_text(encoding="utf-8") for name in ("report.html.j2", "timeline.js"))
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters |= {"number": _number, "share": _share, "code": _code, "likeness": in_words}
        return environment.from_string(source).render(
            r=report,
            vivado=vivado,
            input=_uri(folder / INPUT),
            pictures=pictures,
            meanings=MEANINGS,
            colours=COLOURS,
            script=markupsafe.Markup(script),
            timelines={task: _timeline(task, report, data) for task in report.tasks},
            classes=[
                (name, "#{:02x}{:02x}{:02x}".format(*colour))
                for name, colour in zip(CLASSES, PALETTE.tolist(), strict=True)
            ],
            common=_written(folder, common_charts(report)),
            drawn={task: _written(folder, task_charts(task, report, data)) for task in report.tasks},
        )
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:  # writing failed
            raise
        raise InputError(
            f"folder must hold all that `moesaic run` wrote, not {str(folder)!r} ({type(error).__name__}: {error})"
        ) from error


def render_page(folder: Path, vivado: Comparison | None = None) -> Path:
    """Write report.html of a result folder (whole or not at all) and return its path; keep a new comparison there."""
    page = folder / PAGE
    text = render_html(folder, vivado)
    if vivado is not None:
        put_file(folder / FILE, comparison_text(vivado).encode())
    put_file(page, text.encode())
    return page
