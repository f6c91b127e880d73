"""The instances of a design as blocks: what each takes itself, and how many nets join each two."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from moesaic.boards.resources import Resources
from moesaic.boards.synthesis.modules import Module, instance_paths
from moesaic.boards.synthesis.netlist import Net, Netlist, Pin

__all__ = ["KINDS", "Below", "Blocks", "Joins", "blocks_of"]

KINDS = ("lut", "ff", "dsp", "bram36", "uram")
Bit = tuple[str, int]
Below = tuple[str, ...]  # instance path below a module; empty: its own cells


@dataclass
class Joins:
    """Which blocks below a module its nets join.

    Parameters
    ----------
    netlist : Netlist
    drivers : dict of net to Below
        The block that drives it; absent if it comes from outside the module.
    outputs : dict of output bit to Below
        The block that drives it.
    inputs : dict of input bit to tuple of Below
        The blocks that read it.
    wires : dict of output bit to input bit
        Outputs that are inputs.
    """

    netlist: Netlist
    drivers: dict[Net, Below] = field(default_factory=dict)
    outputs: dict[Bit, Below] = field(default_factory=dict)
    inputs: dict[Bit, tuple[Below, ...]] = field(default_factory=dict)
    wires: dict[Bit, Bit] = field(default_factory=dict)


@dataclass(frozen=True)
class Blocks:
    """A design in blocks.

    Parameters
    ----------
    paths : dict of instance path to number
    needs : array, [blocks, kinds]
        What each takes, its children aside, in the order of `KINDS`.
    weights : array, [blocks, blocks]
        Nets between each two, symmetric; a net with several readers is shared among them. On the diagonal nothing.
    joins : dict of module to Joins
    places : dict of module to list of instance path
    """

    paths: dict[tuple[str, ...], int]
    needs: NDArray[np.float64]
    weights: NDArray[np.float64]
    joins: dict[str, Joins]
    places: dict[str, list[tuple[str, ...]]]


def sinks_of(joins: Mapping[str, Joins], netlist: Netlist, pin: Pin) -> tuple[Below, ...]:
    """The blocks below a module that read a pin of one of its cells or children."""
    kind = netlist.cells[pin.cell].kind
    if kind not in joins:
        return ((),)
    return tuple((pin.cell, *below) for below in joins[kind].inputs.get((pin.port, pin.index), ()))


def _joins(netlist: Netlist, known: Mapping[str, Joins]) -> Joins:
    """Of a module, its children's being known."""
    result = Joins(netlist)
    through: list[tuple[Net, Net]] = []  # a child
    for cell in netlist.cells.values():
        for pin, net in netlist.output_pins(cell):
            if cell.kind not in known:
                result.drivers[net] = ()
                continue
            child, bit = known[cell.kind], (pin.port, pin.index)
            if bit in child.outputs:
                result.drivers[net] = (cell.name, *child.outputs[bit])
                continue
            entry = child.wires.get(bit)
            outer = cell.pins[entry[0]][entry[1]] if entry is not None and entry[0] in cell.pins else None
            if outer is not None:
                through.append((outer, net))
    while found := [(outer, net) for outer, net in through if net not in result.drivers and outer in result.drivers]:
        for outer, net in found:
            result.drivers[net] = result.drivers[outer]
    entering = {net: bit for bit, net in netlist.inputs.items()}
    for outer, net in through:  # from an input, through a child
        if outer in entering:
            entering.setdefault(net, entering[outer])
    for bit, net in netlist.outputs.items():
        if net in entering:
            result.wires[bit] = entering[net]
        elif net in result.drivers:
            result.outputs[bit] = result.drivers[net]
    readers: dict[Net, tuple[Below, ...]] = {}
    for bit, net in netlist.inputs.items():
        if net not in readers:
            pins = netlist.loads.get(net, ())
            readers[net] = tuple(dict.fromkeys(below for pin in pins for below in sinks_of(known, netlist, pin)))
        result.inputs[bit] = readers[net]
    return result


def _pulls(joins: Joins, known: Mapping[str, Joins]) -> dict[tuple[Below, Below], float]:
    """Nets between each two blocks below a module, those from outside aside."""
    result: dict[tuple[Below, Below], float] = defaultdict(float)
    for net, driver in joins.drivers.items():
        pins = joins.netlist.loads.get(net, ())
        sinks = dict.fromkeys(below for pin in pins for below in sinks_of(known, joins.netlist, pin))
        for sink in sinks:
            if sink != driver:
                result[driver, sink] += 1 / len(sinks)
    return result


def blocks_of(
    modules: Mapping[str, Module], netlists: Mapping[str, Netlist], needs: Mapping[str, Resources], top: str
) -> Blocks:
    """A design taken apart.

    Parameters
    ----------
    modules : mapping of str to Module
    netlists : mapping of str to Netlist
        Of every module under the top, children first.
    needs : mapping of str to Resources
        Of every module, its children aside.
    top : str
    """
    placed = instance_paths(modules, top)
    paths = {path: number for number, path in enumerate(placed)}
    places: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for path, name in placed.items():
        places[name].append(path)
    joins: dict[str, Joins] = {}
    weights = np.zeros((len(paths), len(paths)))
    for name, netlist in netlists.items():
        joins[name] = _joins(netlist, joins)
        for (driver, sink), pull in _pulls(joins[name], joins).items():
            for path in places[name]:
                one, other = paths[(*path, *driver)], paths[(*path, *sink)]
                weights[one, other] += pull
                weights[other, one] += pull
    table: Sequence[dict[str, int | float]] = [needs[name].to_dict() for name in placed.values()]
    amounts = np.array([[float(row[kind]) for kind in KINDS] for row in table])
    return Blocks(paths, amounts, weights, joins, dict(places))
