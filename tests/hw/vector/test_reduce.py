# amaranth: UnusedElaboratable=no
"""Trees over the lanes of a vector: exact for the largest terms, on every lane and on all of them at once."""

import itertools

import numpy as np
import pytest
from amaranth.hdl import Shape
from amaranth.sim import Simulator

from moesaic.hw.vector.reduce import AdderTree, MaxTree


def vectors(shape: Shape, terms: int) -> list[list[int]]:
    """Least and largest terms side by side in every way; then at random."""
    low, high = (-(1 << shape.width - 1), (1 << shape.width - 1) - 1) if shape.signed else (0, (1 << shape.width) - 1)
    edges = [[int(value) for value in chosen] for chosen in itertools.product((low, high), repeat=terms)]
    random = np.random.default_rng(terms).integers(low, high + 1, (200, terms))
    return edges + [[int(value) for value in row] for row in random]


def results(unit: AdderTree | MaxTree, given: list[list[int]]) -> list[int]:
    """One in a cycle, `latency` cycles later."""
    found: list[int] = []

    async def bench(ctx):
        for values in given + [[0] * unit.terms] * unit.latency:
            for k, value in enumerate(values):
                ctx.set(unit.i[k], value)
            await ctx.tick()
            found.append(ctx.get(unit.o))

    simulator = Simulator(unit)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found[unit.latency - 1 :][: len(given)]


@pytest.mark.parametrize("terms", [2, 3, 5, 8])
@pytest.mark.parametrize("shape", [Shape(9), Shape(8, True)])
def test_sums_are_exact(shape: Shape, terms: int) -> None:
    given = vectors(shape, terms)
    assert results(AdderTree(shape=shape, terms=terms), given) == [sum(values) for values in given]


@pytest.mark.parametrize(("terms", "between"), [(2, 2), (5, 2), (8, 1), (8, 2), (6, 3)])
@pytest.mark.parametrize("shape", [Shape(4), Shape(8, True)])
def test_the_largest_is_found(shape: Shape, terms: int, between: int) -> None:
    given = vectors(shape, terms)
    assert results(MaxTree(shape=shape, terms=terms, between=between), given) == [max(values) for values in given]
