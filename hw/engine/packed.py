"""Two rows in one column of DSP slices: two int8 products per multiplication, added up along the cascade."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["LANE_BITS", "RowPair", "balanced_sum", "chain_length", "field_bits", "offset_of", "pair_latency", "sum_bits"]

LANE_BITS = 9  # streamed values: int8, or uint8 for probabilities
TREE_FANIN = 4  # terms added between two registers
_PRODUCT_LIMIT = 128 * 255  # largest product of an int8 and a value of -255..255


def chain_length(lanes: int) -> int:
    """Lanes whose products are added up from slice to slice.

    A packed weight has ``8 + field_bits`` bits: 27 with 8 lanes, all that a DSP48E2 multiplies; 25 with 2 lanes, which a DSP48E1
    (Zynq-7000) multiplies too. Arrays of up to 16 lanes are those that such a device holds.
    """
    return 8 if lanes > 16 else min(2, lanes)


def field_bits(chain: int) -> int:
    """Bits between the two weights of a slice: the lower row's sum over a chain fits, on either side of zero."""
    return (chain * _PRODUCT_LIMIT).bit_length() + 1


def sum_bits(lanes: int) -> int:
    """Width of a dot product of int8 with 9-bit values."""
    return 17 + (lanes - 1).bit_length()


def balanced_sum(terms: list[Value]) -> Value:
    """Exact sum of a power of two of terms."""
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=True)]
    return terms[0]


