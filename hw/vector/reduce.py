"""Balanced trees over the lanes of a vector, with a register after every level or every second one."""

from collections.abc import Callable

from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.vector.pipeline import delay

__all__ = ["AdderTree", "MaxTree", "tree_latency"]


def tree_latency(terms: int, *, between: int = 2) -> int:
    """Cycles through a tree over `terms` values: its levels, `between` registers."""
    return -(-(terms - 1).bit_length() // between)


class _Tree(wiring.Component):
    i: data.View
    o: Signal

    def __init__(self, *, shape: Shape, out_shape: Shape, terms: int, between: int = 2) -> None:
        if terms < 1:
            raise ValueError(f"terms must be positive, not {terms!r}")
        self.shape, self.out_shape, self.terms, self.between = shape, out_shape, terms, between
        self.latency = tree_latency(terms, between=between)
        super().__init__({"i": In(data.ArrayLayout(shape, terms)), "o": Out(out_shape)})

    def reduce(self, m: Module, node: Callable[[Value, Value], Value]) -> None:
        values: list[Value] = [self.i[k] for k in range(self.terms)]
        level = 0
        while len(values) > 1:
            registered = (level + 1) % self.between == 0 or len(values) == 2
            domain = m.d.sync if registered else m.d.comb
            merged: list[Value] = []
            for k in range(0, len(values) - 1, 2):
                expression = node(values[k], values[k + 1])
                result = Signal(expression.shape(), name=f"node_{level}_{k // 2}", reset_less=True)
                domain += result.eq(expression)
                merged.append(result)
            if len(values) % 2:
                merged.append(delay(m, values[-1], int(registered), name=f"rest_{level}"))
            values, level = merged, level + 1
        m.d.comb += self.o.eq(values[0])


class AdderTree(_Tree):
    """Exact sum of `terms` values; at most two adders between registers.

    One sum per cycle, `latency` cycles later; no back pressure; no reset.

    Parameters
    ----------
    shape : Shape
        Of each term.
    terms : int

    Members
    -------
    i : In(ArrayLayout(shape, terms))
    o : Out(shape widened by log2(terms) bits)

    Raises
    ------
    ValueError
        If there are no terms.
    """

    def __init__(self, *, shape: Shape, terms: int) -> None:
        out_shape = Shape(shape.width + max(terms - 1, 0).bit_length(), shape.signed)
        super().__init__(shape=shape, out_shape=out_shape, terms=terms)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self.reduce(m, lambda a, b: a + b)
        return m


class MaxTree(_Tree):
    """Largest of `terms` values; at most `between` comparisons between registers.

    One maximum per cycle, `latency` cycles later; no back pressure; no reset.

    Parameters
    ----------
    shape : Shape
        Of each term.
    terms : int
    between : int
        Comparisons, one behind the other.

    Members
    -------
    i : In(ArrayLayout(shape, terms))
    o : Out(shape)

    Raises
    ------
    ValueError
        If there are no terms.
    """

    def __init__(self, *, shape: Shape, terms: int, between: int = 2) -> None:
        super().__init__(shape=shape, out_shape=shape, terms=terms, between=between)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self.reduce(m, lambda a, b: Mux(a >= b, a, b))
        return m
