"""Nets by distance held against routed paths, as ``route.json`` has them: with the instances at their ends."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moesaic.boards.routing.evidence import SHARE
from moesaic.boards.synthesis.wires import Wires

__all__ = ["Held", "held", "instance_of", "nets_between_slices", "nets_by_distance"]


@dataclass(frozen=True)
class Held:
    """One model over routed paths.

    Parameters
    ----------
    median_error, worst_error : float
        Of the delay of paths: model over routed, less one.
    median_size : float
        The median of the error's size.
    correlation : float
        Of the nets of paths, model and routed.
    factor : float
        By how much its nets must be longer so that nine of ten paths take no longer than it says.
    """

    median_error: float
    worst_error: float
    median_size: float
    correlation: float
    factor: float


def instance_of(pin: str, known: Mapping[str, int]) -> int:
    """The instance that a pin of a path is in: the longest part of its name that names one.

    Parameters
    ----------
    pin : str
        ``unit.core.loader.cell.Q``.
    known : mapping of instance path (``core.loader``) to number
        With the empty path, the top.
    """
    name = pin.removeprefix("unit").removeprefix(".")
    while name not in known:
        name = name.rpartition(".")[0]
    return known[name]


def nets_between_slices(path: Mapping[str, Any], model: Mapping[str, Any]) -> int:
    """How many nets of a path run between slices, about: those that would take what the model by loads says, at two
    loads each.
    """
    nets = path["model_ns"] - path["cells_ns"]
    return max(round(nets / (model["net_ns"] + model["net_doubling_ns"])), 1)


def nets_by_distance(count: int, apart: tuple[float, float], within: tuple[float, float], wires: Wires) -> float:
    """Nets of a path, ns: one goes from the first instance to the last, all others stay in one.

    Parameters
    ----------
    count : int
        Nets between slices.
    apart, within : tuple of float
        Columns and rows between the instances, and of a net within the last.
    wires : Wires
    """
    return wires.delay(*apart) + (count - 1) * wires.delay(*within)


def held(paths: Sequence[Mapping[str, Any]], nets_ns: Callable[[Mapping[str, Any]], float]) -> Held:
    """A model over paths of ``route.json``.

    Parameters
    ----------
    paths : sequence of mapping
    nets_ns : callable
        What it takes the nets of a path for, ns.
    """
    said = [nets_ns(path) for path in paths]
    errors = [float((path["cells_ns"] + nets) / path["routed_ns"] - 1) for path, nets in zip(paths, said, strict=True)]
    sizes: list[float] = [abs(error) for error in errors]
    factors = sorted(path["nets_ns"] / nets for path, nets in zip(paths, said, strict=True))
    return Held(
        round(statistics.median(errors), 3),
        round(errors[sizes.index(max(sizes))], 3),
        round(statistics.median(sizes), 3),
        round(statistics.correlation(said, [path["nets_ns"] for path in paths]), 2),
        round(factors[math.ceil(SHARE * len(factors)) - 1], 2),
    )
