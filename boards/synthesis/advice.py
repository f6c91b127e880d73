"""What would shorten a path: the remedies, and what each would leave of it."""

import re
from collections.abc import Sequence

from moesaic.boards.synthesis.delays import Delays
from moesaic.boards.synthesis.paths import Path, Step

__all__ = ["advice", "describe", "reachable_mhz", "slack"]

MANY_LOADS = 64
_NAMELESS = re.compile(r"\$(\w+)\$[^$]*\$\d+")  # Yosys's name of a cell: its operation, where it stands, a number


def slack(path: Path, clock_mhz: float, delays: Delays) -> float:
    """What a clock period leaves, ns."""
    return 1e3 / clock_mhz - delays.uncertainty - path.delay


def reachable_mhz(paths: Sequence[Path], delays: Delays) -> float | None:
    """The clock that the longest of some paths allows, MHz; None if there is no path."""
    return round(1e3 / (max(path.delay for path in paths) + delays.uncertainty), 1) if paths else None


def _place(step: Step, path: Path) -> str:
    where = ".".join(filter(None, [path.module, step.where]))
    name = _NAMELESS.sub(r"\1", step.name)
    return f"{where}: {name}" if name else f"{where} ({step.kind})"


def describe(step: Step, path: Path) -> str:
    """A register or cell by instance path and signal."""
    return _place(step, path)


def _halves(path: Path, delays: Delays) -> tuple[float, Step]:
    """The longer part if one register is put at the best place, and the cell it is put behind."""
    best, where = path.delay, path.steps[0]
    before = path.steps[0].cell
    for position, step in enumerate(path.steps[1:-1], start=1):
        before += step.net + step.cell
        after = sum(other.net + other.cell for other in path.steps[position + 1 :])
        longer = max(before + delays.net_local + delays.ff_setup, delays.ff_out + after)
        if longer < best:
            best, where = longer, step
    return best, where


def advice(path: Path, delays: Delays) -> str:
    """The remedy that leaves the least, with what it leaves, ns; then others that help."""
    remedies: list[tuple[float, str]] = []
    first, last = path.steps[0], path.steps[-1]
    if first.kind.startswith("RAMB") and first.cell > delays.bram_out_registered:
        remedies.append((path.delay - delays.bram_out + delays.bram_out_registered, "an output register on the memory"))
    if first.kind.startswith("URAM") and first.cell > delays.uram_out_registered:
        remedies.append(
            (path.delay - delays.uram_out + delays.uram_out_registered, "an output register on the UltraRAM")
        )
    for step in path.steps:
        if step.loads >= MANY_LOADS:
            text = f"copies of the driver of {step.loads} loads in front of {_place(step, path)}"
            remedies.append((path.delay - step.net + delays.net_delay(16), text))
    dsp = [step for step in path.steps[1:-1] if step.kind.startswith("DSP")]
    if dsp:
        remedies.append(
            (path.delay - dsp[0].cell + delays.dsp_clock_p, "registers around the multiplication (operands, product)")
        )
    if last.kind.startswith("DSP") and last.cell > delays.dsp_multiply:
        remedies.append((path.delay - last.cell + delays.dsp_setup, "operand registers in front of the multiplication"))
    if path.levels:
        left, where = _halves(path, delays)
        remedies.append((left, f"a register behind {_place(where, path)}"))
    remedies.sort()
    if not remedies:
        return "shorter nets: the path has no logic"
    return "; or ".join(f"{text} leaves {left:.2f} ns" for left, text in remedies[:2])
