"""Switching activity as Vivado reads it: what Verilator traces, and its SAIF under the instance names of a board's
project.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from moesaic.errors import FailedRun
from moesaic.hw.verilog import verilog_modules

__all__ = ["PLACE", "SaifError", "Totals", "place_saif", "read_totals", "trace_registers"]

PLACE = (
    "testbench",
    "system_i",
    "accelerator_0",
    "inst",
)  # where a board's project has the accelerator (boards/project)

_OFF, _ON = "/*verilator tracing_off*/", "/*verilator tracing_on*/"
_DECLARATION = re.compile(r"  (input|output|wire|reg) (?:\[\d+:\d+\] )?(\w+)")
_REGISTER = re.compile(r"  reg (?:\[\d+:\d+\] )?(\w+)(?: = [^;]*)?;$")  # and not a memory
_CLOCKED = re.compile(r"\s+(\w+)(?: ?\[[^\]]*\])? <= ")
_DURATION = re.compile(r"^\s*\(DURATION (\d+)\)")
_INSTANCE = re.compile(r"^\s*\(INSTANCE (\S+)$")
_NET = re.compile(r"^\s*\((\S+) \(T0 (\d+)\) \(T1 (\d+)\) \(TZ 0\) \(TX 0\) \(TB 0\) \(TC (\d+)\)\)$")


class SaifError(FailedRun):
    """A file is not the SAIF that Verilator writes, or lacks an instance; the message names file and line."""


@dataclass(frozen=True)
class Totals:
    """Sums over a SAIF file.

    Parameters
    ----------
    nets : int
        Bits.
    toggles : int
    duration : int
        In units of the file's TIMESCALE.
    instances : int
    """

    nets: int
    toggles: int
    duration: int
    instances: int


def trace_registers(verilog: str, *, top: str) -> str:
    """Exported Verilog of which only the registers, and the ports of `top`, are traced.

    Synthesis keeps registers and their names, and rarely the nets between them, of which there are several times as
    many: traced too, they make most of the simulator, and an accelerator takes half an hour to build.

    Parameters
    ----------
    verilog : str
        From :func:`moesaic.hw.verilog.to_verilog`: a declaration a line.
    top : str
        Name of its top module.
    """
    lines = []
    for name, text in verilog_modules(verilog).items():
        clocked = {found[1] for line in text.splitlines() if (found := _CLOCKED.match(line))}
        registers = {found[1] for line in text.splitlines() if (found := _REGISTER.match(line))} & clocked
        for line in text.splitlines():
            declared = _DECLARATION.match(line)
            port = declared is not None and declared[1] in ("input", "output")
            # A register that is an output has two declarations, of which the first decides.
            kept = declared is None or declared[2] in registers or (port and name == top)
            lines.append(line if kept else f"{_OFF}{line}{_ON}")
    return "\n".join([*lines, ""])


def _subtree(lines: list[str], path: tuple[str, ...], source: Path) -> Iterator[str]:
    """What stands inside the instance of that path: its nets and instances."""
    open_at: list[str | None] = []
    inside = False
    for number, line in enumerate(lines, start=1):
        instance = _INSTANCE.match(line)
        if instance is not None or line.strip() == "(NET":
            if inside:
                yield line
            open_at.append(instance[1] if instance is not None else None)
            if tuple(open_at) == path:
                inside = True
        elif line.strip() == ")":
            if not open_at:
                return  # the end of the file's own parenthesis
            if tuple(open_at) == path:
                return
            open_at.pop()
            if inside:
                yield line
        elif _NET.match(line) is not None:
            if inside:
                yield line
        elif open_at:
            raise SaifError(f"{source}, line {number}: must be a net or an instance, not {line.strip()[:80]!r}")
    raise SaifError(f"{source}: must end its instances, and be written whole")


def _stretched(line: str, duration: int, factor: float) -> str:
    """A line with its times multiplied; those of a net still add up to the `duration`."""
    net = _NET.match(line)
    if net is None:
        return line
    low = round(int(net[2]) * factor)
    return f"({net[1]} (T0 {low}) (T1 {duration - low}) (TZ 0) (TX 0) (TB 0) (TC {net[4]}))"


def place_saif(
    source: Path, target: Path, *, instance: tuple[str, ...] = ("testbench", "dut"), stretch: float = 1.0
) -> Totals:
    """Write the activity of one instance under `PLACE`, whole or not at all.

    Parameters
    ----------
    source : Path
        Of Verilator (``--trace-saif``).
    target : Path
    instance : tuple of str
        Path of the accelerator in it.
    stretch : float
        By which its times are multiplied: Vivado counts toggles a second, and a simulated cycle is not as long as one
        of the board.

    Raises
    ------
    SaifError
    """
    lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
    header = [line for line in lines if re.match(r"^\s*\((SAIFVERSION|DIRECTION|DIVIDER|TIMESCALE|DURATION)\b", line)]
    names = [found[1] for line in lines if (found := _INSTANCE.match(line))]
    if len(header) != 5 or not names:
        raise SaifError(
            f"{source}: must be a SAIF file of Verilator, not one of {len(header)} header lines and {len(names)} "
            f"instances"
        )
    body = list(_subtree(lines, instance, source))
    if not body:
        raise SaifError(f"{source}: must have the instance {'/'.join(instance)}, not only {', '.join(names[:4])}")
    length = next(int(found[1]) for line in header if (found := _DURATION.match(line)))
    problem = next((line for line in body if (net := _NET.match(line)) and int(net[2]) + int(net[3]) != length), None)
    if problem is not None:
        raise SaifError(f"{source}: times of a net must add up to the duration {length}, not as in {problem.strip()!r}")
    duration = round(length * stretch)
    header = [f"(DURATION {duration})" if _DURATION.match(line) else line for line in header]
    body = [_stretched(line.strip(), duration, stretch) for line in body]
    text = ["(SAIFILE", *(line.strip() for line in header), '(PROGRAM_NAME "Moesaic")']
    text += [f"(INSTANCE {name}" for name in PLACE]
    text += body
    text += [")" for _ in PLACE] + [")", ""]
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_text("\n".join(text), encoding="utf-8")
        totals = read_totals(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return totals


def read_totals(path: Path) -> Totals:
    """Nets, toggles and duration of a SAIF file.

    Raises
    ------
    SaifError
        If its parentheses do not match, or a net's times do not add up to the duration.
    """
    nets = toggles = instances = depth = 0
    duration = 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        depth += line.count("(") - line.count(")")
        if found := _DURATION.match(line):
            duration = int(found[1])
        elif found := _NET.match(line):
            nets += 1
            toggles += int(found[4])
            if int(found[2]) + int(found[3]) != duration:
                raise SaifError(
                    f"{path}, line {number}: times of {found[1]} must add up to {duration}, not "
                    f"{int(found[2]) + int(found[3])}"
                )
        elif _INSTANCE.match(line):
            instances += 1
    if depth:
        raise SaifError(f"{path}: parentheses must match; {abs(depth)} are left over")
    return Totals(nets, toggles, duration, instances)
