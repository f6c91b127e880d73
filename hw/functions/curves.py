"""Curves of int16: straight lines minus an interpolated table, or nothing at all."""

import itertools

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.shared import Shared
from moesaic.hw.spec.curves import CURVES, EXACT_FRACTION_BITS, POSITION_BITS, Curve
from moesaic.hw.spec.tables import GELU_FRACTION_BITS
from moesaic.hw.vector.multiply import LutMultiply
from moesaic.hw.vector.pipeline import delay, delay_valid, lookup
from moesaic.hw.vector.reduce import tree_latency

__all__ = ["TABLES", "Curves"]

TABLES: tuple[Curve, ...] = tuple(curve for curve in CURVES.values() if curve.knots)
_KNOT_BITS = max(max(curve.knots) for curve in TABLES).bit_length()
_BELOW = EXACT_FRACTION_BITS - GELU_FRACTION_BITS  # bits that rounding drops


class _Lane(wiring.Component):
    """One lane of `Curves`. Bit k of `tables`: there is the table of ``TABLES[k]``."""

    LATENCY = 5 + tree_latency(POSITION_BITS)

    i: Signal
    active: Signal
    chosen: Signal
    o: Signal

    def __init__(self, *, tables: int) -> None:
        self.tables = [curve for k, curve in enumerate(TABLES) if tables >> k & 1]
        super().__init__({"i": In(signed(16)), "active": In(1), "chosen": In(len(self.tables)), "o": Out(signed(16))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        negative = self.i[-1]
        step = Signal()
        m.d.comb += step.eq(Cat(bit for bit, table in self._chosen() if table.step).any())
        one = 1 << GELU_FRACTION_BITS

        # Cycle 1: how far from zero, and the lines.
        magnitude = Signal(16, reset_less=True)
        lines = Signal(signed(16), reset_less=True)
        m.d.sync += [
            magnitude.eq(Mux(negative, -self.i, self.i)),
            lines.eq(Mux(negative & self.active, 0, Mux(step, one, self.i))),
        ]
        # Cycle 2: the knot below, and the one table, or none, that has it.
        # For each table, for they are large: the index, and where the knot with an even number is, of it and the next.
        index_bits = (max(len(table.knots) for table in self.tables) - 1).bit_length()
        index, even = (
            [
                Signal(index_bits, name=f"{n}_{k}", reset_less=True, attrs={"keep": "true"})
                for k in range(len(self.tables))
            ]
            for n in ("index", "even")
        )
        above = magnitude[POSITION_BITS:]
        asked = delay(m, self.chosen, 1, name="asked")
        reads = Signal(len(self.tables), reset_less=True)
        m.d.sync += [*(i.eq(above) for i in index), *(i.eq((above[:index_bits] + 1)[1:]) for i in even)]
        for k, table in enumerate(self.tables):
            m.d.sync += reads[k].eq(asked[k] & (above < len(table.knots) - 1))
        # Cycle 3: neighbouring knots are in different banks, so that both are read at once.
        lower, upper = self._knots(m, index, even, delay(m, reads, 1, name="read"))
        # Cycle 4. On the left of a step the correction is added, so knots change places and sign.
        added = delay(m, negative & step, 3, name="added")
        slope, base = self._line(m, lower, upper, added)
        m.submodules.multiply = multiply = LutMultiply(a_bits=len(slope), b_shape=unsigned(POSITION_BITS))
        m.d.comb += [multiply.a.eq(slope), multiply.b.eq(delay(m, magnitude[:POSITION_BITS], 3, name="position"))]
        correction = Signal(signed(len(base) + 1))
        m.d.comb += correction.eq(delay(m, base, multiply.latency, name="base") - multiply.o)
        m.d.sync += self.o.eq(delay(m, lines, self.LATENCY - 2, name="lines") + (correction >> _BELOW))
        return m

    def _chosen(self) -> list[tuple[Value, Curve]]:
        return list(zip(self.chosen, self.tables, strict=True))

    def _knots(self, m: Module, index: list[Signal], at_even: list[Signal], reads: Value) -> tuple[Value, Value]:
        """The knot below and the knot above, of the table that is read; 0 if none is."""
        even: Value = Const(0, _KNOT_BITS)
        odd: Value = Const(0, _KNOT_BITS)
        for k, table in enumerate(self.tables):
            bits = max(table.knots).bit_length()
            banks = table.knots[0::2], table.knots[1::2]
            addresses = at_even[k], index[k][1:]
            data_k = [
                lookup(m, bank, address[: (len(bank) - 1).bit_length()], bits=bits, name=f"{name}_{k}")
                for bank, address, name in zip(banks, addresses, ("even", "odd"), strict=True)
            ]
            even |= Mux(reads[k], data_k[0], 0)
            odd |= Mux(reads[k], data_k[1], 0)
        is_odd = delay(m, index[0][0], 1, name="is_odd")
        return Mux(is_odd, odd, even)[:_KNOT_BITS], Mux(is_odd, even, odd)[:_KNOT_BITS]

    def _line(self, m: Module, lower: Value, upper: Value, added: Value) -> tuple[Signal, Signal]:
        """Slope, and half a unit minus the correction at the lower knot."""
        steepest = max(abs(b - a) for table in self.tables for a, b in itertools.pairwise(table.knots))
        slope = Signal(signed(steepest.bit_length() + 1), reset_less=True)
        # Half a unit is 32 knot units: -k is ~k + 1, and the 1 goes where they have a 0.
        half = 1 << _BELOW - 1 - POSITION_BITS
        term = Signal(signed(_KNOT_BITS + 1))
        m.d.comb += term.eq(Cat(lower, Const(0, 1)) ^ (~added).replicate(_KNOT_BITS + 1))
        knot = Signal(signed(_KNOT_BITS + 2), reset_less=True)
        m.d.sync += [
            slope.eq(Mux(added, lower, upper) - Mux(added, upper, lower)),
            knot.eq(term + (half | ~added[0])),
        ]
        base = Signal(signed(len(knot) + POSITION_BITS))
        m.d.comb += base.eq(knot.shift_left(POSITION_BITS))
        return slope, base


class Curves(wiring.Component):
    """One of ``hw.spec.curves.CURVES`` in every lane, or the value itself: one interpolator, and a table for each.

    Computes ``golden.numerics.activation`` bit for bit, for every int16. One vector per cycle, `LATENCY` cycles later;
    no back pressure; `o_valid` is 0 after reset.

    Parameters
    ----------
    lanes : int
    tables : int
        Bit k: there is the table of ``TABLES[k]``. At least one.

    Members
    -------
    i_valid : In(1)
    i : In([lanes] signed(16))
    active : In([lanes] 1)
        A curve; else the value itself.
    chosen : In([lanes] unsigned), a bit for each table
        Its table. None: ReLU.
    o_valid : Out(1)
    o : Out([lanes] signed(16))

    Raises
    ------
    ValueError
        If there are no lanes, or no tables.
    """

    LATENCY = _Lane.LATENCY  # cycles

    i_valid: Signal
    i: data.View
    active: data.View
    chosen: data.View
    o_valid: Signal
    o: data.View

    def __init__(self, *, lanes: int, tables: int) -> None:
        if lanes < 1:
            raise ValueError(f"lanes must be positive, not {lanes!r}")
        if not 0 < tables < 1 << len(TABLES):
            raise ValueError(f"tables must be between 1 and {(1 << len(TABLES)) - 1}, not {tables!r}")
        self.lanes, self.tables = lanes, tables
        vector = data.ArrayLayout(signed(16), lanes)
        super().__init__(
            {
                "i_valid": In(1),
                "i": In(vector),
                "active": In(data.ArrayLayout(1, lanes)),
                "chosen": In(data.ArrayLayout(unsigned(tables.bit_count()), lanes)),
                "o_valid": Out(1),
                "o": Out(vector),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o_valid.eq(delay_valid(m, self.i_valid, self.LATENCY))
        for k in range(self.lanes):
            m.submodules[f"lane_{k}"] = lane = Shared(_Lane, tables=self.tables)
            m.d.comb += [
                lane.i.eq(self.i[k]),
                lane.active.eq(self.active[k]),
                lane.chosen.eq(self.chosen[k]),
                self.o[k].eq(lane.o),
            ]
        return m
