"""Exported Verilog taken apart: its modules, their ports, and what each places how often."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Module", "Port", "instance_paths", "places", "split_modules", "stub"]

_MODULE = re.compile(r"^module (\\\S+ |\w+ ?)\(.*?^endmodule\n", re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"^  (input|output) (?:\[(\d+):(\d+)\] )?(\\\S+ |\w+) ?;$", re.MULTILINE)
_INSTANCE = re.compile(r"^  (\\\S+|\w+) +(\\\S+|\w+) +\($", re.MULTILINE)


@dataclass(frozen=True)
class Port:
    """A port of a module.

    Parameters
    ----------
    name : str
    output : bool
    width : int, bits
    """

    name: str
    output: bool
    width: int


@dataclass(frozen=True)
class Module:
    """One module of the exported Verilog.

    Parameters
    ----------
    name : str
        Without the backslash of an escaped name.
    text : str
        From ``module`` to ``endmodule``.
    ports : tuple of Port
    children : dict of str to str
        Module by instance name.
    """

    name: str
    text: str
    ports: tuple[Port, ...]
    children: Mapping[str, str]


def _plain(name: str) -> str:
    return name.strip().removeprefix("\\")


def split_modules(verilog: str) -> dict[str, Module]:
    """The modules of Verilog text that Yosys wrote.

    Raises
    ------
    ValueError
        If there is none, or an instance of a module that is not there.
    """
    found = {_plain(match[1]): match[0] for match in _MODULE.finditer(verilog)}
    if not found:
        raise ValueError("verilog must have a module")
    result = {}
    for name, text in found.items():
        ports = tuple(
            Port(_plain(port[4]), port[1] == "output", abs(int(port[2] or 0) - int(port[3] or 0)) + 1)
            for port in _PORT.finditer(text)
        )
        children = {_plain(instance[2]): _plain(instance[1]) for instance in _INSTANCE.finditer(text)}
        if unknown := sorted({child for child in children.values() if child not in found}):
            raise ValueError(f"module {name!r} must place modules of the same text, not {unknown[0]!r}")
        result[name] = Module(name, text, ports, children)
    return result


def places(modules: Mapping[str, Module], top: str) -> dict[str, int]:
    """How often each module is in the design: the top once, what nothing places not at all."""
    counts: dict[str, int] = dict.fromkeys(modules, 0)

    def visit(name: str, count: int) -> None:
        counts[name] += count
        children: dict[str, int] = {}
        for child in modules[name].children.values():
            children[child] = children.get(child, 0) + 1
        for child, number in children.items():
            visit(child, count * number)

    visit(top, 1)
    return counts


def instance_paths(modules: Mapping[str, Module], top: str) -> dict[tuple[str, ...], str]:
    """Module by instance path from the top (the empty path)."""
    result: dict[tuple[str, ...], str] = {}

    def visit(path: tuple[str, ...], name: str) -> None:
        result[path] = name
        for instance, child in modules[name].children.items():
            visit((*path, instance), child)

    visit((), top)
    return result


def _escaped(name: str) -> str:
    return f"\\{name} "


def stub(module: Module) -> str:
    """The module as a black box: ports only."""
    names = ", ".join(_escaped(port.name) for port in module.ports)
    lines = [
        f"  {'output' if port.output else 'input'} [{port.width - 1}:0] {_escaped(port.name)};" for port in module.ports
    ]
    return "\n".join(["(* blackbox *)", f"module {_escaped(module.name)}({names});", *lines, "endmodule", ""])