def _tree_stages(terms: int) -> int:
    stages = 0
    while terms > 1:
        terms = -(-terms // TREE_FANIN)
        stages += 1
    return stages


def pair_latency(lanes: int, chain: int) -> int:
    """Cycles from the registered value of class 0 to the sums: multiplier register, the chain, the adder tree."""
    return 1 + chain + _tree_stages(lanes // chain)


def offset_of(total: Value, *, chain: int) -> Value:
    """What a chain starts from, given the sum of the values that it multiplies.

    Half a field keeps the lower field from ever being negative, so that it borrows nothing from the upper one; 128 times the values
    undoes the inverted sign bit of the lower weights.
    """
    return (Const(1 << field_bits(chain) - 1, field_bits(chain)) - total.shift_left(7))[:field_bits(chain)]


class RowPair(wiring.Component):
    """Two rows of the array: stationary weights, double-buffered, times the vector that passes.

    Each lane's two weights share a slice, as ``upper * 2**F + (lower + 128)`` with F = ``field_bits(chain)``: the lower weight with its
    sign bit inverted is unsigned, so that packing is concatenation. A chain of slices adds ``packed * x``, from slice to slice through the
    cascade, to ``2**(F - 1) - 128 * sum(x)``. That makes ``2**F * sum(upper * x) + sum(lower * x) + 2**(F - 1)``, whose last two terms lie
    within 0..2**F - 1: the fields are the two sums, and nothing needs correcting. F grows by one bit for every doubling of the chain.

    Lane k of a chain adds its product k cycles after lane 0, so everything about it must come k cycles later: values, weights, exchanges.
    ``class`` below is a lane's place k in its chain; lane = chain number * chain + k. One vector per cycle, latency from the value of
    class 0 to the sums ``pair_latency(lanes, chain)``. No back pressure; nothing is reset.

    Parameters
    ----------
    lanes, chain : int
        Powers of two; a chain is no longer than the lanes.

    Members
    -------
    x : In([lanes] signed(9))
        Registered values, -255..255.
    offset : In([lanes / chain] unsigned(F))
        ``offset_of`` the values of each chain, together with that of class 0.
    swap : In(chain bits)
        By class. Active <- shadow.
    row_load : In(2 x chain bits), row : In(2 x lanes x 8)
        By row and class: fill the shadow weights of all lanes of the class from `row`.
    lane_load : In(lanes bits), value : In([2] [chain] 8 bits)
        Fill a lane of both rows, with the row's `value` of the lane's class. Not together with `row_load`.
    sums : Out([2] signed)

    Raises
    ------
    ValueError
        If a size is not a power of two, or the chain too long.
    """

    x: data.View
    offset: data.View
    swap: Signal
    row_load: data.View
    row: data.View
    lane_load: Signal
    value: data.View
    sums: data.View

    def __init__(self, *, lanes: int, chain: int) -> None:
        if lanes < 1 or lanes & lanes - 1:
            raise ValueError(f"lanes must be a power of two, not {lanes!r}")
        if not 1 <= chain <= lanes or chain & chain - 1:
            raise ValueError(f"chain must be a power of two and at most lanes ({lanes}), not {chain!r}")
        self.lanes, self.chain = lanes, chain
        self.field = field_bits(chain)
        super().__init__({
            "x": In(data.ArrayLayout(signed(LANE_BITS), lanes)),
            "offset": In(data.ArrayLayout(unsigned(self.field), lanes // self.chain)),
            "swap": In(self.chain),
            "row_load": In(data.ArrayLayout(unsigned(self.chain), 2)),
            "row": In(data.ArrayLayout(data.ArrayLayout(unsigned(8), lanes), 2)),
            "lane_load": In(lanes),
            "value": In(data.ArrayLayout(data.ArrayLayout(unsigned(8), self.chain), 2)),
            "sums": Out(data.ArrayLayout(signed(sum_bits(lanes)), 2)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        uppers: list[Value] = []
        lowers: list[Value] = []
        for first in range(0, self.lanes, self.chain):
            total = self._chain(m, first)
            # The top bit of the lower field, inverted, takes half a field away again.
            lowers.append(Cat(total[:self.field - 1], ~total[self.field - 1]).as_signed())
            uppers.append(total[self.field:].as_signed())
        m.d.comb += [self.sums[0].eq(self._tree(m, lowers, name="lower")), self.sums[1].eq(self._tree(m, uppers, name="upper"))]
        return m

    def _weights(self, m: Module, lane: int) -> Value:
        """The packed weight of a lane: the A register of its slice."""
        k = lane % self.chain
        active: list[Value] = []
        for r in range(2):
            loaded = Signal(8, name=f"loaded_{r}_{lane}")
            m.d.comb += loaded.eq(Mux(self.lane_load[lane], self.value[r][k], self.row[r][lane]) ^ (0 if r else 0x80))
            shadow = Signal(8, name=f"shadow_{r}_{lane}", reset_less=True)
            with m.If(self.row_load[r][k] | self.lane_load[lane]):
                m.d.sync += shadow.eq(loaded)
            weight = Signal(8, name=f"active_{r}_{lane}", reset_less=True)
            with m.If(self.swap[k]):
                m.d.sync += weight.eq(shadow)
            active.append(weight)
        return Cat(active[0], Const(0, self.field - 8), active[1]).as_signed()

    def _chain(self, m: Module, first: int) -> Signal:
        """One column of slices: the sum that leaves the last of them."""
        before: Value = Signal(self.field, name=f"offset_{first}", reset_less=True)  # the C register
        m.d.sync += before.eq(self.offset[first // self.chain])
        for lane in range(first, first + self.chain):
            packed = self._weights(m, lane)
            product = Signal((packed * self.x[lane]).shape(), name=f"product_{lane}", reset_less=True, attrs={"use_dsp": "yes"})
            total = Signal(signed(2 * self.field), name=f"total_{lane}", reset_less=True, attrs={"use_dsp": "yes"})
            m.d.sync += [product.eq(packed * self.x[lane]), total.eq(product + before)]
            before = total
        return total

    def _tree(self, m: Module, terms: list[Value], *, name: str) -> Value:
        stage = 0
        while len(terms) > 1:
            sums: list[Value] = []
            for first in range(0, len(terms), TREE_FANIN):
                total = balanced_sum(terms[first:first + TREE_FANIN])
                result = Signal(total.shape(), name=f"{name}_{stage}_{first // TREE_FANIN}", reset_less=True)
                m.d.sync += result.eq(total)
                sums.append(result)
            terms, stage = sums, stage + 1
        return terms[0]
