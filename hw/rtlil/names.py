"""Verilog names: those of the source where there are any, and never one that must be escaped."""

import re
from collections.abc import Iterable, Mapping

from moesaic.hw.rtlil.design import Module, Part, rewrite, signals_of
from moesaic.hw.rtlil.keywords import KEYWORDS
from moesaic.hw.rtlil.prune import drivers_and_readers, memory_of

__all__ = ["REGISTERS", "TRIGGER", "module_names", "rename", "verilog_names"]

TRIGGER = "at_start"  # what Yosys puts into each `always @*` so that it runs once at the start
REGISTERS = ("$dff", "$adff")  # cells
_NUMBER = re.compile(r"\$\d+")  # what Amaranth appends to tell names apart
_FORBIDDEN = re.compile(r"\W+", re.ASCII)


class _Names:
    """Names of one module, each given once."""

    def __init__(self) -> None:
        self.taken: set[str] = {*KEYWORDS, TRIGGER}
        self.last: dict[str, int] = {}

    def take(self, base: str, *, numbered: bool = False) -> str:
        name = base
        if numbered or name in self.taken:
            number = self.last.get(base, 0 if numbered else 1)
            while name in self.taken or name == base:
                number += 1
                name = f"{base}_{number}"
            self.last[base] = number
        self.taken.add(name)
        return name


def plain(name: str) -> str:
    """A name of RTLIL as an identifier: ``\\row$3[0].x`` is ``row_0_x``."""
    result = _FORBIDDEN.sub("_", _NUMBER.sub("", name[1:])).strip("_")
    if not result or result[0].isdigit():
        result = f"n{result}"
    return f"{result}_" if result in KEYWORDS else result


def _at_ports(module: Module, modules: Mapping[str, Module]) -> dict[str, str]:
    """Signals that lead to a single port of what the module places, named for both."""
    found: dict[str, list[str]] = {}
    for cell in module.of_kind("cell"):
        if cell.type in modules:
            for line in cell.body:
                parts = signals_of(line[2:]) if line[0] == "connect" else []
                if len(parts) == 1 and len(line) <= 4:
                    found.setdefault(parts[0].name, []).append(f"{plain(cell.name)}_{plain(line[1])}")
    return {name: bases[0] for name, bases in found.items() if len(bases) == 1}


def _origins(module: Module, modules: Mapping[str, Module], names: Mapping[str, str]) -> dict[str, tuple[str, bool]]:
    """A name for what has none in the source, from what it feeds or what drives it, which may have a name already; and
    whether it is always numbered.
    """
    found: dict[str, tuple[str, bool]] = {}
    for item in module.items:
        if item.kind == "process":
            for name in sorted(drivers_and_readers(item, modules)[0]):
                found.setdefault(name, ("choice", True))
        elif item.kind == "cell":
            driven, memory = item.driven_ports(modules), memory_of(item)
            for line in item.body:
                if line[0] == "connect" and line[1] in driven:
                    if item.type in modules:
                        base = f"{plain(item.name)}_{plain(line[1])}"
                    else:
                        base = f"{plain(memory)}_read" if memory else item.type[1:]
                    for part in signals_of(line[2:]):
                        found.setdefault(part.name, (base, item.type not in modules))
    for cell in module.of_kind("cell"):
        if cell.type in REGISTERS:
            held, given = signals_of(cell.port("\\Q")), signals_of(cell.port("\\D"))
            if len(given) == 1 and held and held[0].name.startswith("\\"):
                register = names.get(held[0].name, held[0].name)[1:].removesuffix("_")
                found[given[0].name] = f"{register}_next", False
    return found


def verilog_names(module: Module, modules: Mapping[str, Module], *, keep_ports: bool) -> dict[str, str]:
    """A new name for every name of a module.

    Parameters
    ----------
    module : Module
    modules : mapping of str to Module
        All, for the directions of what it places.
    keep_ports : bool
        Leave its ports as they are: it is the top.
    """
    names = _Names()
    result: dict[str, str] = {}
    ports = module.ports
    if keep_ports:
        for port in ports:
            names.taken.add(port.name[1:])
            result[port.name] = port.name
    placed = {item.name for item in module.items if item.kind == "cell" and item.type in modules}
    shown = [item for item in [*ports, *module.items] if item.kind in ("wire", "memory") or item.name in placed]
    own = [item for item in shown if item.name.startswith("\\")]
    at_ports = _at_ports(module, modules)
    for item in sorted(own, key=lambda item: (item.direction is None, "$" in item.name)):
        if item.name not in result:
            numbered = "$" in item.name and item.kind == "wire" and not item.direction
            base = at_ports.get(item.name, "") if numbered else ""
            result[item.name] = "\\" + names.take(base or plain(item.name))
    origins = _origins(module, modules, result)
    for item in shown:
        if item.name not in result:
            base, numbered = origins.get(item.name, ("signal", True))
            result[item.name] = "\\" + names.take(base, numbered=numbered)
    for item in module.items:  # cells and processes without a name of their own: Yosys sorts by it, registers last
        if item.name not in result:
            result[item.name] = f"${int(item.kind == 'cell' and item.type in REGISTERS)}{len(result):07}"
    return result


def rename(module: Module, names: Mapping[str, str]) -> None:
    """Change the names of a module's signals, memories, instances; not the ports of what it places."""

    def change(part: Part) -> Part:
        return Part(names[part.name], part.high, part.low)

    for item in module.items:
        memory = memory_of(item) if item.kind == "cell" else None
        item.name = names[item.name]
        for index, line in enumerate(item.body):
            if line[0] == "parameter":
                if line[-2] == "\\MEMID" and memory is not None:
                    item.body[index] = [*line[:-1], '"{}"'.format(names[memory].replace("\\", "\\\\"))]
            elif line[0] != "attribute":
                keep = 2 if line[0] == "connect" else 1
                item.body[index] = [*line[:keep], *rewrite(line[keep:], change)]
    module.connections = [(rewrite(left, change), rewrite(right, change)) for left, right in module.connections]


def module_names(names: Iterable[str], *, top: str, prefix: str) -> dict[str, str]:
    """Short names of modules, each told from the others by as much of its path as it takes.

    Parameters
    ----------
    names : iterable of str
        Paths of instances, ``\\accelerator.core.feeder``; the top is its first part.
    top : str
        Module that keeps its name.
    prefix : str
        Of all others.
    """
    paths = {
        name: [plain(f"\\{part}").removesuffix("_0") for part in name[1:].split(".")] for name in names if name != top
    }
    result = {top: top}
    taken = {top[1:]}
    for name, path in paths.items():
        for length in range(1, len(path) + 1):
            same = [other for other, parts in paths.items() if parts[-length:] == path[-length:]]
            if len(same) == 1:
                break
        short = "_".join([prefix, *path[-length:]])
        number = 1
        while short in taken:
            number += 1
            short = "_".join([prefix, *path[-length:], str(number)])
        taken.add(short)
        result[name] = f"\\{short}"
    return result
