"""What placement stumbles over, counted in mapped netlists: control sets, resets of registers, nets with many loads."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from moesaic.boards.synthesis.netlist import FLIP_FLOPS, Netlist

__all__ = ["MANY", "Structure", "WideNet", "control_sets", "resets", "structure"]

MANY = 256  # loads, beyond which a net is listed
_RESET = {"FDRE": "R", "FDSE": "S", "FDCE": "CLR", "FDPE": "PRE"}


@dataclass(frozen=True)
class WideNet:
    """A net with more than `MANY` loads.

    Parameters
    ----------
    where : str
        The module that drives it.
    name : str
    loads : int
    """

    where: str
    name: str
    loads: int


@dataclass(frozen=True)
class Structure:
    """Of a whole design.

    Parameters
    ----------
    flip_flops : int
        Outside DSP slices and memories.
    control_sets : int
        Sets of clock, enable and reset that flip-flops of one module share, added up over the modules; a tool that
        joins modules finds fewer. A slice holds one or two of them.
    with_reset, with_enable : int
        Flip-flops.
    reset_vectors : int
        Flip-flops with a reset of registers of 32 bits or more: data, most of them.
    wide_nets : tuple of WideNet
        The widest first.
    """

    flip_flops: int
    control_sets: int
    with_reset: int
    with_enable: int
    reset_vectors: int
    wide_nets: tuple[WideNet, ...]

    def to_dict(self) -> dict[str, object]:
        """Numbers, and the widest nets by name."""
        return {
            "flip_flops": self.flip_flops,
            "control_sets": self.control_sets,
            "with_reset": self.with_reset,
            "with_enable": self.with_enable,
            "reset_vectors": self.reset_vectors,
            "wide_nets": len(self.wide_nets),
            "widest": [{"at": f"{net.where}: {net.name}", "loads": net.loads} for net in self.wide_nets[:10]],
        }


def _controls(netlist: Netlist) -> Iterator[tuple[str, tuple[str, object, object], bool, bool]]:
    """Name of the register, control set, has a reset, has an enable; of every flip-flop."""
    for cell in netlist.cells.values():
        if cell.kind in FLIP_FLOPS:
            enable, reset = cell.pins["CE"][0], cell.pins[_RESET[cell.kind]][0]
            q = cell.pins["Q"][0]
            name = netlist.name(q) if q is not None else ""
            yield name.partition("[")[0], (cell.kind[-2:], enable, reset), reset is not None, enable is not None


def control_sets(netlist: Netlist) -> int:
    """Different control sets of a module's flip-flops."""
    return len({controls for _, controls, _, _ in _controls(netlist)})


def resets(netlist: Netlist, wide: int = 32) -> tuple[int, int, int, int]:
    """Flip-flops; those with a reset, with an enable; with a reset in registers of `wide` bits or more."""
    total = with_reset = with_enable = 0
    bits: Counter[str] = Counter()
    for name, _, reset, enable in _controls(netlist):
        total += 1
        with_reset += reset
        with_enable += enable
        if reset and name:
            bits[name] += 1
    return total, with_reset, with_enable, sum(count for count in bits.values() if count >= wide)


def structure(
    netlists: Mapping[str, Netlist], fanouts: Mapping[str, Mapping[int, int]], places: Mapping[str, int]
) -> Structure:
    """Add up all modules, each as often as it is placed.

    Parameters
    ----------
    netlists : mapping of module to Netlist
    fanouts : mapping of module to mapping of net to int
        Loads of each net, inside all modules that it reaches.
    places : mapping of module to int
    """
    sums, sets, wide = [0, 0, 0, 0], 0, []
    for module, netlist in netlists.items():
        count = places[module]
        sets += count * control_sets(netlist)
        sums = [total + count * found for total, found in zip(sums, resets(netlist), strict=True)]
        entering = set(netlist.inputs.values())
        for cell in netlist.cells.values():
            if netlist.is_child(cell):
                continue
            for _, net in netlist.output_pins(cell):
                loads = fanouts[module].get(net, 0)
                if loads > MANY and net not in entering:
                    wide.append(WideNet(module, netlist.name(net) or cell.kind, loads))
    total, with_reset, with_enable, vectors = sums
    return Structure(
        total, sets, with_reset, with_enable, vectors, tuple(sorted(wide, key=lambda net: (-net.loads, net.where)))
    )
