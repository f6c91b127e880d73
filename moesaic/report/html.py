"""report.html: one file that needs nothing else, made from report.json, data.npz and the pictures beside them."""

import base64
import importlib.resources
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from moesaic.errors import InputError
from moesaic.flow.folder import put_file
from moesaic.flow.peers import OTHERS_MODEL
from moesaic.golden.training.scenes import CLASSES, PALETTE
from moesaic.report import charts, plots
from moesaic.report.data import load_data
from moesaic.report.likeness import in_words
from moesaic.report.stored import DATA, INPUT, PICTURES, read_picture, read_report
from moesaic.report.style import MEANINGS, save

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


def _parts(entry: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    blocks = [(block["name"], block) for block in entry["blocks"]]
    return [("embed", entry["embedding"]), *blocks, ("result", entry["result"])]


def _task_plots(folder: Path, task: str, report: dict[str, Any], data: dict[str, Any]) -> dict[str, str]:
    """SVG data URIs by name; also written as PNG."""
    entry, drawn = report["tasks"][task], dict[str, str]()
    config, ddr = report["config"], report["ddr"]

    def draw(name: str, figure: Any) -> None:
        drawn[name] = _svg(save(figure, folder / f"{task}-{name}.png"))

    claimed = entry["bit_exact"] and report["bit_exact"]
    if claimed and entry["array"] is not None:
        parts = _parts(entry)
        draw(
            "cycles",
            plots.block_cycles(
                [(name, part["array"]) for name, part in parts],
                [entry["model_cycles"][name]["cycles"] for name, _ in parts],
            ),
        )
        trace = _trace(task, data)
        if trace:
            names = ["embed", *(block["name"] for block in entry["blocks"])]
            marks = list(zip(names, (int(mark) for mark in data[f"{task}/marks"]), strict=True))
            draw("timeline", plots.timeline(trace, marks, ddr["bytes_per_cycle"]))
            parts_of = [*marks, ("result", entry["cycles"])]
            draw("parts", plots.part_timelines(trace, parts_of, ddr["bytes_per_cycle"], config["port_bits"] // 8))
    if claimed:
        totals = {key: sum(layer[key] for layer in entry["layers"]) for key in ("macs", "bytes", "cycles")}
        if totals["bytes"]:
            macs = config["rows"] * config["lanes"]
            draw("roofline", charts.roofline(entry["layers"], macs, ddr["bytes_per_cycle"], totals))
        if entry["power_w"] is not None:
            found = entry["energy"]
            draw(
                "energy",
                charts.energy(
                    found["units_mj"],
                    found["static_mj"],
                    (found["ddr_mj"], found["ddr_least_mj"]),
                    entry["layers"],
                    entry["energy_error"],
                ),
            )
    if entry["tokens_per_expert"]:
        draw("experts", plots.expert_tokens(list(entry["tokens_per_expert"].items())))
    if not report.get("not_compared"):
        draw("quality", plots.block_quality(entry["blocks"]))
    return drawn


def _common_plots(folder: Path, report: dict[str, Any]) -> dict[str, str]:
    """What is drawn once for a report, as SVG data URIs by name; also written as PNG."""
    drawn = dict[str, str]()
    if report["ablation"] is not None:
        drawn["ablation"] = _svg(save(plots.ablation(report["ablation"]["variants"]), folder / "ablation.png"))
    found = report["resources"]
    drawn["resources"] = _svg(save(charts.resources(found["units"], found, found["budget"]), folder / "resources.png"))
    cases = {task: case for task, case in report["worst_case"].items() if case}
    if cases and report["bit_exact"]:
        drawn["worst"] = _svg(save(charts.worst_cases(cases), folder / "worst-case.png"))
    alike = [row for row in report["peers"] if not row["ours"] or row["model"] == OTHERS_MODEL]  # nothing else compares
    if report["bit_exact"] and any(row["ours"] for row in alike):
        drawn["peers"] = _svg(save(charts.peers(alike), folder / "peers.png"))
    return drawn


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
        source = (importlib.resources.files("moesaic.report") / "report.html.j2").read_text(encoding="utf-8")
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters |= {"number": _number, "share": _share, "code": _code, "likeness": in_words}
        return environment.from_string(source).render(
            r=report,
            input=_uri(folder / INPUT),
            pictures=pictures,
            meanings=MEANINGS,
            classes=[
                (name, "#{:02x}{:02x}{:02x}".format(*colour))
                for name, colour in zip(CLASSES, PALETTE.tolist(), strict=True)
            ],
            common=_common_plots(folder, report),
            drawn={task: _task_plots(folder, task, report, data) for task in report["tasks"]},
        )
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:  # writing failed
            raise
        raise InputError(
            f"folder must hold all that `moesaic run` wrote, not {str(folder)!r} ({type(error).__name__}: {error})"
        ) from error


def render_page(folder: Path) -> Path:
    """Write report.html of a result folder (whole or not at all) and return its path."""
    page = folder / PAGE
    put_file(page, render_html(folder).encode())
    return page
