"""Longest paths of a hierarchy of mapped modules: each module once, its ports joined to its parents'."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from moesaic.boards.synthesis.arcs import arcs_of, dsp_internal
from moesaic.boards.synthesis.delays import Delays
from moesaic.boards.synthesis.modules import Module
from moesaic.boards.synthesis.netlist import FLIP_FLOPS, Netlist, Pin

__all__ = ["Analysis", "Path", "Step", "TimingLoop", "analyse"]

Bit = tuple[str, int]
Net = int
CASCADES = ("PCIN", "ACIN", "BCIN")  # of DSP slices: wires of their own
LOCAL = ("LUT", "INV", "CARRY4", "MUXF")


class TimingLoop(ValueError):
    """Combinational logic feeds itself."""


@dataclass(frozen=True)
class Step:
    """One cell of a path and the net that leads to it.

    Parameters
    ----------
    where : str
        Instance path below the module that the path is reported in, dots between.
    kind : str
        Type of the cell.
    name : str
        Name of the net that the cell drives (or of the register that it is), or nothing.
    net, cell : float, ns
        Delay of the net, then of the cell.
    loads : int
        Of the net.
    """

    where: str
    kind: str
    name: str
    net: float
    cell: float
    loads: int


@dataclass(frozen=True)
class Path:
    """A path from register to register.

    Parameters
    ----------
    module : str
        The module in which both ends meet.
    steps : tuple of Step
        From the register that launches to the one that captures (its set-up is its delay).
    delay : float, ns
        All of it, set-up included.
    """

    module: str
    steps: tuple[Step, ...]
    delay: float

    @property
    def levels(self) -> int:
        """Cells between the registers."""
        return max(len(self.steps) - 2, 0)


class _Edge(NamedTuple):
    source: Net
    target: Net
    delay: float  # net and cell
    net: float
    cell: str
    entry: Bit
    exit: Bit


class _Capture(NamedTuple):
    delay: float  # net and set-up
    net_delay: float
    net: Net
    pin: Pin


@dataclass
class _Model:
    """What a parent needs to know of a module: its ports' timing."""

    loads: dict[Bit, int]  # of input ports, and of output ports inside
    launches: dict[Bit, float]
    captures: dict[Bit, float]
    through: dict[Bit, dict[Bit, float]]
    wires: set[tuple[Bit, Bit]]


