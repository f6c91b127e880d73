"""Points of structural coverage that nothing can hit, by proof: bits that Yosys finds constant, and defaults of `case`
statements that list every value.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from moesaic.flow.verify.coverage_points import CHECK, Point
from moesaic.flow.verify.passes import run_passes
from moesaic.hw.verilog import verilog_modules
from moesaic.scratch import scratch

__all__ = ["CONSTANT", "FULL", "constants", "full_cases", "unreachable"]

CONSTANT = "a bit that Yosys finds constant in every instance"
FULL = "the default of a case that lists every value"

Constants = Mapping[tuple[str, str], str]  # module and name to a character for each bit, lowest first: 0, 1 or -

_PORT = re.compile(r"(.+)\[(\d+)\]:[01]->[01]")
_TERNARY = re.compile(r"cond_(then|else): assign \S+ = (\S+) \?")
_IF = re.compile(r"(if|elsif|else): .*?\bif \(([\w.\[\]]+)\)")
_CASE = re.compile(r"case[xz]? \((\S+)\)")
_ARM = re.compile(r"(\d+)'h[0-9a-f]+(, \d+'h[0-9a-f]+)*:")


def _instances(modules: Mapping[str, Any], module: str, path: str = "") -> Iterator[tuple[str, str]]:
    """Module and path, with a dot behind it, of everything below a module, and of itself."""
    yield module, path
    for name, cell in modules[module]["cells"].items():
        if cell["type"] in modules:
            yield from _instances(modules, cell["type"], f"{path}{name}.")


def _merged(seen: Sequence[str]) -> str:
    """What is the same in all."""
    return "".join(bits[0] if len(set(bits)) == 1 else "-" for bits in zip(*seen, strict=True))


def constants(verilog: str, top: str) -> Constants:
    """Bits of nets that are constant in every instance of their module, for any inputs of the top module.

    Raises
    ------
    FailedRun
        If Yosys fails.
    """
    passes = [
        "read_verilog -sv source.sv",
        f"hierarchy -top {top}",
        "proc",
        "delete */t:$print */t:$check",
        "write_json modules.json",
        "flatten",
        "opt_clean",
        "opt -fine",
        "wreduce",
        "opt -fine",
        "write_json flat.json",
    ]
    with scratch() as work:
        (work / "source.sv").write_text(verilog, encoding="utf-8")
        run_passes(passes, cwd=work, what="look for constants")
        modules = json.loads((work / "modules.json").read_text(encoding="utf-8"))["modules"]
        nets = json.loads((work / "flat.json").read_text(encoding="utf-8"))["modules"][top]["netnames"]
    seen = defaultdict(list)
    for module, path in _instances(modules, top):
        for name, net in modules[module]["netnames"].items():
            bits = nets.get(f"{path}{name}", {"bits": len(net["bits"]) * "-"})["bits"]
            seen[module, name].append("".join(bit if bit in ("0", "1") else "-" for bit in bits))
    return {place: _merged(bits) for place, bits in seen.items()}


def full_cases(text: str) -> list[bool]:
    """For each `default:` of a module's text, whether its `case` lists every value beside it."""
    found = []
    arms: list[tuple[set[str], int]] = []
    for line in text.split("\n"):
        words = line.strip()
        if _CASE.match(words):
            arms.append((set(), 0))
        elif arms and (arm := _ARM.fullmatch(words)):
            arms[-1] = (arms[-1][0] | set(words.rstrip(":").split(", ")), int(arm[1]))
        elif words == "default:":
            values, width = arms[-1]
            found.append(len(values) == 1 << width)
        elif words == "endcase":
            arms.pop()
    return found


def _condition(place: str) -> tuple[str, str, str] | None:
    """Net, bit (or nothing) and the value that it must have for a branch to be taken."""
    if found := _TERNARY.match(place):
        value = "1" if found[1] == "then" else "0"
    elif found := _IF.match(place):
        value = "0" if found[1] == "else" else "1"
    else:
        return None
    name, _, bit = found[2].partition("[")
    return name, bit.rstrip("]"), value


def _constant(point: Point, module: str, known: Constants) -> bool:
    if point.kind == "port":
        found = _PORT.fullmatch(point.place)
        name, bit = (found[1], int(found[2])) if found else (point.place.partition(":")[0], 0)
        # A simulation begins with zeros, from which a constant 1 rises.
        return known[module, name][bit] == "0" or (known[module, name][bit], point.place[-4:]) == ("1", "1->0")
    asked = _condition(point.place)
    if asked is None:
        return False
    name, place, value = asked
    if name.partition("'")[2]:  # a literal
        return name[-1] != value
    bits = known.get((module, name))
    return bits is not None and bits[int(place or 0)] not in ("-", value)


def unreachable(verilog: str, top: str, points: Sequence[Point]) -> dict[Point, str]:
    """Points that nothing can hit, each with the reason, `CONSTANT` or `FULL`.

    Raises
    ------
    FailedRun
        If Yosys fails.
    """
    known = constants(verilog, top)
    texts = verilog_modules(verilog)
    names = {name.removeprefix("moesaic_"): name for name in texts if not CHECK.search(name)}
    result = {point: CONSTANT for point in points if _constant(point, names[point.module], known)}
    for short, name in names.items():
        for number, full in enumerate(full_cases(texts[name]), start=1):
            point = Point(short, "line", f"case: default: ({number})" if number > 1 else "case: default:")
            if full:
                result[point] = FULL
    there = frozenset(points)
    return {point: reason for point, reason in result.items() if point in there}
