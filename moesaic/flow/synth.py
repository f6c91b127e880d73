"""The synth stage: resources of an accelerator per unit, fit to a board, longest paths; as data and as files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moesaic.boards.board import Board, board_names, load_board
from moesaic.boards.estimate import LongPath
from moesaic.boards.synthesis.advice import advice, describe, reachable_mhz, slack
from moesaic.boards.synthesis.budget import Fit, largest_fitting
from moesaic.boards.synthesis.delays import DELAYS, Delays
from moesaic.boards.synthesis.mapping import find_yosys
from moesaic.boards.synthesis.paths import Path as TimingPath
from moesaic.boards.synthesis.structure import MANY
from moesaic.boards.synthesis.synthesise import Synthesis, synthesise_verilog
from moesaic.errors import InputError
from moesaic.flow.folder import check_replaceable, new_folder
from moesaic.flow.placed import placed_report, placed_sentence
from moesaic.flow.stages import Stages
from moesaic.hw.export import accelerator_verilog
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.records import to_plain

__all__ = ["MARKER", "fit_report", "long_path", "synth", "timing_report", "write_page"]

MARKER = "synthesis.json"
NOTE = (
    "An estimate: Yosys maps each distinct module once. Vivado packs small LUTs in pairs, moves registers into DSP "
    "slices and block RAM, optimises "
    "across modules and may choose other memories; placed designs usually take fewer LUTs than this. The processing "
    "system and SmartConnect are not in it."
)
NETS = (
    "Cell delays are published figures, net delays a model by number of loads; in the pessimistic corner nets are "
    "longer by a factor, as in a well filled device. A forecast of which paths are long, not a sign-off."
)


def _numbers(values: dict[str, int | float]) -> dict[str, int | float]:
    return {kind: int(value) if float(value).is_integer() else value for kind, value in values.items()}


def synthesise_noted(accelerator: AcceleratorConfig, *, family: str, uram: bool, stages: Stages) -> Synthesis:
    """Export and synthesise, with progress."""
    with stages.stage("verilog", f"Verilog of {accelerator.name}"):
        verilog = accelerator_verilog(accelerator, assertions=False)
    with stages.stage("synthesis", f"synthesis of {accelerator.name} with Yosys"):
        return synthesise_verilog(
            verilog, family=family, uram=uram, progress=lambda done, count: stages.note(f"{done} of {count} modules")
        )


def fit_report(synthesis: Synthesis, accelerator: AcceleratorConfig, board: Board | None) -> dict[str, Any]:
    """Resources in all and per unit, against the board's budget, or which boards of the family have room for them."""
    total = synthesis.total
    result: dict[str, Any] = {
        "accelerator": accelerator.name,
        "config_hash": accelerator.hash,
        "family": synthesis.family,
        "resources": _numbers(total.to_dict()),
        "lut_memory": synthesis.lut_memory,
        "carry8": synthesis.carry8,
        "units": {unit: _numbers(amount.to_dict()) for unit, amount in synthesis.units.items()},
        "complete": synthesis.complete,
        "unmapped": dict(synthesis.failures),
        "note": NOTE,
    }
    if board is None:
        known = [load_board(name) for name in board_names()]
        fits = {board.name: Fit(total, board.budget).fits for board in known if board.system.fabric == synthesis.family}
        result["fits_on"] = {name: fit if synthesis.complete or not fit else None for name, fit in fits.items()}
    else:
        fit = Fit(total, board.budget)
        result |= {
            "board": board.name,
            "part": board.part,
            "budget": _numbers(board.budget.to_dict()),
            "percent": {line.kind: round(line.percent, 1) if line.budget else None for line in fit.lines},
            "fits": fit.fits if synthesis.complete or not fit.fits else None,
            "excess": {line.kind: line.excess for line in fit.lines if line.excess},
        }
    return result


def long_path(path: TimingPath, delays: Delays) -> LongPath:
    """A path of the pessimistic corner, in short."""
    return LongPath(
        start=describe(path.steps[0], path),
        end=describe(path.steps[-1], path),
        delay_ns=round(path.delay, 3),
        optimistic_ns=round(path.logic + path.nets / delays.net_full, 3),
    )


def _path_report(path: TimingPath, clock_mhz: float, family: str) -> dict[str, Any]:
    delays = DELAYS[family].pessimistic
    return {
        **to_plain(long_path(path, delays)),
        "slack_ns": round(slack(path, clock_mhz, delays), 3),
        "levels": path.levels,
        "logic_ns": round(path.logic, 3),
        "net_ns": round(path.nets, 3),
        "steps": [
            {
                "cell": step.kind,
                "at": describe(step, path),
                "net_ns": round(step.net, 3),
                "loads": step.loads,
                "cell_ns": round(step.cell, 3),
            }
            for step in path.steps
        ],
        "advice": advice(path, delays),
    }