class _Timing:
    """The timing of one module, its children by their models."""

    def __init__(self, netlist: Netlist, children: Mapping[str, "_Timing"], delays: Delays, outside: Mapping[Bit, int]) -> None:
        self.netlist, self.children, self.delays = netlist, children, delays
        self.name = netlist.module.name
        self._input_nets = set(netlist.inputs.values())
        self.fanout = self._fanouts(outside)
        self.edges_to: dict[Net, list[_Edge]] = defaultdict(list)
        self.edges_from: dict[Net, list[_Edge]] = defaultdict(list)
        self.launches: dict[Net, tuple[float, Pin]] = {}
        self.captures: list[_Capture] = []
        self.inside: list[tuple[str, str, str, float]] = []  # within a DSP slice: cell, from, to, delay
        self._build()
        self.order = self._sorted()
        self.arrival, self.before = self._arrivals()
        self.model = self._model()

    # --- graph ---

    def _fanouts(self, outside: Mapping[Bit, int]) -> dict[Net, int]:
        result: dict[Net, int] = {}
        netlist = self.netlist
        for net, pins in netlist.loads.items():
            result[net] = sum(self._pin_loads(pin) for pin in pins)
        for cell in netlist.cells.values():
            if netlist.is_child(cell):
                model = self.children[cell.kind].model
                for pin, net in netlist.output_pins(cell):
                    result[net] = result.get(net, 0) + model.loads.get((pin.port, pin.index), 0)
        for bit, net in netlist.outputs.items():
            result[net] = result.get(net, 0) + outside.get(bit, 0)
        return result

    def _pin_loads(self, pin: Pin) -> int:
        kind = self.netlist.cells[pin.cell].kind
        return self.children[kind].model.loads.get((pin.port, pin.index), 0) if kind in self.children else 1

    def _net_delay(self, net: Net, driver: str, sink: str, pin: Pin) -> float:
        """Of the net to one of its sinks; nothing for an input port, whose net is counted where it starts."""
        if net in self._input_nets:
            return 0.0
        loads = self.fanout.get(net, 1)
        if driver.startswith("CARRY") and sink.startswith("CARRY") and pin.port == "CI":
            return 0.0
        if pin.port in CASCADES:
            return self.delays.net_local
        if sink.startswith("CARRY") and pin.port in ("S", "DI") and driver.startswith(("LUT", "INV")) and loads <= 2:
            return self.delays.net_local
        if driver.startswith(("LUT", "MUXF")) and sink.startswith("MUXF") and pin.port in ("I0", "I1"):
            return 0.0
        if driver.startswith(LOCAL) and sink in FLIP_FLOPS and pin.port == "D" and loads == 1:
            return self.delays.net_local
        return self.delays.net_delay(loads)

    def _build(self) -> None:
        netlist = self.netlist
        driver = {net: cell.kind for cell in netlist.cells.values() for _, net in netlist.output_pins(cell)}
        for cell in netlist.cells.values():
            pins_in = {(pin.port, pin.index): net for pin, net in netlist.input_pins(cell)}
            pins_out = {(pin.port, pin.index): net for pin, net in netlist.output_pins(cell)}
            net_delay = {bit: self._net_delay(net, driver.get(net, ""), cell.kind, Pin(cell.name, *bit)) for bit, net in pins_in.items()}
            if netlist.is_child(cell):
                model = self.children[cell.kind].model
                through = [(i, o, self._wire(net_delay[i], pins_out[o]) if (i, o) in model.wires else delay)
                           for i in pins_in for o, delay in model.through.get(i, {}).items() if o in pins_out]
                launches = {bit: delay for bit, delay in model.launches.items() if bit in pins_out}
                captures = {bit: delay for bit, delay in model.captures.items() if bit in pins_in}
            else:
                arcs = arcs_of(cell, self.delays)
                through, launches, captures = arcs.through, arcs.launches, arcs.captures
                if cell.kind.startswith("DSP48"):
                    self.inside += [(cell.name, start, end, delay) for start, end, delay in dsp_internal(cell, self.delays)]
            for i, o, delay in through:
                if i in pins_in and o in pins_out:
                    edge = _Edge(pins_in[i], pins_out[o], net_delay[i] + delay, net_delay[i], cell.name, i, o)
                    self.edges_to[edge.target].append(edge)
                    self.edges_from[edge.source].append(edge)
            for bit, delay in launches.items():
                if bit in pins_out:
                    self.launches[pins_out[bit]] = (delay, Pin(cell.name, *bit))
            for bit, setup in captures.items():
                if bit in pins_in:
                    self.captures.append(_Capture(net_delay[bit] + setup, net_delay[bit], pins_in[bit], Pin(cell.name, *bit)))

    def _wire(self, net_delay: float, out: Net) -> float:
        """A feed-through of a child is one net on both sides: the longer delay, once."""
        other = self.delays.net_delay(self.fanout.get(out, 1))
        return max(net_delay, other) - other - net_delay

    def _sorted(self) -> list[Net]:
        """Nets in the order of the logic between them."""
        waiting = {net: len(edges) for net, edges in self.edges_to.items()}
        ready = [net for net in {*self.edges_from, *self.launches, *self._input_nets} if not waiting.get(net)]
        order: list[Net] = []
        while ready:
            net = ready.pop()
            order.append(net)
            for edge in self.edges_from.get(net, ()):
                waiting[edge.target] -= 1
                if not waiting[edge.target]:
                    ready.append(edge.target)
        if stuck := [net for net, count in waiting.items() if count]:
            names = sorted(filter(None, (self.netlist.name(net) for net in stuck)))
            raise TimingLoop(f"logic of module {self.name!r} must not feed itself: {', '.join(names[:4]) or 'unnamed nets'}")
        return order

    # --- forward, from registers ---

    def _arrivals(self) -> tuple[dict[Net, float], dict[Net, _Edge | None]]:
        arrival: dict[Net, float] = {}
        before: dict[Net, _Edge | None] = {}
        for net in self.order:
            best = self.launches[net][0] if net in self.launches else None
            edge_of: _Edge | None = None
            for edge in self.edges_to.get(net, ()):
                start = arrival.get(edge.source)
                if start is not None and (best is None or start + edge.delay > best):
                    best, edge_of = start + edge.delay, edge
            if best is not None:
                arrival[net], before[net] = best, edge_of
        return arrival, before

    def _from_inputs(self) -> dict[Net, dict[Bit, float]]:
        """From each input port to the nets on the way to output ports."""
        wanted: set[Net] = set()
        stack = list(self.netlist.outputs.values())
        while stack:
            net = stack.pop()
            if net not in wanted:
                wanted.add(net)
                stack += [edge.source for edge in self.edges_to.get(net, ())]
        result: dict[Net, dict[Bit, float]] = {net: {bit: 0.0} for bit, net in self.netlist.inputs.items() if net in wanted}
        for net in self.order:
            if net in wanted:
                mine = result.get(net, {})
                for edge in self.edges_to.get(net, ()):
                    for bit, delay in result.get(edge.source, {}).items():
                        if mine.get(bit, -1.0) < delay + edge.delay:
                            mine[bit] = delay + edge.delay
                if mine:
                    result[net] = mine
        return result

    def _to_registers(self) -> dict[Net, float]:
        """From each net to the worst register behind it."""
        result: dict[Net, float] = {}
        for capture in self.captures:
            result[capture.net] = max(capture.delay, result.get(capture.net, capture.delay))
        for net in reversed(self.order):
            for edge in self.edges_from.get(net, ()):
                if edge.target in result:
                    result[net] = max(result.get(net, edge.delay + result[edge.target]), edge.delay + result[edge.target])
        return result

    def _model(self) -> _Model:
        netlist = self.netlist
        inner = {net: sum(self._pin_loads(pin) for pin in pins) for net, pins in netlist.loads.items()}
        from_inputs = self._from_inputs()
        self.to_registers = self._to_registers()
        through: dict[Bit, dict[Bit, float]] = defaultdict(dict)
        wires = set()
        for out, net in netlist.outputs.items():
            for bit, delay in from_inputs.get(net, {}).items():
                through[bit][out] = delay
                if netlist.inputs.get(bit) == net:
                    wires.add((bit, out))
        return _Model(
            loads={bit: inner.get(net, 0) for bit, net in (*netlist.inputs.items(), *netlist.outputs.items()) if inner.get(net)},
            launches={bit: self.arrival[net] for bit, net in netlist.outputs.items() if net in self.arrival},
            captures={bit: self.to_registers[net] for bit, net in netlist.inputs.items() if net in self.to_registers},
            through=through, wires=wires)

    # --- paths ---

    def _step(self, cell: str, name: str, net: Net, net_delay: float, delay: float) -> Step:
        return Step("", self.netlist.cells[cell].kind, name, net_delay, delay, self.fanout.get(net, 1))

    def _edge_steps(self, edge: _Edge) -> list[Step]:
        kind = self.netlist.cells[edge.cell].kind
        if kind not in self.children:
            return [self._step(edge.cell, self.netlist.name(edge.target), edge.source, edge.net, edge.delay - edge.net)]
        child = self.children[kind]
        steps = _below(edge.cell, child.through_steps(edge.entry, edge.exit))
        return _entered(steps, edge.net, self.fanout.get(edge.source, 1))

    def arriving_steps(self, net: Net) -> list[Step]:
        """The longest way from a register to a net."""
        edges: list[_Edge] = []
        edge = self.before[net]
        while edge is not None:
            edges.append(edge)
            net = edge.source
            edge = self.before[net]
        delay, pin = self.launches[net]
        kind = self.netlist.cells[pin.cell].kind
        if kind in self.children:
            child = self.children[kind]
            steps = _below(pin.cell, child.arriving_steps(child.netlist.outputs[pin.port, pin.index]))
        else:
            steps = [Step("", kind, self.netlist.name(net), 0.0, delay, 0)]
        for edge in reversed(edges):
            steps += self._edge_steps(edge)
        return steps

    def leaving_steps(self, net: Net) -> list[Step]:
        """The longest way from a net to a register."""
        steps: list[Step] = []
        while True:
            best: _Edge | None = None
            worst = self.to_registers[net]
            for edge in self.edges_from.get(net, ()):
                if edge.target in self.to_registers and abs(edge.delay + self.to_registers[edge.target] - worst) < 1e-9:
                    best = edge
            if best is None:
                capture = max((capture for capture in self._captures_of(net)), key=lambda capture: capture.delay)
                return steps + self.capture_steps(capture)
            steps += self._edge_steps(best)
            net = best.target

    def _captures_of(self, net: Net) -> list[_Capture]:
        if not hasattr(self, "_by_net"):
            self._by_net: dict[Net, list[_Capture]] = defaultdict(list)
            for capture in self.captures:
                self._by_net[capture.net].append(capture)
        return self._by_net[net]

    def capture_steps(self, capture: _Capture) -> list[Step]:
        """The last net, and the register or the way to it inside a child."""
        cell = self.netlist.cells[capture.pin.cell]
        if cell.kind in self.children:
            child = self.children[cell.kind]
            steps = _below(cell.name, child.leaving_steps(child.netlist.inputs[capture.pin.port, capture.pin.index]))
            return _entered(steps, capture.net_delay, self.fanout.get(capture.net, 1))
        outputs = [self.netlist.name(net) for _, net in self.netlist.output_pins(cell)]
        name = next(filter(None, outputs), "") if cell.kind in FLIP_FLOPS else cell.name
        return [self._step(cell.name, f"{name}.{capture.pin.port}" if capture.pin.port != "D" else name, capture.net, capture.net_delay,
                           capture.delay - capture.net_delay)]

    def through_steps(self, entry: Bit, exit: Bit) -> list[Step]:
        """The longest way from an input port to an output port."""
        start, end = self.netlist.inputs[entry], self.netlist.outputs[exit]
        reached: dict[Net, tuple[float, _Edge | None]] = {start: (0.0, None)}
        for net in self.order:
            for edge in self.edges_to.get(net, ()):
                if edge.source in reached:
                    delay = reached[edge.source][0] + edge.delay
                    if net not in reached or delay > reached[net][0]:
                        reached[net] = (delay, edge)
        steps: list[list[Step]] = []
        last = reached[end][1]
        while last is not None:
            steps.append(self._edge_steps(last))
            last = reached[last.source][1]
        return [step for part in reversed(steps) for step in part]

    def endpoints(self) -> Iterator[tuple[float, _Capture]]:
        """Registers (and children's inputs) that a register of this module or of a child reaches."""
        for capture in self.captures:
            if capture.net in self.arrival:
                yield self.arrival[capture.net] + capture.delay, capture

    def end_kind(self, capture: _Capture) -> str:
        """Where a path ends, without numbers."""
        cell = self.netlist.cells[capture.pin.cell]
        if cell.kind in self.children:
            return f"{_kind(cell.name)}.{_kind(capture.pin.port)}"
        outputs = (self.netlist.name(net) for _, net in self.netlist.output_pins(cell))
        port = "" if capture.pin.port == "D" else _kind(capture.pin.port)
        return f"{_kind(next(filter(None, outputs), cell.name))}.{port}"

    def path(self, capture: _Capture) -> Path:
        steps = self.arriving_steps(capture.net) + self.capture_steps(capture)
        return Path(self.name, tuple(steps), sum(step.net + step.cell for step in steps))


