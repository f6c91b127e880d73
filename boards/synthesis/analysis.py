"""Longest paths of a hierarchy of mapped modules: each module once, its ports joined to its parents'."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from moesaic.boards.synthesis.delays import Delays
from moesaic.boards.synthesis.distances import NetDelays
from moesaic.boards.synthesis.modules import Module, places
from moesaic.boards.synthesis.netlist import Netlist
from moesaic.boards.synthesis.paths import Path, Step, kind_of
from moesaic.boards.synthesis.structure import Structure, structure
from moesaic.boards.synthesis.timing import Bit, Capture, ModuleTiming, Net

__all__ = ["Analysis", "analyse", "children_first"]


def _inner_loads(netlists: Mapping[str, Netlist], order: list[str]) -> dict[str, dict[Bit, int]]:
    """Loads of every port inside its module, children first."""
    result: dict[str, dict[Bit, int]] = {}
    for name in order:
        netlist = netlists[name]
        mine: dict[Bit, int] = {}
        for bit, net in (*netlist.inputs.items(), *netlist.outputs.items()):
            count = 0
            for pin in netlist.loads.get(net, ()):
                kind = netlist.cells[pin.cell].kind
                count += result[kind].get((pin.port, pin.index), 0) if kind in result else 1
            mine[bit] = count
        result[name] = mine
    return result


def _outer_loads(
    netlists: Mapping[str, Netlist], order: list[str], inner: Mapping[str, dict[Bit, int]]
) -> dict[str, dict[Bit, int]]:
    """Loads of every output port outside its module, at most over its places; parents first."""
    result: dict[str, dict[Bit, int]] = {name: {} for name in order}
    for name in reversed(order):
        netlist = netlists[name]
        out_nets: dict[Net, int] = {}
        for bit, net in netlist.outputs.items():
            out_nets[net] = max(out_nets.get(net, 0), result[name].get(bit, 0))
        for cell in netlist.cells.values():
            if cell.kind not in netlists:
                continue
            for pin, net in netlist.output_pins(cell):
                count = out_nets.get(net, 0)
                for load in netlist.loads.get(net, ()):
                    kind = netlist.cells[load.cell].kind
                    count += inner[kind].get((load.port, load.index), 0) if kind in netlists else 1
                bit = (pin.port, pin.index)
                result[cell.kind][bit] = max(result[cell.kind].get(bit, 0), count)
    return result


def children_first(modules: Mapping[str, Module], top: str) -> list[str]:
    """Every module under a top and the top, children before those that place them."""
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        for child in dict.fromkeys(modules[name].children.values()):
            if child not in order:
                visit(child)
        order[name] = None

    visit(top)
    return list(order)


def _register(step: Step) -> str:
    name = step.name.rpartition("[")[0] if step.name.endswith("]") else step.name
    return kind_of(f"{step.where}/{name}")


@dataclass(frozen=True)
class Analysis:
    """What is known of the timing of a design.

    Parameters
    ----------
    paths : tuple of Path
        From register to register, the longest first; of those whose ends differ only in numbers (bits, lanes, rows) the
        longest.
    inputs, outputs : dict of str to float, ns
        By port of the top: from the port to the worst register behind it, from the worst register to the port.
    absorbed : dict of str to int
        Flip-flops that were moved into DSP slices and block RAM, by module.
    structure : Structure
        Control sets, resets, nets with many loads.
    """

    paths: tuple[Path, ...]
    inputs: dict[str, float]
    outputs: dict[str, float]
    absorbed: dict[str, int]
    structure: Structure


def _by_port(bits: Mapping[Bit, float]) -> dict[str, float]:
    result: dict[str, float] = {}
    for (port, _), delay in bits.items():
        result[port] = max(delay, result.get(port, delay))
    return result


def analyse(
    modules: Mapping[str, Module],
    raw: Mapping[str, dict[str, Any]],
    *,
    top: str,
    delays: Delays,
    count: int = 10,
    place: Callable[[Mapping[str, Netlist]], NetDelays] | None = None,
) -> Analysis:
    """The timing of a design: a path is found in the module where its two ends meet.

    Parameters
    ----------
    modules : mapping of str to Module
    raw : mapping of str to dict
        Mapped netlist of every module under the top.
    top : str
    delays : Delays
    count : int
        How many paths.
    place : callable, optional
        Places the design's modules (children first), where nets go by distance and not by loads.

    Raises
    ------
    TimingLoop
        If logic feeds itself.
    UntimedCell
        If a cell's delays are not known.
    """
    order = children_first(modules, top)
    netlists = {name: Netlist(modules[name], raw[name], modules) for name in order}
    inner = _inner_loads(netlists, order)
    outer = _outer_loads(netlists, order, inner)
    nets = place(netlists) if place is not None else None
    timings: dict[str, ModuleTiming] = {}
    for name in order:
        by_distance = nets.of(name) if nets is not None else None
        timings[name] = ModuleTiming(netlists[name], timings, delays, outer[name], by_distance)
    worst: dict[tuple[str, str], tuple[float, str, Capture]] = {}
    inside: dict[str, Path] = {}
    for name, timing in timings.items():
        for delay, capture in timing.endpoints():
            end = name, timing.endkind_of(capture)
            if end not in worst or delay > worst[end][0]:
                worst[end] = (delay, name, capture)
        for cell, start, stop, delay in timing.inside:
            kind = timing.netlist.cells[cell].kind
            steps = (Step("", kind, f"{cell}.{start}", 0.0, 0.0, 0), Step("", kind, f"{cell}.{stop}", 0.0, delay, 0))
            if name not in inside or delay > inside[name].delay:
                inside[name] = Path(name, steps, delay)
    paths: list[Path] = []
    seen: set[tuple[str, str, str]] = set()
    for _, name, capture in sorted(worst.values(), key=lambda entry: -entry[0]):
        path = timings[name].path(capture)
        pair = (name, _register(path.steps[0]), _register(path.steps[-1]))
        if pair not in seen:
            seen.add(pair)
            paths.append(path)
        if len(paths) == count:
            break
    paths = sorted([*paths, *inside.values()], key=lambda path: -path.delay)[:count]
    model = timings[top].model
    return Analysis(
        tuple(paths),
        _by_port(model.captures),
        _by_port(model.launches),
        {name: netlist.absorbed for name, netlist in netlists.items()},
        structure(netlists, {name: timing.fanout for name, timing in timings.items()}, places(modules, top)),
    )
