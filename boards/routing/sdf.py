"""Delays of a placed and routed design, read from the SDF file that nextpnr writes: cells, nets, set-up times."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Delay", "Pin", "RoutedDelays", "read_sdf"]

Pin = tuple[str, str]  # cell, port
_INSTANCE = re.compile(r"\(INSTANCE (\S*)\s*\)")
_KIND = re.compile(r'\(CELLTYPE "([^"]*)"\)')
_NET = re.compile(r"\(INTERCONNECT (\S+)/(\S+) (\S+)/(\S+) \(\d+:\d+:(\d+)\)")
_CELL = re.compile(r"\(IOPATH (\S+) (\S+) \(\d+:\d+:(\d+)\)")
_SETUP = re.compile(r"\(SETUPHOLD \(posedge (\S+)\) \(\w+ (\S+)\) \((-?\d+):(-?\d+):(-?\d+)\)")
_CLOCK = re.compile(r"CLK|WCK|CK")


@dataclass(frozen=True)
class Delay:
    """From one pin to another.

    Parameters
    ----------
    source, target : Pin
    ns : float
    """

    source: Pin
    target: Pin
    ns: float


@dataclass
class RoutedDelays:
    """A design's delays in the slow corner, ns.

    Parameters
    ----------
    kinds : dict of str to str
        Type of each cell.
    nets : dict of Pin to Delay
        By the input that the net leads to.
    through : dict of Pin to list of Delay
        Of cells' combinational ways, by output.
    launches : dict of Pin to float
        Clock to output, by output.
    setups : dict of Pin to float
        By registers' inputs.
    loads : dict of Pin to int
        Inputs that an output drives.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    nets: dict[Pin, Delay] = field(default_factory=dict)
    through: dict[Pin, list[Delay]] = field(default_factory=lambda: defaultdict(list))
    launches: dict[Pin, float] = field(default_factory=dict)
    setups: dict[Pin, float] = field(default_factory=dict)
    loads: dict[Pin, int] = field(default_factory=lambda: defaultdict(int))


def _plain(name: str) -> str:
    return name.replace("\\", "")


def _blocks(text: str) -> Iterator[str]:
    """The text of each cell."""
    yield from text.split("(CELL\n")[1:]


def read_sdf(text: str) -> RoutedDelays:
    """Read what nextpnr wrote.

    Raises
    ------
    ValueError
        If there is no cell in it.
    """
    result = RoutedDelays()
    for block in _blocks(text):
        instance, kind = _INSTANCE.search(block), _KIND.search(block)
        if instance is None or kind is None:
            continue
        name = _plain(instance[1])
        if not name:
            for match in _NET.finditer(block):
                source, target = (_plain(match[1]), _plain(match[2])), (_plain(match[3]), _plain(match[4]))
                result.nets[target] = Delay(source, target, int(match[5]) / 1e3)
                result.loads[source] += 1
            continue
        result.kinds[name] = kind[1]
        for match in _CELL.finditer(block):
            start, end, ns = _plain(match[1]), (name, _plain(match[2])), int(match[3]) / 1e3
            if _CLOCK.match(start):
                result.launches[end] = max(ns, result.launches.get(end, 0.0))
            else:
                result.through[end].append(Delay((name, start), end, ns))
        for match in _SETUP.finditer(block):
            pin = (name, _plain(match[1]))
            result.setups[pin] = max(int(match[5]) / 1e3, result.setups.get(pin, -9.0))
    if not result.kinds:
        raise ValueError("an SDF file must have cells, not none")
    return result