def _worst(ports: dict[str, float]) -> dict[str, float]:
    """The ten slowest ports, ns."""
    return {port: round(delay, 3) for port, delay in sorted(ports.items(), key=lambda entry: -entry[1])[:10]}


def _warning(asked_mhz: float, optimistic: Sequence[TimingPath], pessimistic: Sequence[TimingPath], d: Delays) -> str:
    """What a clock that is too fast fails on; nothing if it is not."""
    for corner, paths in (("optimistic", optimistic), ("pessimistic", pessimistic)):
        reachable = reachable_mhz(paths, d)
        if reachable is not None and reachable < asked_mhz:
            longest = max(paths, key=lambda path: path.delay)
            return (
                f"{asked_mhz:g} MHz are more than the {corner} model supports, {reachable:g} MHz: the path from "
                f"{describe(longest.steps[0], longest)} to {describe(longest.steps[-1], longest)} "
                f"takes {longest.delay:.2f} ns"
            )
    return ""


def timing_report(
    synthesis: Synthesis, *, clock_mhz: float, count: int = 10, board: Board | None = None
) -> dict[str, Any]:
    """The longest paths, the clocks that the longest allows with short nets and with those of a well filled device, and
    where the delays are from; with a board, the clock by placed distance beside them (`placed`).

    Paths are those of the pessimistic corner; each says what it takes in the optimistic one too.
    """
    delays = DELAYS[synthesis.family]
    optimistic = synthesis.timing(count).paths
    analysis = synthesis.timing(count, pessimistic=True)
    paths = analysis.paths
    return {
        "asked_mhz": clock_mhz,
        "optimistic_mhz": reachable_mhz(optimistic, delays),
        "pessimistic_mhz": reachable_mhz(paths, delays),
        "placed": placed_report(synthesis, board) if board is not None else None,
        "warning": _warning(clock_mhz, optimistic, paths, delays),
        "delays": delays.title,
        "net_full": delays.net_full,
        "sources": delays.sources,
        "uncertainty_ns": delays.uncertainty,
        "met": all(slack(path, clock_mhz, delays) >= 0 for path in paths),
        "paths": [_path_report(path, clock_mhz, synthesis.family) for path in paths],
        "ports": {"to_register": _worst(analysis.inputs), "from_register": _worst(analysis.outputs)},
        "structure": analysis.structure.to_dict(),
        "note": NETS,
    }


def synth(
    accelerator: AcceleratorConfig,
    board: Board | None,
    stages: Stages,
    *,
    timing: int = 0,
    out: Path | None = None,
    family: str = "zynqmp",
) -> dict[str, Any]:
    """Synthesise, compare with the board, and look for long paths.

    Parameters
    ----------
    accelerator : AcceleratorConfig
    board : Board or None
        None for a bare preset: nothing to compare with.
    stages : Stages
    timing : int
        How many paths to report; none if 0.
    out : Path, optional
        Folder for ``synthesis.json`` and, with paths, ``timing.md``.
    family : str
        For a bare preset.

    Returns
    -------
    dict
        What ``synthesis.json`` holds.

    Raises
    ------
    SynthesisMissing, ExportError, InputError, OSError
    """
    if out is not None:
        check_replaceable(out, marker=MARKER)
    find_yosys()  # would only be missed after the export
    family = board.system.fabric if board is not None else family
    synthesis = synthesise_noted(
        accelerator,
        family=family,
        uram=board.budget.uram > 0 if board is not None else bool(accelerator.ultra_ram),
        stages=stages,
    )
    result = fit_report(synthesis, accelerator, board)
    if board is not None and result["fits"] is False:
        with stages.stage("smaller", f"the largest preset that fits {board.name}"):
            smaller = largest_fitting(board, accelerator, started=lambda preset: stages.note(preset.name))
        result["largest_that_fits"] = smaller[0].name if smaller is not None else None
    if timing and synthesis.complete:
        with stages.stage("timing", "longest paths"):
            result["timing"] = timing_report(synthesis, clock_mhz=accelerator.clock_mhz, count=timing, board=board)
    result["wall_s"] = dict(stages.wall_s)
    if out is not None:
        with new_folder(out) as new:
            (new / MARKER).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            if "timing" in result:
                (new / "timing.md").write_text(timing_markdown(result), encoding="utf-8")
    return result


