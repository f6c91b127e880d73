"""GELU of int16 with 10 fraction bits: ReLU minus an interpolated table."""

import itertools

from amaranth.hdl import Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.shared import Shared
from moesaic.hw.spec.tables import GELU_FRACTION_BITS, GELU_KNOT_BITS, GELU_STEP_LOG2, gelu_knots
from moesaic.hw.vector.multiply import LutMultiply
from moesaic.hw.vector.pipeline import delay, delay_valid, lookup
from moesaic.hw.vector.reduce import tree_latency

__all__ = ["UNIT", "Gelu"]

_BELOW = GELU_FRACTION_BITS - GELU_STEP_LOG2  # bits of the input below a knot
_PRODUCT_FRACTION_BITS = 21  # of a knot (16) times the position between knots (5)


class _Lane(wiring.Component):
    """One lane of `Gelu`."""

    LATENCY = 5 + tree_latency(_BELOW)

    i: Signal
    o: Signal

    def __init__(self) -> None:
        super().__init__({"i": In(signed(16)), "o": Out(signed(16))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        knots = (*gelu_knots(), 0)
        last = len(knots) - 2  # delta is zero from here on
        slope_bits = max(abs(b - a) for a, b in itertools.pairwise(knots)).bit_length() + 1

        magnitude = Signal(16, reset_less=True)
        m.d.sync += magnitude.eq(Mux(self.i[-1], -self.i, self.i))

        above, index = magnitude[_BELOW:], Signal(range(last + 1), reset_less=True)
        m.d.sync += index.eq(Mux(above >= last, last, above))

        # Neighbouring knots are in different banks, so that both are read at once.
        even = lookup(m, knots[0::2], (index + 1)[1:], bits=GELU_KNOT_BITS, name="even")
        odd = lookup(m, knots[1::2], index[1:], bits=GELU_KNOT_BITS, name="odd")
        is_odd = delay(m, index[0], 1, name="is_odd")

        shift = _PRODUCT_FRACTION_BITS - GELU_FRACTION_BITS
        slope = Signal(signed(slope_bits), reset_less=True)
        base = Signal(signed(GELU_KNOT_BITS + _BELOW + 1), reset_less=True)  # half a unit minus delta at the lower knot
        m.d.sync += [
            slope.eq(Mux(is_odd, even, odd) - Mux(is_odd, odd, even)),
            base.eq(Const(1 << shift - 1) - Mux(is_odd, odd, even).shift_left(_BELOW)),
        ]

        m.submodules.multiply = multiply = LutMultiply(a_bits=slope_bits, b_shape=unsigned(_BELOW))
        m.d.comb += [multiply.a.eq(slope), multiply.b.eq(delay(m, magnitude[:_BELOW], 3, name="position"))]

        relu = Signal(15, reset_less=True)
        m.d.sync += relu.eq(Mux(self.i[-1], 0, self.i))
        correction = Signal(signed(len(base) + 1))
        m.d.comb += correction.eq(delay(m, base, multiply.latency, name="base") - multiply.o)
        m.d.sync += self.o.eq(delay(m, relu, self.LATENCY - 2, name="relu") + (correction >> shift))
        return m


class Gelu(wiring.Component):
    """GELU in every lane: ``ReLU(x) - delta(|x|)``, delta interpolated between 136 knots of 14 bits.

    Computes ``golden.numerics.gelu`` bit for bit, for every int16. One vector per cycle, `LATENCY` cycles later;
    no back pressure; `o_valid` is 0 after reset.

    Parameters
    ----------
    lanes : int

    Members
    -------
    i_valid : In(1)
    i : In([lanes] signed(16)), 10 fraction bits
    o_valid : Out(1)
    o : Out([lanes] signed(16)), 10 fraction bits

    Raises
    ------
    ValueError
        If there are no lanes.
    """

    LATENCY = _Lane.LATENCY  # cycles

    i_valid: Signal
    i: data.View
    o_valid: Signal
    o: data.View

    def __init__(self, *, lanes: int) -> None:
        if lanes < 1:
            raise ValueError(f"lanes must be positive, not {lanes!r}")
        self.lanes = lanes
        vector = data.ArrayLayout(signed(16), lanes)
        super().__init__({"i_valid": In(1), "i": In(vector), "o_valid": Out(1), "o": Out(vector)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o_valid.eq(delay_valid(m, self.i_valid, self.LATENCY))
        for k in range(self.lanes):
            m.submodules[f"lane_{k}"] = lane = Shared(_Lane)
            m.d.comb += [lane.i.eq(self.i[k]), self.o[k].eq(lane.o)]
        return m


UNIT = Gelu  # for `hw.functions.activate`
