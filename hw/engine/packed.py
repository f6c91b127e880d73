"""Two rows in one column of DSP slices: two int8 products per multiplication, added up along the cascade."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.spec.chains import chain_length, sum_bits

__all__ = [
    "LANE_BITS",
    "RowPair",
    "balanced_sum",
    "chain_length",
    "field_bits",
    "offset_of",
    "pair_latency",
    "sum_bits",
]

LANE_BITS = 9  # streamed values of -255..255
TREE_FANIN = 4  # terms added between two registers
_PRODUCT_LIMIT = 128 * 255  # largest product of an int8 and a value of -255..255


def field_bits(chain: int) -> int:
    """Bits between the two weights of a slice: the lower row's sum over a chain fits, on either side of zero. It fits
    for values that are not negative, too, if there are 256 or less of them for each slice, in the mean.
    """
    return (chain * _PRODUCT_LIMIT).bit_length() + 1


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

    Half a field keeps the lower field from ever being negative, so that it borrows nothing from the upper one; 128
    times the values undoes the inverted sign bit of the lower weights.
    """
    return (Const(1 << field_bits(chain) - 1, field_bits(chain)) - total.shift_left(7))[: field_bits(chain)]


class RowPair(wiring.Component):
    """Two rows of the array: stationary weights, double-buffered, times the vector that passes.

    Each lane's two weights share a slice, as ``upper * 2**F + (lower + 128)`` with F = ``field_bits(chain)``: the lower
    weight with its sign bit inverted is unsigned, so that packing is concatenation. A chain of slices adds ``packed *
    x``, from slice to slice through the cascade, to ``2**(F - 1) - 128 * sum(x)``. That makes ``2**F * sum(upper * x) +
    sum(lower * x) + 2**(F - 1)``, whose last two terms lie within 0..2**F - 1: the fields are the two sums, and nothing
    needs correcting. F grows by one bit for every doubling of the chain.

    Lane k of a chain adds its product k cycles after lane 0, so everything about it must come k cycles later: values,
    weights, exchanges. ``class`` below is a lane's place k in its chain; lane = chain number * chain + k. One vector
    per cycle, latency from the value of class 0 to the sums ``pair_latency(lanes, chain)``. No back pressure; nothing
    is reset.

    Parameters
    ----------
    lanes, chain : int
        Powers of two; a chain is no longer than the lanes.
    bits : int
        Of a value, with its sign.
    halves : int
        1: sums of either half of the lanes, too.

    Members
    -------
    x : In([lanes] signed(bits))
        Registered values: -255..255, or 0 and more with a sum of `chain` * 256 or less over a chain.
    offset : In([lanes / chain] unsigned(F))
        ``offset_of`` the values of each chain, together with that of class 0.
    enable : In(pair_latency(lanes, chain) bits)
        Bit k: the values of class k count, and after the last class, the stages that follow. Without it registers keep
        what they have.
    swap : In(chain bits)
        By class. Active <- shadow.
    row_load : In([2] chain bits), row : In([2] [chain] (lanes / chain) x 8 bits)
        By row and class: fill the shadow weights of all lanes of the class from `row`.
    lane_load : In([chain] (lanes / chain) bits), value : In([2] [chain] 8 bits)
        By class and chain: fill a lane of both rows, with the row's `value` of its class. Not together with `row_load`.
    sums : Out([2] signed)
    split : In(1), upper : Out([2] signed)
        With `halves`. A cycle before the sums' last registers: they are to be those of the lower lanes alone. Those of
        the upper lanes, together with them.

    Raises
    ------
    ValueError
        If a size is not a power of two, the chain too long, or a chain in both halves.
    """

    x: data.View
    offset: data.View
    enable: Signal
    swap: Signal
    row_load: data.View
    row: data.View
    lane_load: data.View
    value: data.View
    sums: data.View
    split: Signal
    upper: data.View

    def __init__(self, *, lanes: int, chain: int, bits: int = LANE_BITS, halves: int = 0) -> None:
        if lanes < 1 or lanes & lanes - 1:
            raise ValueError(f"lanes must be a power of two, not {lanes!r}")
        if not 1 <= chain <= lanes or chain & chain - 1:
            raise ValueError(f"chain must be a power of two and at most lanes ({lanes}), not {chain!r}")
        if halves and 2 * chain > lanes:
            raise ValueError(f"chain must be at most half the lanes ({lanes}), not {chain!r}")
        self.lanes, self.chain, self.bits, self.halves = lanes, chain, bits, halves
        self.field = field_bits(chain)
        super().__init__(
            {
                "x": In(data.ArrayLayout(signed(bits), lanes)),
                "offset": In(data.ArrayLayout(unsigned(self.field), lanes // self.chain)),
                "enable": In(pair_latency(lanes, chain)),
                "swap": In(self.chain),
                "row_load": In(data.ArrayLayout(unsigned(self.chain), 2)),
                "row": In(data.ArrayLayout(data.ArrayLayout(unsigned(8 * lanes // chain), chain), 2)),
                "lane_load": In(data.ArrayLayout(unsigned(lanes // chain), chain)),
                "value": In(data.ArrayLayout(data.ArrayLayout(unsigned(8), self.chain), 2)),
                "sums": Out(data.ArrayLayout(signed(sum_bits(lanes)), 2)),
                **({"split": In(1), "upper": Out(data.ArrayLayout(signed(sum_bits(lanes)), 2))} if halves else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Upper and lower weights of a class lie side by side, all chains in one register: simulators then copy words,
        # not bytes.
        actives = [[self._weights(m, r, k) for k in range(self.chain)] for r in range(2)]
        uppers: list[Value] = []
        lowers: list[Value] = []
        for number in range(self.lanes // self.chain):
            weights = [
                Cat(
                    actives[0][k].word_select(number, 8), Const(0, self.field - 8), actives[1][k].word_select(number, 8)
                ).as_signed()
                for k in range(self.chain)
            ]
            total = self._chain(m, number, weights)
            # The top bit of the lower field, inverted, takes half a field away again.
            lowers.append(Cat(total[: self.field - 1], ~total[self.field - 1]).as_signed())
            uppers.append(total[self.field :].as_signed())
        split: Value = Const(0, 1)
        if self.halves:
            # The pair's own: it gates many bits.
            split = Signal(name="split_here", reset_less=True, attrs={"keep": "true"})
            m.d.sync += split.eq(self.split)
        for side, (terms, name) in enumerate(((lowers, "lower"), (uppers, "upper"))):
            whole, upper = self._tree(m, terms, name=name, split=split)
            m.d.comb += self.sums[side].eq(whole)
            if self.halves:
                m.d.comb += self.upper[side].eq(upper)
        return m

    def _weights(self, m: Module, r: int, k: int) -> Value:
        """One row's weights of a class: in the A registers of its slices."""
        chains = self.lanes // self.chain
        inverted = 0 if r else 0x80  # the lower weights' sign bits
        shadow = Signal(8 * chains, name=f"shadow_{r}_{k}", reset_less=True)
        with m.If(self.row_load[r][k]):
            m.d.sync += shadow.eq(self.row[r][k] ^ Const(inverted, 8).replicate(chains))
        with m.Elif(self.lane_load[k].any()):
            for number in range(chains):
                with m.If(self.lane_load[k][number]):
                    m.d.sync += shadow.word_select(number, 8).eq(self.value[r][k] ^ inverted)
        active = Signal(8 * chains, name=f"active_{r}_{k}", reset_less=True)
        with m.If(self.swap[k]):
            m.d.sync += active.eq(shadow)
        return active

    def _chain(self, m: Module, number: int, weights: list[Value]) -> Signal:
        """One column of slices: the sum that leaves the last of them."""
        before: Value = Signal(self.field, name=f"offset_{number}", reset_less=True)  # the C register
        with m.If(self.enable[0]):
            m.d.sync += before.eq(self.offset[number])
        for k, packed in enumerate(weights):
            lane = number * self.chain + k
            product = Signal(
                (packed * self.x[lane]).shape(), name=f"product_{lane}", reset_less=True, attrs={"use_dsp": "yes"}
            )
            total = Signal(signed(2 * self.field), name=f"total_{lane}", reset_less=True, attrs={"use_dsp": "yes"})
            with m.If(self.enable[k]):
                m.d.sync += product.eq(packed * self.x[lane])
            with m.If(self.enable[k + 1]):
                m.d.sync += total.eq(product + before)
            before = total
        return total

    def _tree(self, m: Module, terms: list[Value], *, name: str, split: Value) -> tuple[Value, Value]:
        """The sum of all terms, or of their first half; that of their second half, with `halves`."""
        stage = 0
        upper: Value = terms[0]
        while len(terms) > 1:
            sums: list[Value] = []
            enable = self.enable[self.chain + 1 + stage]
            if self.halves and len(terms) <= TREE_FANIN:
                below, above = (balanced_sum(terms[k : k + len(terms) // 2]) for k in (0, len(terms) // 2))
                register = Signal(above.shape(), name=f"{name}_above", reset_less=True)
                with m.If(enable):
                    m.d.sync += register.eq(above)
                upper = register
                terms = [below, Mux(split, 0, above)]
            for first in range(0, len(terms), TREE_FANIN):
                total = balanced_sum(terms[first : first + TREE_FANIN])
                result = Signal(total.shape(), name=f"{name}_{stage}_{first // TREE_FANIN}", reset_less=True)
                with m.If(enable):
                    m.d.sync += result.eq(total)
                sums.append(result)
            terms, stage = sums, stage + 1
        return terms[0], upper
