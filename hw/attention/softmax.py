"""Single-pass softmax: one block of scores per cycle, and stored distances as the probabilities that are streamed."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.shared import Shared
from moesaic.hw.spec.tables import DISTANCE_BITS, NO_KEY, level_limits, neighbours, power_table, probability_table
from moesaic.hw.vector.pipeline import delay, delay_valid, lookup
from moesaic.hw.vector.reduce import AdderTree, MaxTree, tree_latency

__all__ = [
    "LAG_BITS",
    "LEVEL_BITS",
    "MAXIMUM_BITS",
    "LoneKey",
    "Probabilities",
    "SoftmaxBlock",
    "code_latency",
    "distance_layout",
]

MAXIMUM_BITS = 9  # signed integer maximum of int16 with 8 fraction bits: -128..128
LEVEL_BITS = 11  # signed, quarters of a power of two: from 4 below four times a maximum to 12 above
LAG_BITS = 12  # signed: a level less four times a maximum
_MOST_LAG = 127  # quarters: enough for any probability to be 0


def distance_layout() -> data.StructLayout:
    """A lone key of a query: its distance from the maximum of its block, and that maximum."""
    return data.StructLayout({"code": unsigned(8), "maximum": signed(MAXIMUM_BITS)})


class _Distance(wiring.Component):
    """The code of ``maximum - t / 256``, that of a missing key if not `valid`: `golden.numerics.distance_code`."""

    LATENCY = 3

    t: Signal
    maximum: Signal
    valid: Signal
    o: Signal

    def __init__(self) -> None:
        super().__init__({"t": In(signed(16)), "maximum": In(signed(MAXIMUM_BITS)), "valid": In(1), "o": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        above = Signal(18, reset_less=True)  # distance and 1
        m.d.sync += above.eq((self.maximum + 1).shift_left(8) - self.t)

        # The leading one and seven bits after it, of which the last one rounds.
        exponent = Signal(2)
        m.d.comb += exponent.eq(Mux(above[10:].any(), Cat(above[11:].any(), 1), above[9]))
        top = Signal(8, reset_less=True)
        place = Signal(2, reset_less=True)
        beyond = Signal(reset_less=True)
        m.d.sync += [
            top.eq((above >> exponent)[1:9]),
            place.eq(exponent),
            beyond.eq(above[12:].any() | ~delay(m, self.valid, 1, name="valid")),
        ]

        code = Signal(9)
        m.d.comb += code.eq(Cat(top[1:7], place) + top[0])
        m.d.sync += self.o.eq(Mux(beyond | code[8], NO_KEY, code))
        return m


def code_latency(rows: int) -> int:
    """Cycles from a block of `rows` scores to its maximum and its distances."""
    return 1 + tree_latency(rows) + _Distance.LATENCY


class SoftmaxBlock(wiring.Component):
    """One block of keys of one query: distances from the block's maximum, and the level that it asks for.

    Computes ``golden.numerics.softmax_block`` bit for bit over the keys of `i_mask`, as of a query's first block. One
    block per cycle; codes and maximum come `code_at` cycles later, the level `latency` cycles later; no back pressure;
    `o_valid`, with the level, is 0 after reset.

    Parameters
    ----------
    rows : int
        Keys per block.
    bits : int
        Of the streamed probabilities; ``neighbours(bits)`` divides `rows`.

    Members
    -------
    i_valid : In(1)
    i_t : In([rows] signed(16)), scores in log2 units, 8 fraction bits
    i_mask : In(rows), the keys that exist: one at least
    o_code : Out([rows] unsigned(8)), `NO_KEY` where masked
    o_max : Out(signed(MAXIMUM_BITS))
    o_valid : Out(1)
    o_level : Out(signed(LEVEL_BITS))

    Raises
    ------
    ValueError
        If there are no rows, or too few for the neighbours.
    """

    i_valid: Signal
    i_t: data.View
    i_mask: Signal
    o_code: data.View
    o_max: Signal
    o_valid: Signal
    o_level: Signal

    def __init__(self, *, rows: int, bits: int) -> None:
        if rows < 1:
            raise ValueError(f"rows must be positive, not {rows!r}")
        if rows % neighbours(bits):
            raise ValueError(f"rows must be a multiple of {neighbours(bits)} for {bits} bits, not {rows!r}")
        self.rows, self.bits, self.size = rows, bits, neighbours(bits)
        self.code_at = code_latency(rows)
        # Powers, sums of neighbours, the largest of them, comparisons, their number.
        self.latency = self.code_at + 1 + tree_latency(self.size) + tree_latency(rows // self.size, between=1) + 2
        super().__init__(
            {
                "i_valid": In(1),
                "i_t": In(data.ArrayLayout(signed(16), rows)),
                "i_mask": In(rows),
                "o_code": Out(data.ArrayLayout(unsigned(8), rows)),
                "o_max": Out(signed(MAXIMUM_BITS)),
                "o_valid": Out(1),
                "o_level": Out(signed(LEVEL_BITS)),
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
        maximum = delay(m, tree.o, _Distance.LATENCY, name="maximum")
        m.d.comb += self.o_max.eq(maximum)

        scores = delay(m, Value.cast(self.i_t), self.code_at - _Distance.LATENCY, name="scores")
        mask = delay(m, self.i_mask, self.code_at - _Distance.LATENCY, name="mask")
        for k in range(self.rows):
            m.submodules[f"lane_{k}"] = lane = Shared(_Distance)
            m.d.comb += [
                lane.t.eq(scores[16 * k : 16 * k + 16]),
                lane.maximum.eq(tree.o),
                lane.valid.eq(mask[k]),
                self.o_code[k].eq(lane.o),
            ]
        self._level(m, maximum)
        return m

    def _level(self, m: Module, maximum: Value) -> None:
        """The level at which the heaviest neighbours weigh 1 or less."""
        m.submodules.heaviest = heaviest = MaxTree(
            shape=Shape(8 + (self.size - 1).bit_length()), terms=self.rows // self.size, between=1
        )
        for number in range(self.rows // self.size):
            m.submodules[f"weight_{number}"] = weight = AdderTree(shape=Shape(8), terms=self.size)
            for place in range(self.size):
                k = number * self.size + place
                m.d.comb += weight.i[place].eq(lookup(m, power_table(), self.o_code[k][2:], bits=8, name=f"powers_{k}"))
            m.d.comb += heaviest.i[number].eq(weight.o)
        then = delay(m, maximum, self.latency - 1 - self.code_at, name="level_maximum")
        m.d.sync += self.o_level.eq(then.shift_left(2) + _quarters(m, heaviest.o, self.bits) - 4)


def _quarters(m: Module, weight: Value, bits: int) -> Signal:
    """Quarters of a power of two, from four below the maximum, at which `weight` is 1 or less; a cycle later."""
    limits = level_limits(bits)
    above = Signal(len(limits), reset_less=True)  # ones from the lowest limit on
    m.d.sync += above.eq(Cat(*(weight > limit for limit in limits)))
    quarters = Signal(range(len(limits) + 1))
    for count in range(len(limits)):
        with m.If(above[count]):
            m.d.comb += quarters.eq(count + 1)
    return quarters


class LoneKey(wiring.Component):
    """A block of a single key of one query: its distance from its maximum, and the level that it asks for.

    Computes ``golden.numerics.softmax_block`` bit for bit over one key, as of a query's first block. One key per cycle;
    distance and maximum come `CODE_AT` cycles later, the level `LATENCY` cycles later; no back pressure, no reset.

    Parameters
    ----------
    bits : int
        Of the streamed probabilities.

    Members
    -------
    t : In(signed(16)), score in log2 units, 8 fraction bits
    o : Out(distance_layout())
    o_level : Out(signed(LEVEL_BITS))
    """

    CODE_AT = 1 + _Distance.LATENCY
    LATENCY = CODE_AT + 3  # power, comparisons, their number

    t: Signal
    o: data.View
    o_level: Signal

    def __init__(self, *, bits: int) -> None:
        self.bits = bits
        super().__init__({"t": In(signed(16)), "o": Out(distance_layout()), "o_level": Out(signed(LEVEL_BITS))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.distance = distance = Shared(_Distance)
        maximum = Signal(signed(MAXIMUM_BITS), reset_less=True)
        m.d.sync += maximum.eq(self.t[8:].as_signed() + self.t[:8].any())
        m.d.comb += [
            distance.t.eq(delay(m, self.t, 1, name="t")),
            distance.maximum.eq(maximum),
            distance.valid.eq(1),
            self.o.code.eq(distance.o),
            self.o.maximum.eq(delay(m, maximum, _Distance.LATENCY, name="maximum")),
        ]
        weight = lookup(m, power_table(), self.o.code[2:], bits=8, name="power")
        then = delay(m, self.o.maximum, 2, name="level_maximum")
        m.d.sync += self.o_level.eq(then.shift_left(2) + _quarters(m, weight, self.bits) - 4)
        return m


class Probabilities(wiring.Component):
    """Stored distances as probabilities, at the query's final level: one exponential for each, rounded once.

    Computes ``golden.numerics.probability`` bit for bit, for distances and lags that are not negative together.
    One vector per cycle, `LATENCY` cycles later; no back pressure; `o_valid` is 0 after reset.

    Parameters
    ----------
    lanes : int
    groups : int
        Lags per vector; divides `lanes`.
    bits : int
        Of a probability.

    Members
    -------
    i_valid : In(1)
    i : In([lanes] unsigned(8))
    i_lag : In([groups] signed(LAG_BITS)), for ``lanes / groups`` neighbouring lanes each
    o_valid : Out(1)
    o : Out([lanes] unsigned(bits))

    Raises
    ------
    ValueError
        If the sizes do not fit together.
    """

    LATENCY = 4  # cycles

    i_valid: Signal
    i: data.View
    i_lag: data.View
    o_valid: Signal
    o: data.View

    def __init__(self, *, lanes: int, groups: int, bits: int) -> None:
        if lanes < 1:
            raise ValueError(f"lanes must be positive, not {lanes!r}")
        if groups < 1 or lanes % groups:
            raise ValueError(f"groups must divide lanes ({lanes}), not {groups!r}")
        self.lanes, self.groups, self.bits = lanes, groups, bits
        super().__init__(
            {
                "i_valid": In(1),
                "i": In(data.ArrayLayout(unsigned(8), lanes)),
                "i_lag": In(data.ArrayLayout(signed(LAG_BITS), groups)),
                "o_valid": Out(1),
                "o": Out(data.ArrayLayout(unsigned(bits), lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o_valid.eq(delay_valid(m, self.i_valid, self.LATENCY))
        size = self.lanes // self.groups
        for g in range(self.groups):
            lag = Signal(signed(8), name=f"lag_{g}", reset_less=True)
            m.d.sync += lag.eq(Mux(self.i_lag[g] > _MOST_LAG, _MOST_LAG, self.i_lag[g]))
            for k in range(g * size, (g + 1) * size):
                m.submodules[f"lane_{k}"] = lane = Shared(_Probability, bits=self.bits)
                m.d.comb += [lane.code.eq(self.i[k]), lane.lag.eq(lag), self.o[k].eq(lane.o)]
        return m


class _Probability(wiring.Component):
    """One lane; the lag comes a cycle after the code."""

    code: Signal
    lag: Signal
    o: Signal

    def __init__(self, *, bits: int) -> None:
        self.bits = bits
        super().__init__({"code": In(8), "lag": In(signed(8)), "o": Out(bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        distance = Signal(DISTANCE_BITS + 4, reset_less=True)
        for exponent in range(4):
            with m.If(self.code[DISTANCE_BITS:] == exponent):
                start = (1 << DISTANCE_BITS + exponent) - (1 << DISTANCE_BITS)
                m.d.sync += distance.eq(start + self.code[:DISTANCE_BITS].shift_left(exponent))

        quarters = Signal(8, reset_less=True)  # not negative together
        below = Signal(DISTANCE_BITS - 2, reset_less=True)
        m.d.sync += [quarters.eq(distance[DISTANCE_BITS - 2 :] + self.lag), below.eq(distance)]

        power = lookup(m, probability_table(self.bits), Cat(below, quarters[:2]), bits=self.bits + 1, name="table")
        places = Signal(4, reset_less=True)
        m.d.sync += places.eq(quarters[2:6] | quarters[6:].any().replicate(4))

        # The table has one bit below the result's point, which rounds.
        m.d.sync += self.o.eq(((power >> places) + 1)[1:])
        return m
