"""Switching activity as Vivado reads it: from Verilator's SAIF to the instance names of a board's project."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DEPTH", "PLACE", "SaifError", "Totals", "place_saif", "read_totals"]

DEPTH = 4  # levels of instances that are traced: test bench, accelerator, its units, and theirs
PLACE = ("testbench", "system_i", "accelerator_0", "inst")  # where a board's project has the accelerator (boards/project)

_INSTANCE = re.compile(r"^\s*\(INSTANCE (\S+)$")
_NET = re.compile(r"^\s*\((\S+) \(T0 (\d+)\) \(T1 (\d+)\) \(TZ 0\) \(TX 0\) \(TB 0\) \(TC (\d+)\)\)$")


class SaifError(RuntimeError):
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


def place_saif(source: Path, target: Path, *, instance: tuple[str, ...] = ("testbench", "dut")) -> Totals:
    """Write the activity of one instance under `PLACE`, whole or not at all.

    Parameters
    ----------
    source : Path
        Of Verilator (``--trace-saif``).
    target : Path
    instance : tuple of str
        Path of the accelerator in it.

    Raises
    ------
    SaifError
    """
    lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
    header = [line for line in lines if re.match(r"^\s*\((SAIFVERSION|DIRECTION|DIVIDER|TIMESCALE|DURATION)\b", line)]
    names = [found[1] for line in lines if (found := _INSTANCE.match(line))]
    if len(header) != 5 or not names:
        raise SaifError(f"{source}: must be a SAIF file of Verilator, not one of {len(header)} header lines and {len(names)} instances")
    body = list(_subtree(lines, instance, source))
    if not body:
        raise SaifError(f"{source}: must have the instance {'/'.join(instance)}, not only {', '.join(names[:4])}")
    text = ["(SAIFILE", *(line.strip() for line in header), '(PROGRAM_NAME "Moesaic")']
    text += [f"(INSTANCE {name}" for name in PLACE]
    text += [line.strip() for line in body]
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
        if found := re.match(r"^\s*\(DURATION (\d+)\)", line):
            duration = int(found[1])
        elif found := _NET.match(line):
            nets += 1
            toggles += int(found[4])
            if int(found[2]) + int(found[3]) != duration:
                raise SaifError(f"{path}, line {number}: times of {found[1]} must add up to {duration}, not {int(found[2]) + int(found[3])}")
        elif _INSTANCE.match(line):
            instances += 1
    if depth:
        raise SaifError(f"{path}: parentheses must match; {abs(depth)} are left over")
    return Totals(nets, toggles, duration, instances)
