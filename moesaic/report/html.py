"""report.html: one file that needs nothing else, made from report.json, data.npz and the pictures beside them."""

import base64
import importlib.resources
import json
from pathlib import Path
from typing import Any

import jinja2

from moesaic.flow.request import InputError
from moesaic.golden.scenes import CLASSES, PALETTE
from moesaic.report import plots
from moesaic.report.data import load_data
from moesaic.report.numbers import FORMAT

__all__ = ["DATA", "INPUT", "MARKER", "NUMBERS", "PAGE", "read_report", "render_html", "render_page", "write_report"]

NUMBERS, PAGE, DATA, INPUT = "report.json", "report.html", "data.npz", "input.png"
MARKER = NUMBERS  # by which a result folder is known
PICTURES = {"accelerator": "accelerator", "float": "float model", "truth": "ground truth"}


def read_report(folder: Path) -> dict[str, Any]:
    """report.json of a result folder.

    Raises
    ------
    InputError
        If there is none, or it is damaged or of another version.
    """
    path = folder / NUMBERS
    if not path.is_file():
        raise InputError(f"folder must hold a {NUMBERS} that `moesaic run` wrote, not {str(folder)!r}")
    try:
        report: dict[str, Any] = json.loads(path.read_text())
        version = report["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{str(path)!r} must be a report, not a damaged file ({error})") from error
    if version != FORMAT:
        raise InputError(f"format of {str(path)!r} must be {FORMAT}, not {version!r}")
    return report


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write report.json of a result folder, whole or not at all."""
    path = folder / NUMBERS
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _svg(text: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def _share(part: float | None, whole: float | None) -> str:
    return "–" if part is None or not whole else f"{100 * part / whole:.1f} %"


def _number(value: float | None, pattern: str = ",.0f", unit: str = "") -> str:
    return "–" if value is None else f"{value:{pattern}}{unit}"


def _task_plots(
    folder: Path, task: str, entry: dict[str, Any], data: dict[str, Any], bytes_per_cycle: int
) -> dict[str, str]:
    """SVG data URIs by name; also written as PNG."""
    drawn = {}

    def draw(name: str, figure: Any) -> None:
        drawn[name] = _svg(plots.save(figure, folder / f"{task}-{name}.png"))

    if entry["bit_exact"] and entry["array"] is not None:
        parts = [
            ("embed", entry["embedding"]),
            *((block["name"], block) for block in entry["blocks"]),
            ("result", entry["result"]),
        ]
        draw(
            "cycles",
            plots.block_cycles(
                [(name, part["array"]) for name, part in parts],
                [entry["model_cycles"][name]["cycles"] for name, _ in parts],
            ),
        )
        trace = {
            name.removeprefix(f"{task}/trace/"): values
            for name, values in data.items()
            if name.startswith(f"{task}/trace/")
        }
        if len(trace.get("cycle", ())):
            names = ["embed", *(block["name"] for block in entry["blocks"])]
            draw(
                "timeline",
                plots.timeline(
                    trace, list(zip(names, (int(m) for m in data[f"{task}/marks"]), strict=True)), bytes_per_cycle
                ),
            )
    if entry["tokens_per_expert"]:
        draw("experts", plots.expert_tokens(list(entry["tokens_per_expert"].items())))
    draw("quality", plots.block_quality(entry["blocks"]))
    return drawn


def _ablation(folder: Path, report: dict[str, Any]) -> str | None:
    """SVG data URI of the ablation, if there was one; also written as PNG."""
    found = report["ablation"]
    if found is None:
        return None
    return _svg(plots.save(plots.ablation(found["variants"]), folder / "ablation.png"))


def render_html(folder: Path) -> str:
    """The page for a result folder; also writes the plots there as PNG.

    Raises
    ------
    InputError
        If report.json, data.npz or a picture is missing or damaged.
    """
    report = read_report(folder)
    try:
        data = load_data(folder / DATA)
        pictures = {
            task: [(what, PICTURES[what], _uri(folder / name)) for what, name in files.items()]
            for task, files in report["pictures"].items()
        }
        source = (importlib.resources.files("moesaic.report") / "report.html.j2").read_text()
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters |= {"number": _number, "share": _share}
        return environment.from_string(source).render(
            r=report,
            input=_uri(folder / INPUT),
            pictures=pictures,
            meanings=plots.MEANINGS,
            classes=[
                (name, "#{:02x}{:02x}{:02x}".format(*colour))
                for name, colour in zip(CLASSES, PALETTE.tolist(), strict=True)
            ],
            ablation=_ablation(folder, report),
            drawn={
                task: _task_plots(folder, task, entry, data, report["ddr"]["bytes_per_cycle"])
                for task, entry in report["tasks"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:  # writing failed
            raise
        raise InputError(
            f"folder must hold all that `moesaic run` wrote, not {str(folder)!r} ({type(error).__name__}: {error})"
        ) from error


def render_page(folder: Path) -> Path:
    """Write report.html of a result folder (whole or not at all) and return its path."""
    text = render_html(folder)
    page = folder / PAGE
    partial = page.with_name(page.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(page)
    finally:
        partial.unlink(missing_ok=True)
    return page
