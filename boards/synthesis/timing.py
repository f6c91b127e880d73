"""Arrival and departure of signals in one mapped module, its children by the timing of their ports."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from moesaic.boards.synthesis.arcs import arcs_of, dsp_internal
from moesaic.boards.synthesis.delays import Delays
from moesaic.boards.synthesis.netlist import FLIP_FLOPS, Netlist, Pin
from moesaic.boards.synthesis.paths import Path, Step, below, entered, kind_of

__all__ = ["Bit", "Capture", "ModuleTiming", "Net", "TimingLoop"]

Bit = tuple[str, int]
Net = int
CASCADES = ("PCIN", "ACIN", "BCIN")  # of DSP slices: wires of their own
LOCAL = ("LUT", "INV", "CARRY4", "MUXF")


class TimingLoop(ValueError):
    """Combinational logic feeds itself."""


class _Edge(NamedTuple):
    source: Net
    target: Net
    delay: float  # net and cell
    net: float
    cell: str
    entry: Bit
    exit: Bit


class Capture(NamedTuple):
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


class ModuleTiming:
    """The timing of one module, its children by their models.

    Parameters
    ----------
    netlist : Netlist
    children : mapping of module to ModuleTiming
    delays : Delays
    outside : mapping of output bit to int
        Its loads outside the module.
    placed : callable, optional
        Delay in ns by net, pin that it leads to and loads, where nets between slices go by distance.
    """

    def __init__(
        self,
        netlist: Netlist,
        children: Mapping[str, "ModuleTiming"],
        delays: Delays,
        outside: Mapping[Bit, int],
        placed: Callable[[Net, Pin, int], float] | None = None,
    ) -> None:
        self.netlist, self.children, self.delays, self.placed = netlist, children, delays, placed
        self.name = netlist.module.name
        self._input_nets = set(netlist.inputs.values())
        self.fanout = self._fanouts(outside)
        self.edges_to: dict[Net, list[_Edge]] = defaultdict(list)
        self.edges_from: dict[Net, list[_Edge]] = defaultdict(list)
        self.launches: dict[Net, tuple[float, Pin]] = {}
        self.captures: list[Capture] = []
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
        return self.placed(net, pin, loads) if self.placed else self.delays.net_delay(loads)

    def _build(self) -> None:
        netlist = self.netlist
        driver = {net: cell.kind for cell in netlist.cells.values() for _, net in netlist.output_pins(cell)}
        for cell in netlist.cells.values():
            pins_in = {(pin.port, pin.index): net for pin, net in netlist.input_pins(cell)}
            pins_out = {(pin.port, pin.index): net for pin, net in netlist.output_pins(cell)}
            net_delay = {
                bit: self._net_delay(net, driver.get(net, ""), cell.kind, Pin(cell.name, *bit))
                for bit, net in pins_in.items()
            }
            if netlist.is_child(cell):
                model = self.children[cell.kind].model
                through = [
                    (i, o, self._wire(net_delay[i], pins_out[o]) if (i, o) in model.wires else delay)
                    for i in pins_in
                    for o, delay in model.through.get(i, {}).items()
                    if o in pins_out
                ]
                launches = {bit: delay for bit, delay in model.launches.items() if bit in pins_out}
                captures = {bit: delay for bit, delay in model.captures.items() if bit in pins_in}
            else:
                arcs = arcs_of(cell, self.delays)
                through, launches, captures = arcs.through, arcs.launches, arcs.captures
                if cell.kind.startswith("DSP48"):
                    self.inside += [
                        (cell.name, start, end, delay) for start, end, delay in dsp_internal(cell, self.delays)
                    ]
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
                    self.captures.append(
                        Capture(net_delay[bit] + setup, net_delay[bit], pins_in[bit], Pin(cell.name, *bit))
                    )

    def _wire(self, net_delay: float, out: Net) -> float:
        """A feed-through of a child is one net on both sides: the longer delay, once; by distance, that behind it."""
        if self.placed:
            return -net_delay
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
            raise TimingLoop(
                f"logic of module {self.name!r} must not feed itself: {', '.join(names[:4]) or 'unnamed nets'}"
            )
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
        result: dict[Net, dict[Bit, float]] = {
            net: {bit: 0.0} for bit, net in self.netlist.inputs.items() if net in wanted
        }
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
                    result[net] = max(
                        result.get(net, edge.delay + result[edge.target]), edge.delay + result[edge.target]
                    )
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
            loads={
                bit: inner.get(net, 0)
                for bit, net in (*netlist.inputs.items(), *netlist.outputs.items())
                if inner.get(net)
            },
            launches={bit: self.arrival[net] for bit, net in netlist.outputs.items() if net in self.arrival},
            captures={bit: self.to_registers[net] for bit, net in netlist.inputs.items() if net in self.to_registers},
            through=through,
            wires=wires,
        )

    # --- paths ---

    def _step(self, cell: str, name: str, net: Net, net_delay: float, delay: float) -> Step:
        return Step("", self.netlist.cells[cell].kind, name, net_delay, delay, self.fanout.get(net, 1))

    def _edge_steps(self, edge: _Edge) -> list[Step]:
        kind = self.netlist.cells[edge.cell].kind
        if kind not in self.children:
            return [self._step(edge.cell, self.netlist.name(edge.target), edge.source, edge.net, edge.delay - edge.net)]
        child = self.children[kind]
        steps = below(edge.cell, child.through_steps(edge.entry, edge.exit))
        return entered(steps, edge.net, self.fanout.get(edge.source, 1))

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
            steps = below(pin.cell, child.arriving_steps(child.netlist.outputs[pin.port, pin.index]))
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

    def _captures_of(self, net: Net) -> list[Capture]:
        if not hasattr(self, "_by_net"):
            self._by_net: dict[Net, list[Capture]] = defaultdict(list)
            for capture in self.captures:
                self._by_net[capture.net].append(capture)
        return self._by_net[net]

    def capture_steps(self, capture: Capture) -> list[Step]:
        """The last net, and the register or the way to it inside a child."""
        cell = self.netlist.cells[capture.pin.cell]
        if cell.kind in self.children:
            child = self.children[cell.kind]
            steps = below(cell.name, child.leaving_steps(child.netlist.inputs[capture.pin.port, capture.pin.index]))
            return entered(steps, capture.net_delay, self.fanout.get(capture.net, 1))
        outputs = [self.netlist.name(net) for _, net in self.netlist.output_pins(cell)]
        name = next(filter(None, outputs), "") if cell.kind in FLIP_FLOPS else cell.name
        return [
            self._step(
                cell.name,
                f"{name}.{capture.pin.port}" if capture.pin.port != "D" else name,
                capture.net,
                capture.net_delay,
                capture.delay - capture.net_delay,
            )
        ]

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

    def endpoints(self) -> Iterator[tuple[float, Capture]]:
        """Registers (and children's inputs) that a register of this module or of a child reaches."""
        for capture in self.captures:
            if capture.net in self.arrival:
                yield self.arrival[capture.net] + capture.delay, capture

    def endkind_of(self, capture: Capture) -> str:
        """Where a path ends, without numbers."""
        cell = self.netlist.cells[capture.pin.cell]
        if cell.kind in self.children:
            return f"{kind_of(cell.name)}.{kind_of(capture.pin.port)}"
        outputs = (self.netlist.name(net) for _, net in self.netlist.output_pins(cell))
        port = "" if capture.pin.port == "D" else kind_of(capture.pin.port)
        return f"{kind_of(next(filter(None, outputs), cell.name))}.{port}"

    def path(self, capture: Capture) -> Path:
        steps = self.arriving_steps(capture.net) + self.capture_steps(capture)
        return Path(self.name, tuple(steps), sum(step.net + step.cell for step in steps))
