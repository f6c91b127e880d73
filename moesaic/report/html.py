"""report.html: one file that needs nothing else, made from report.json, data.npz and the pictures beside them."""

import base64
import importlib.resources
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
from matplotlib.figure import Figure

from moesaic.errors import InputError
from moesaic.flow.folder import put_file
from moesaic.flow.peers import OTHERS_MODEL
from moesaic.golden.training.scenes import CLASSES, PALETTE
from moesaic.report import charts, plots
from moesaic.report.data import load_data
from moesaic.report.likeness import in_words
from moesaic.report.model import Report
from moesaic.report.stored import DATA, INPUT, PICTURES, read_picture, read_report
from moesaic.report.style import COLOURS, MEANINGS, save
from moesaic.report.task_model import TaskReport
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


def _trace(task: str, data: dict[str, Any]) -> dict[str, Any]:
    prefix = f"{task}/trace/"
    found = {name.removeprefix(prefix): values for name, values in data.items() if name.startswith(prefix)}
    return found if len(found.get("cycle", ())) else {}


def _marks(task: str, entry: TaskReport, data: dict[str, Any]) -> list[tuple[str, int]]:
    """Ends of the parts of the network, cycles."""
    names = ["embed", *(block.name for block in entry.blocks)]
    return list(zip(names, (int(mark) for mark in data[f"{task}/marks"]), strict=True))


def _measured_plots(task: str, report: Report, data: dict[str, Any]) -> Iterator[tuple[str, Figure]]:
    """What the RTL counted."""
    entry, read = report.tasks[task], report.ddr.bytes_per_cycle
    parts = [("embed", entry.embedding.array), *((block.name, block.array) for block in entry.blocks)]
    counted = [(name, array) for name, array in (*parts, ("result", entry.result.array)) if array is not None]
    yield "cycles", plots.block_cycles(counted, [entry.model_cycles[name].cycles for name, _ in counted])
    trace = _trace(task, data)
    if trace and entry.cycles is not None:
        yield "timeline", plots.timeline(trace, _marks(task, entry, data), read)


def _timeline(task: str, report: Report, data: dict[str, Any]) -> markupsafe.Markup:
    """What timeline.js draws, as JSON without anything that HTML would read."""
    entry, trace = report.tasks[task], _trace(task, data)
    if not trace or entry.cycles is None:
        return markupsafe.Markup("null")
    marks = [*_marks(task, entry, data), ("result", entry.cycles)]
    drawn = plots.timeline_data(trace, marks, report.ddr.bytes_per_cycle, report.accelerator.port_bits // 8)
    return markupsafe.Markup(json.dumps(drawn, separators=(",", ":")).replace("<", "\\u003c"))


def _task_figures(task: str, report: Report, data: dict[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Figures of one task by name."""
    entry, accelerator = report.tasks[task], report.accelerator
    claimed = entry.bit_exact and report.bit_exact
    if claimed and entry.array is not None:
        yield from _measured_plots(task, report, data)
    if claimed:
        if any(layer.bytes for layer in entry.layers):
            macs = accelerator.rows * accelerator.lanes
            yield "roofline", charts.roofline(entry.layers, macs, report.ddr.bytes_per_cycle)
        if entry.energy is not None:
            yield "energy", charts.energy(entry.energy, entry.layers, entry.energy_error)
    if entry.tokens_per_expert:
        yield "experts", plots.expert_tokens(list(entry.tokens_per_expert.items()))
    if not report.not_compared:
        yield "quality", plots.block_quality(entry.blocks)


def _common_figures(report: Report) -> Iterator[tuple[str, str, Figure]]:
    """What is drawn once for a report: name, file, figure."""
    if report.ablation is not None:
        yield "ablation", "ablation.png", plots.ablation(report.ablation.variants)
    yield "resources", "resources.png", charts.resources(report.resources)
    cases = {task: entry.worst_case for task, entry in report.tasks.items() if entry.worst_case}
    if cases and report.bit_exact:
        yield "worst", "worst-case.png", charts.worst_cases(cases)
    alike = [
        row for row in report.peers if row.batch == 1 and (not row.ours or row.model == OTHERS_MODEL)
    ]  # nothing else compares
    if report.bit_exact and any(row.ours for row in alike):
        yield "peers", "peers.png", charts.peers(alike)


def _drawn(folder: Path, report: Report, data: dict[str, Any]) -> dict[str, dict[str, str]]:
    """SVG data URIs by task and name; also written as PNG."""
    return {
        task: {
            name: _svg(save(figure, folder / f"{task}-{name}.png"))
            for name, figure in _task_figures(task, report, data)
        }
        for task in report.tasks
    }


def render_html(folder: Path, vivado: Comparison | None = None) -> str:
    """The page for a result folder; also writes the plots there as PNG.

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
            common={name: _svg(save(figure, folder / file)) for name, file, figure in _common_figures(report)},
            drawn=_drawn(folder, report, data),
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
