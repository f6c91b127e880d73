"""Single-pass softmax: one block of scores per cycle, and stored probabilities brought to the final maximum."""

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.shared import Shared
from moesaic.hw.spec.tables import exp2_table
from moesaic.hw.vector.pipeline import delay, delay_valid, lookup
from moesaic.hw.vector.reduce import AdderTree, MaxTree, tree_latency

__all__ = ["MAXIMUM_BITS", "SUM_BITS", "ProbabilityShift", "SoftmaxBlock", "softmax_latency", "state_layout"]

MAXIMUM_BITS = 9  # signed integer maximum of int16 with 8 fraction bits: -128..128
SUM_BITS = 24


def state_layout() -> data.StructLayout:
    """A query's running maximum and sum."""
    return data.StructLayout({"maximum": signed(MAXIMUM_BITS), "sum": unsigned(SUM_BITS)})


class _Exponential(wiring.Component):
    """``255 * 2**(t / 256 - maximum)`` rounded to 8 bits, 0 if not `valid`: `golden.numerics.exp2_block`."""

    LATENCY = 3

    t: Signal
    maximum: Signal
    valid: Signal
    o: Signal

    def __init__(self) -> None:
        super().__init__({"t": In(signed(16)), "maximum": In(signed(MAXIMUM_BITS)), "valid": In(1), "o": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        distance = Signal(17, reset_less=True)
        m.d.sync += distance.eq(self.maximum.shift_left(8) - self.t)

        fraction = lookup(m, exp2_table(), distance[:8], bits=10, name="table")
        power = Signal(4, reset_less=True)
        m.d.sync += power.eq(distance[8:12] | distance[12:].any().replicate(4))

        # The table has two bits below the result's point; the last of them rounds.
        half = Signal(9)
        m.d.comb += half.eq((fraction >> power)[1:])
        m.d.sync += self.o.eq(Mux(delay(m, self.valid, 2, name="valid"), (half + 1)[1:], 0))
        return m


def _maximum_at(rows: int) -> int:
    """Cycles until the new maximum over `rows` keys is known."""
    return 2 + tree_latency(rows)


def softmax_latency(rows: int) -> int:
    """Cycles from a block of `rows` logits to its probabilities and its sum."""
    return _maximum_at(rows) + _Exponential.LATENCY + tree_latency(rows) + 1


class SoftmaxBlock(wiring.Component):
    """One block of keys of one query: probabilities relative to the running maximum, and the new running state.

    Computes ``golden.numerics.softmax_block`` bit for bit over the keys of `i_mask`. One block per cycle, `latency`
    cycles later; no back pressure; `o_valid` is 0 after reset. The state of a query is kept outside: its next block may
    enter `latency` cycles after this one, and later.

    Parameters
    ----------
    rows : int
        Keys per block.

    Members
    -------
    i_valid : In(1)
    i_t : In([rows] signed(16)), scores in log2 units, 8 fraction bits
    i_mask : In(rows), the keys that exist: one at least
    i_first : In(1), first block of the query: no state yet
    i_max : In(signed(MAXIMUM_BITS)), running integer maximum
    i_sum : In(SUM_BITS), running sum
    o_valid : Out(1)
    o_p : Out([rows] unsigned(8)), 0 where masked
    o_max : Out(signed(MAXIMUM_BITS))
    o_sum : Out(SUM_BITS)

    Raises
    ------
    ValueError
        If there are no rows.
    """

    i_valid: Signal
    i_t: data.View
    i_mask: Signal
    i_first: Signal
    i_max: Signal
    i_sum: Signal
    o_valid: Signal
    o_p: data.View
    o_max: Signal
    o_sum: Signal

    def __init__(self, *, rows: int) -> None:
        if rows < 1:
            raise ValueError(f"rows must be positive, not {rows!r}")
        self.rows = rows
        self.max_at = _maximum_at(rows)
        self.p_at = self.max_at + _Exponential.LATENCY
        self.latency = softmax_latency(rows)
        super().__init__(
            {
                "i_valid": In(1),
                "i_t": In(data.ArrayLayout(signed(16), rows)),
                "i_mask": In(rows),
                "i_first": In(1),
                "i_max": In(signed(MAXIMUM_BITS)),
                "i_sum": In(SUM_BITS),
                "o_valid": Out(1),
                "o_p": Out(data.ArrayLayout(unsigned(8), rows)),
                "o_max": Out(signed(MAXIMUM_BITS)),
                "o_sum": Out(SUM_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o_valid.eq(delay_valid(m, self.i_valid, self.latency))

        # Rounding up commutes with the maximum, so the tree compares 9 bits instead of 16.
        m.submodules.max_tree = tree = MaxTree(shape=Shape(MAXIMUM_BITS, True), terms=self.rows)
        lowest = Const(-1 << MAXIMUM_BITS - 1, signed(MAXIMUM_BITS))
        for k in range(self.rows):
            ceiling = Signal(signed(MAXIMUM_BITS), name=f"ceiling_{k}", reset_less=True)
            score = self.i_t[k]
            m.d.sync += ceiling.eq(Mux(self.i_mask[k], score[8:].as_signed() + score[:8].any(), lowest))
            m.d.comb += tree.i[k].eq(ceiling)

        before = self.max_at - 1
        first = delay(m, self.i_first, before, name="first")
        old = delay(m, self.i_max, before, name="old")
        maximum = Signal(signed(MAXIMUM_BITS), reset_less=True)
        m.d.sync += maximum.eq(Mux(first | (tree.o >= old), tree.o, old))
        m.d.comb += self.o_max.eq(delay(m, maximum, self.latency - self.max_at, name="maximum"))

        # The old sum moves to the new maximum; more than 31 places leave nothing of it.
        lag = Signal(MAXIMUM_BITS)
        m.d.comb += lag.eq(maximum - delay(m, old, 1, name="old_max"))
        places = Signal(5, reset_less=True)
        m.d.sync += places.eq(lag[:5] | lag[5:].any().replicate(5))
        earlier = delay(m, self.i_sum, self.max_at + 1, name="sum")
        moved = Signal(SUM_BITS, reset_less=True)
        m.d.sync += moved.eq(Mux(delay(m, first, 2, name="first_sum"), 0, earlier >> places))

        scores = delay(m, Value.cast(self.i_t), self.max_at, name="scores")
        mask = delay(m, self.i_mask, self.max_at, name="mask")
        m.submodules.sum_tree = total = AdderTree(shape=Shape(8), terms=self.rows)
        for k in range(self.rows):
            m.submodules[f"lane_{k}"] = lane = Shared(_Exponential)
            m.d.comb += [
                lane.t.eq(scores[16 * k : 16 * k + 16]),
                lane.maximum.eq(maximum),
                lane.valid.eq(mask[k]),
                total.i[k].eq(lane.o),
            ]
        m.d.comb += Value.cast(self.o_p).eq(delay(m, Value.cast(total.i), self.latency - self.p_at, name="p"))
        moved_at = self.max_at + 2
        m.d.sync += self.o_sum.eq(delay(m, moved, self.latency - 1 - moved_at, name="moved") + total.o)
        return m


class ProbabilityShift(wiring.Component):
    """Stored probabilities brought to the query's final maximum: shifted right by their group's lag, rounded.

    Computes ``golden.numerics.probability`` bit for bit.
    One vector per cycle, `LATENCY` cycles later; no back pressure; `o_valid` is 0 after reset.

    Parameters
    ----------
    lanes : int
    groups : int
        Lags per vector; divides `lanes`.

    Members
    -------
    i_valid : In(1)
    i : In([lanes] unsigned(8))
    i_lag : In([groups] unsigned(9)), for ``lanes / groups`` neighbouring lanes each
    o_valid : Out(1)
    o : Out([lanes] unsigned(8))

    Raises
    ------
    ValueError
        If the sizes do not fit together.
    """

    LATENCY = 2  # cycles

    i_valid: Signal
    i: data.View
    i_lag: data.View
    o_valid: Signal
    o: data.View

    def __init__(self, *, lanes: int, groups: int) -> None:
        if lanes < 1:
            raise ValueError(f"lanes must be positive, not {lanes!r}")
        if groups < 1 or lanes % groups:
            raise ValueError(f"groups must divide lanes ({lanes}), not {groups!r}")
        self.lanes, self.groups = lanes, groups
        vector = data.ArrayLayout(unsigned(8), lanes)
        super().__init__(
            {
                "i_valid": In(1),
                "i": In(vector),
                "i_lag": In(data.ArrayLayout(unsigned(9), groups)),
                "o_valid": Out(1),
                "o": Out(vector),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o_valid.eq(delay_valid(m, self.i_valid, self.LATENCY))
        stored = delay(m, Value.cast(self.i), 1, name="stored")
        size = self.lanes // self.groups
        for g in range(self.groups):
            lag = self.i_lag[g]
            places = Signal(4, name=f"places_{g}", reset_less=True)
            m.d.sync += places.eq(lag[:4] | lag[4:].any().replicate(4))
            for k in range(g * size, (g + 1) * size):
                half = Signal(9, name=f"half_{k}")
                m.d.comb += half.eq(stored[8 * k : 8 * k + 8].shift_left(1) >> places)
                m.d.sync += self.o[k].eq((half + 1)[1:])
        return m
