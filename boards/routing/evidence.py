"""The model of net delays held against routed paths: the same cells, nets by number of loads against nets as routed."""

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from moesaic.boards.routing.sdf import Delay, Pin, RoutedDelays
from moesaic.boards.synthesis.paths import kind_of

__all__ = ["Evidence", "NetModel", "RoutedPath", "by_loads", "evidence", "longest_paths"]

# Nets inside a slice: carry chains, and the multiplexers behind LUTs.
_INSIDE = ("FCI", "F1", "FXA", "FXB")
_CLOCKS = ("CLK", "WCK")
SHARE = 0.9  # of the longest paths that the pessimistic model must cover
LEAST = 0.5  # of the longest path: what takes less limits no clock


@dataclass(frozen=True)
class RoutedPath:
    """A path from register to register, as routed.

    Parameters
    ----------
    start, end : Pin
    cells : float, ns
        Clock to output, logic, set-up.
    nets : tuple of (float, int, str)
        Delay in ns, loads and input port of each net.
    """

    start: Pin
    end: Pin
    cells: float
    nets: tuple[tuple[float, int, str], ...]

    @property
    def routing(self) -> float:
        """Delay of its nets, ns."""
        return sum(ns for ns, _, _ in self.nets)

    @property
    def ns(self) -> float:
        """All of it."""
        return self.cells + self.routing


@dataclass(frozen=True)
class NetModel:
    """Delay of a net by its loads, ns, as `boards.synthesis.delays` has it.

    Parameters
    ----------
    one : float
        To one load.
    doubling : float
        More for every doubling.
    local : float
        From a LUT to the flip-flop of its slice.
    """

    one: float
    doubling: float
    local: float

    def of(self, loads: int, port: str) -> float:
        """A net that leads to `port`."""
        if port in _INSIDE:
            return 0.0
        if port == "DI" and loads == 1:
            return self.local
        return self.one + self.doubling * math.log2(max(loads, 1))

    def path(self, path: RoutedPath, factor: float = 1.0) -> float:
        """A path with its own cells and these nets, `factor` times as long, ns."""
        return path.cells + factor * sum(self.of(loads, port) for _, loads, port in path.nets)


@dataclass(frozen=True)
class Evidence:
    """What routed paths say about the model.

    Parameters
    ----------
    model : NetModel
        Fitted to all nets of the design: the mean, as the optimistic corner has it.
    paths : tuple of RoutedPath
        The longest to each kind of register, the longest first, down to `LEAST` of the longest.
    median_error, worst_error : float
        Of the model over these paths: model over routed, less one.
    net_full : float
        By how much nets of the model must be longer so that `SHARE` of these paths are no longer than it says.
    """

    model: NetModel
    paths: tuple[RoutedPath, ...]
    median_error: float
    worst_error: float
    net_full: float


def _arrivals(delays: RoutedDelays) -> dict[Pin, tuple[float, Delay | None]]:
    """Latest arrival at every output, and the way through the cell that it came; iterative, for chains are long."""
    found: dict[Pin, tuple[float, Delay | None]] = {}
    for root in {*delays.through, *delays.launches}:
        stack = [root]
        while stack:
            pin = stack[-1]
            if pin in found:
                stack.pop()
                continue
            before = [
                delays.nets[arc.source].source for arc in delays.through.get(pin, ()) if arc.source in delays.nets
            ]
            waiting = [other for other in before if other not in found]
            if waiting:
                found_loop = set(waiting) & set(stack)
                stack += [other for other in waiting if other not in found_loop]
                if not found_loop:
                    continue
            best: tuple[float, Delay | None] = (delays.launches.get(pin, -math.inf), None)
            for arc in delays.through.get(pin, ()):
                net = delays.nets.get(arc.source)
                if net is not None and net.source in found:
                    at = found[net.source][0] + net.ns + arc.ns
                    if at > best[0]:
                        best = (at, arc)
            found[pin] = best
    return found


def longest_paths(delays: RoutedDelays, count: int) -> list[RoutedPath]:
    """The longest path to each kind of register (names without numbers), the longest first."""
    arrivals = _arrivals(delays)
    ends: dict[str, tuple[float, Pin]] = {}
    nothing: tuple[float, Delay | None] = (-math.inf, None)
    for pin, setup in delays.setups.items():
        net = delays.nets.get(pin)
        if net is None or arrivals.get(net.source, nothing)[0] == -math.inf:
            continue
        late = arrivals[net.source][0] + net.ns + setup
        kind = f"{kind_of(pin[0])}.{pin[1]}"
        if kind not in ends or late > ends[kind][0]:
            ends[kind] = (late, pin)
    result = []
    for _, pin in sorted(ends.values(), key=lambda end: -end[0])[:count]:
        cells, nets, at = delays.setups[pin], [], pin
        while True:
            net = delays.nets[at]
            nets.append((net.ns, delays.loads[net.source], at[1]))
            arc = arrivals[net.source][1]
            if arc is None:
                cells += delays.launches[net.source]
                break
            cells += arc.ns
            at = arc.source
        result.append(RoutedPath(net.source, pin, cells, tuple(reversed(nets))))
    return result


def _fitted(delays: RoutedDelays) -> NetModel:
    """Least squares over the routed nets between slices."""
    local, routed = [], []
    for pin, net in delays.nets.items():
        port, loads = pin[1], delays.loads[net.source]
        if port in _INSIDE or port.startswith(_CLOCKS):
            continue
        if port == "DI" and loads == 1:
            local.append(net.ns)
        else:
            routed.append((math.log2(loads), net.ns))
    if not routed:
        raise ValueError("a routed design must have nets between its slices, not none")
    table = np.array([[1.0, doublings] for doublings, _ in routed])
    one, doubling = np.linalg.lstsq(table, np.array([ns for _, ns in routed]), rcond=None)[0]
    return NetModel(
        round(float(one), 3), round(max(float(doubling), 0.0), 3), round(statistics.median(local or [0.0]), 3)
    )


def evidence(delays: RoutedDelays, count: int = 500) -> Evidence:
    """Hold the model against the longest routed paths.

    Parameters
    ----------
    delays : RoutedDelays
    count : int
        Most paths.

    Raises
    ------
    ValueError
        If the design has no path from register to register.
    """
    model, found = _fitted(delays), longest_paths(delays, count)
    if not found:
        raise ValueError("a routed design must have a path from register to register, not none")
    paths = [path for path in found if path.ns >= LEAST * found[0].ns]
    errors = [model.path(path) / path.ns - 1 for path in paths]
    factors = sorted(
        path.routing / nets for path in paths if (nets := sum(model.of(loads, port) for _, loads, port in path.nets))
    )
    full = factors[min(len(factors) - 1, math.ceil(SHARE * len(factors)) - 1)] if factors else 1.0
    return Evidence(model, tuple(paths), statistics.median(errors), max(errors, key=abs), round(full, 2))


def by_loads(delays: RoutedDelays) -> list[dict[str, float]]:
    """Routed nets by their loads (in doublings): how many, median and ninth decile, ns."""
    groups = defaultdict[int, list[float]](list)
    for pin, net in delays.nets.items():
        if pin[1] not in _INSIDE and not pin[1].startswith(_CLOCKS):
            groups[delays.loads[net.source].bit_length() - 1].append(net.ns)
    return [
        {
            "loads": 1 << group,
            "nets": len(found),
            "median_ns": round(statistics.median(found), 3),
            "ninth_decile_ns": round(sorted(found)[math.ceil(0.9 * len(found)) - 1], 3),
        }
        for group, found in sorted(groups.items())
    ]
