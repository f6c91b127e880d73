"""Who gives data to whom in an accelerator, read from the hierarchy that is exported."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from moesaic.hw.amaranth_rtlil import component_rtlil
from moesaic.hw.export import TOP
from moesaic.hw.rtlil.design import Item, Module, parse, signals_of
from moesaic.hw.rtlil.prune import drivers_and_readers
from moesaic.hw.rtlil.tidy import tidy
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.top import Accelerator
from moesaic.hw.verilog import PREFIX

__all__ = ["Box", "Hierarchy", "hierarchy"]

CORE = "core"  # the one unit whose parts are boxes of their own
BUFFER = "_buffer"  # units of these names pass on what they get
LEAST_BITS = 16  # of what counts as data
# What reaches every unit, or only says where data lie.
NO_DATA = ("rw", "retired")

Net = tuple[str, str]  # module instance ("" is the top) and wire


@dataclass(frozen=True)
class Box:
    """A unit: its name among its siblings, where its class stands, and whether it is a part of the core."""

    name: str
    source: str
    in_core: bool


@dataclass(frozen=True)
class Hierarchy:
    """Units of an accelerator and what flows between them.

    Parameters
    ----------
    boxes : tuple of Box
    flows : mapping of (from, to) to tuple of str
        Names of units, and of the members that carry the data.
    """

    boxes: tuple[Box, ...]
    flows: Mapping[tuple[str, str], tuple[str, ...]]


@dataclass
class _Nets:
    """Wires of the top and of the core, and who is at them."""

    readers: dict[Net, list[str]] = field(default_factory=lambda: defaultdict(list))
    drivers: dict[Net, list[tuple[str, str, int]]] = field(default_factory=lambda: defaultdict(list))
    leads_to: dict[Net, set[Net]] = field(default_factory=lambda: defaultdict(set))

    def from_here(self, net: Net) -> set[Net]:
        """The net and all that follow it."""
        seen, waiting = {net}, [net]
        while waiting:
            new = self.leads_to.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        return seen


def _placed(cell: Item, modules: Mapping[str, Module]) -> Iterator[tuple[Item, list[str]]]:
    """Ports of a unit, with the wires that are connected to each."""
    for port in modules[cell.type].ports:
        yield port, [part.name for part in signals_of(cell.port(port.name))]


def _add_units(nets: _Nets, where: str, modules: Mapping[str, Module], cells: list[Item]) -> None:
    for cell in cells:
        name = cell.name[1:]
        for port, wires in _placed(cell, modules):
            for wire in wires:
                net: Net = (where, wire)
                if name == CORE:
                    inner: Net = (CORE, port.name)
                    start, end = (net, inner) if port.direction == "input" else (inner, net)
                    nets.leads_to[start].add(end)
                elif port.direction == "input":
                    nets.readers[net].append(name)
                else:
                    nets.drivers[net].append((name, port.name[1:], port.width))


def _add_logic(nets: _Nets, where: str, module: Module, modules: Mapping[str, Module]) -> None:
    """What the core computes between its parts; between the units of the top only what is wired."""
    for left, right in module.connections:
        for source in signals_of(right):
            nets.leads_to[where, source.name] |= {(where, part.name) for part in signals_of(left)}
    for item in module.items if where == CORE else ():
        if item.kind == "process":
            driven, read = drivers_and_readers(item, modules)
            for wire in read:
                nets.leads_to[where, wire] |= {(where, name) for name in driven}


def _is_data(member: str, bits: int) -> bool:
    return bits >= LEAST_BITS and member not in NO_DATA and not member.endswith("address")


def _through_buffers(flows: Mapping[tuple[str, str], set[str]]) -> dict[tuple[str, str], set[str]]:
    """The same without the buffers: who gives to one gives to whom it passes that on."""
    result: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (source, target), members in flows.items():
        if source.endswith(BUFFER):
            continue
        if not target.endswith(BUFFER):
            result[source, target] |= members
            continue
        for buffer, end in flows:
            if buffer == target and end != source:
                result[source, end] |= members
    return result


def hierarchy(config: AcceleratorConfig) -> Hierarchy:
    """Units and flows of an accelerator."""
    tidied = tidy(
        component_rtlil(Accelerator(config), name=TOP),
        top=TOP,
        prefix=PREFIX,
        checks=False,
        sources=True,
        port_attributes=None,
    )
    modules = parse(tidied.text)
    nets, boxes = _Nets(), []
    for where, name in (("", f"\\{TOP}"), (CORE, f"\\{PREFIX}_{CORE}")):
        cells = [cell for cell in modules[name].of_kind("cell") if cell.type in modules]
        _add_units(nets, where, modules, cells)
        _add_logic(nets, where, modules[name], modules)
        for cell in cells:
            unit, source = cell.name[1:], modules[cell.type].attributes.get("\\src", '""').strip('"')
            if unit != CORE and not unit.endswith(BUFFER):
                boxes.append(Box(unit, source.rpartition(":")[0], where == CORE))
    flows: dict[tuple[str, str], set[str]] = defaultdict(set)
    for net, drivers in list(nets.drivers.items()):
        for reader in {reader for end in nets.from_here(net) for reader in nets.readers.get(end, ())}:
            for unit, member, bits in drivers:
                if unit != reader and _is_data(member, bits):
                    flows[unit, reader].add(member.removesuffix("__payload"))
    return Hierarchy(
        tuple(sorted(boxes, key=lambda box: (box.in_core, box.name))),
        {pair: tuple(sorted(members)) for pair, members in sorted(_through_buffers(flows).items())},
    )
