"""Largest of a vector of signed values, and its index."""

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.vector.pipeline import delay

__all__ = ["ArgMax", "argmax_latency"]


def argmax_latency(terms: int) -> int:
    """Cycles through the tree of comparisons over `terms` values: its levels."""
    return (terms - 1).bit_length()


class ArgMax(wiring.Component):
    """Largest of `terms` signed values and its index; the lowest index wins a tie.

    One vector per cycle, `latency` cycles later, a register behind every comparison; no back pressure; no reset.

    Parameters
    ----------
    bits : int
        Width of the values.
    terms : int

    Members
    -------
    i : In([terms] signed(bits))
    o : Out(signed(bits))
    o_index : Out(range(terms))

    Raises
    ------
    ValueError
        If there are fewer than two terms.
    """

    i: data.View
    o: Signal
    o_index: Signal

    def __init__(self, *, bits: int, terms: int) -> None:
        if terms < 2:
            raise ValueError(f"terms must be 2 or more, not {terms!r}")
        self.bits, self.terms = bits, terms
        self.latency = argmax_latency(terms)
        super().__init__(
            {
                "i": In(data.ArrayLayout(signed(bits), terms)),
                "o": Out(signed(bits)),
                "o_index": Out(range(terms)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        found: list[tuple[Value, Value]] = [(self.i[k], Const(k, range(self.terms))) for k in range(self.terms)]
        level = 0
        while len(found) > 1:
            merged: list[tuple[Value, Value]] = []
            for k in range(0, len(found) - 1, 2):
                (low, low_index), (high, high_index) = found[k], found[k + 1]
                at = f"{level}_{k // 2}"
                first = Signal(name=f"first_{at}")
                value = Signal(signed(self.bits), name=f"value_{at}", reset_less=True)
                index = Signal(range(self.terms), name=f"index_{at}", reset_less=True)
                m.d.comb += first.eq(low >= high)
                m.d.sync += [value.eq(Mux(first, low, high)), index.eq(Mux(first, low_index, high_index))]
                merged.append((value, index))
            if len(found) % 2:
                value_rest, index_rest = found[-1]
                merged.append(
                    (
                        delay(m, value_rest, 1, name=f"value_rest_{level}"),
                        delay(m, index_rest, 1, name=f"index_rest_{level}"),
                    )
                )
            found, level = merged, level + 1
        m.d.comb += [self.o.eq(found[0][0]), self.o_index.eq(found[0][1])]
        return m