def _below(instance: str, steps: list[Step]) -> list[Step]:
    return [Step(f"{instance}.{step.where}" if step.where else instance, step.kind, step.name, step.net, step.cell, step.loads)
            for step in steps]


def _entered(steps: list[Step], net: float, loads: int) -> list[Step]:
    """A way that starts at an input port, with the net outside."""
    if not steps:
        return []
    first = steps[0]
    return [Step(first.where, first.kind, first.name, first.net + net, first.cell, max(loads, first.loads)), *steps[1:]]


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


def _outer_loads(netlists: Mapping[str, Netlist], order: list[str], inner: Mapping[str, dict[Bit, int]]) -> dict[str, dict[Bit, int]]:
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


def _children_first(modules: Mapping[str, Module], top: str) -> list[str]:
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        for child in dict.fromkeys(modules[name].children.values()):
            if child not in order:
                visit(child)
        order[name] = None

    visit(top)
    return list(order)


def _kind(name: str) -> str:
    """A name without its numbers: one for all bits, lanes, rows."""
    return re.sub(r"\d+", "#", name)


def _register(step: Step) -> str:
    name = step.name.rpartition("[")[0] if step.name.endswith("]") else step.name
    return _kind(f"{step.where}/{name}")


@dataclass(frozen=True)
class Analysis:
    """What is known of the timing of a design.

    Parameters
    ----------
    paths : tuple of Path
        From register to register, the longest first; of those whose ends differ only in numbers (bits, lanes, rows) the longest.
    inputs, outputs : dict of str to float, ns
        By port of the top: from the port to the worst register behind it, from the worst register to the port.
    absorbed : dict of str to int
        Flip-flops that were moved into DSP slices and block RAM, by module.
    """

    paths: tuple[Path, ...]
    inputs: dict[str, float]
    outputs: dict[str, float]
    absorbed: dict[str, int]


def _by_port(bits: Mapping[Bit, float]) -> dict[str, float]:
    result: dict[str, float] = {}
    for (port, _), delay in bits.items():
        result[port] = max(delay, result.get(port, delay))
    return result


def analyse(
    modules: Mapping[str, Module], raw: Mapping[str, dict[str, Any]], *, top: str, delays: Delays, count: int = 10,
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

    Raises
    ------
    TimingLoop
        If logic feeds itself.
    UntimedCell
        If a cell's delays are not known.
    """
    order = _children_first(modules, top)
    netlists = {name: Netlist(modules[name], raw[name], modules) for name in order}
    inner = _inner_loads(netlists, order)
    outer = _outer_loads(netlists, order, inner)
    timings: dict[str, _Timing] = {}
    for name in order:
        timings[name] = _Timing(netlists[name], timings, delays, outer[name])
    worst: dict[tuple[str, str], tuple[float, str, _Capture]] = {}
    inside: dict[str, Path] = {}
    for name, timing in timings.items():
        for delay, capture in timing.endpoints():
            end = name, timing.end_kind(capture)
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
    return Analysis(tuple(paths), _by_port(model.captures), _by_port(model.launches),
                    {name: netlist.absorbed for name, netlist in netlists.items()})