def resources_markdown(report: dict[str, Any]) -> str:
    """Resources per unit, in all and against the board, as a table."""
    titles = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram36": "BRAM36", "uram": "URAM"}

    def row(name: str, amount: dict[str, Any], form: str = ",") -> str:
        return (
            "| "
            + " | ".join([name, *("–" if amount[kind] in (0, None) else format(amount[kind], form) for kind in titles)])
            + " |"
        )

    lines = [f"| {report['accelerator']} | {' | '.join(titles.values())} |", "|---|" + "--:|" * len(titles)]
    lines += [row(unit, amount) for unit, amount in report["units"].items()]
    lines.append(row("**total**" if report["complete"] else "**total, incomplete**", report["resources"]))
    if "budget" in report:
        lines += [row(f"{report['board']} ({report['part']})", report["budget"]), row("%", report["percent"], ".1f")]
    return "\n".join(lines) + "\n"


def paths_markdown(timing: dict[str, Any]) -> str:
    """The longest paths as a table."""
    lines = [
        "| ns | optimistic | slack | levels | from | to | what would shorten it |",
        "|--:|--:|--:|--:|---|---|---|",
    ]
    lines += [
        f"| {path['delay_ns']:.2f} | {path['optimistic_ns']:.2f} | {path['slack_ns']:+.2f} | {path['levels']} "
        f"| `{path['from']}` | `{path['to']}` | {path['advice']} |"
        for path in timing["paths"]
    ]
    return "\n".join(lines) + "\n"


def structure_markdown(structure: dict[str, Any]) -> str:
    """What placement stumbles over, in a sentence."""
    widest = structure["widest"][0] if structure["widest"] else None
    return (
        f"{structure['control_sets']:,} control sets over {structure['flip_flops']:,} flip-flops; "
        f"{structure['with_reset']:,} flip-flops have a reset, {structure['reset_vectors']:,} of them in registers of "
        f"32 bits or more; {structure['wide_nets']:,} nets have more than {MANY} loads"
        + (f", the widest {widest['loads']:,} (`{widest['at']}`).\n" if widest else ".\n")
    )


def timing_markdown(report: dict[str, Any]) -> str:
    """The longest paths as a page, cell by cell."""
    timing = report["timing"]
    lines = [
        f"# Longest paths of {report['accelerator']} at {timing['asked_mhz']:g} MHz ({timing['delays']})",
        "",
        (
            f"Period {1e3 / timing['asked_mhz']:.3f} ns less {timing['uncertainty_ns']} ns of clock uncertainty. "
            f"{timing['note']}"
        ),
        "",
        paths_markdown(timing).rstrip(),
    ]
    for number, path in enumerate(timing["paths"], start=1):
        lines += [
            "",
            f"## {number}: {path['delay_ns']:.2f} ns, {path['logic_ns']:.2f} in logic, {path['net_ns']:.2f} in nets",
            "",
            "```",
            "   net  loads   cell  at",
        ]
        lines += [
            f"{step['net_ns']:6.3f} {step['loads']:6} {step['cell_ns']:6.3f}  {step['cell']:9} {step['at']}"
            for step in path["steps"]
        ]
        lines.append("```")
    return "\n".join(lines) + "\n"


def write_page(page: Path, report: dict[str, Any]) -> None:
    """Put a report's tables where a page has them: between ``<!-- synth NAME -->`` and ``<!-- end NAME -->``.

    Raises
    ------
    InputError
        If the page has no such place.
    """
    name = report.get("board", report["accelerator"])
    start, end = f"<!-- synth {name} -->\n", f"<!-- end {name} -->\n"
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise InputError(f"page {page} must have the lines {start.strip()} and {end.strip()}")
    tables = [resources_markdown(report)]
    if "timing" in report:
        timing = report["timing"]
        tables.append(
            f"Longest paths at {timing['asked_mhz']:g} MHz ({1e3 / timing['asked_mhz']:.2f} ns); {timing['delays']}; "
            f"the model supports {timing['pessimistic_mhz']:g} MHz (pessimistic) to {timing['optimistic_mhz']:g} MHz "
            f"(optimistic):\n"
        )
        tables.append(paths_markdown(timing))
        if sentence := placed_sentence(timing, "`"):
            tables.append(f"{sentence}\n")
        tables.append(structure_markdown(timing["structure"]))
    page.write_text("".join([before, start, "\n".join(tables), end, after]), encoding="utf-8")
