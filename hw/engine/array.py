"""The array: `rows` dot products of `lanes` int8 weights, held still, with one streamed vector."""

from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.shared import Shared

__all__ = ["Array", "DotProduct", "array_latency", "sum_bits"]

LANE_BITS = 9  # streamed values: int8, or uint8 for probabilities
TREE_FANIN = 4  # terms added between two registers


def _tree_stages(lanes: int) -> int:
    stages, width = 0, lanes
    while width > 1:
        width = -(-width // TREE_FANIN)
        stages += 1
    return stages


def array_latency(lanes: int) -> int:
    """Cycles from a vector at the input to its sums: input register, product register, adder tree."""
    return 2 + _tree_stages(lanes)


def sum_bits(lanes: int) -> int:
    """Width of a dot product of int8 with 9-bit values."""
    return 17 + (lanes - 1).bit_length()


class DotProduct(wiring.Component):
    """One row: a stationary vector, double-buffered, times the vector that passes.

    The waiting (`shadow`) vector is filled by rows or by lanes; ``swap`` makes it the active one at the same edge that
    registers the first vector it meets, so that exchanging blocks costs no cycle and no multiplexer. One product per lane and cycle.
    Latency from `x` to `sum`: 1 + adder tree stages. No back pressure. Datapath registers are not reset.

    Members
    -------
    x : In(lanes x signed(9)), enable : In(1)
        Registered vector, and whether it counts this cycle.
    swap, clear : In(1)
        Active <- shadow; shadow <- 0.
    row_load : In(1), row : In(lanes x 8)
        Fill the whole shadow vector.
    lane_load : In(1), lane : In(range(lanes)), value : In(8)
        Fill one lane of it.
    sum : Out(signed)
    """

    x: data.View
    enable: Signal
    swap: Signal
    clear: Signal
    row_load: Signal
    row: Signal
    lane_load: Signal
    lane: Signal
    value: Signal
    sum: Signal

    def __init__(self, *, lanes: int) -> None:
        self.lanes = lanes
        super().__init__({
            "x": In(data.ArrayLayout(signed(LANE_BITS), lanes)),
            "enable": In(1),
            "swap": In(1),
            "clear": In(1),
            "row_load": In(1),
            "row": In(8 * lanes),
            "lane_load": In(1),
            "lane": In(range(lanes)),
            "value": In(8),
            "sum": Out(signed(sum_bits(lanes))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shadow = Signal(8 * self.lanes, reset_less=True)
        active = Signal(8 * self.lanes, reset_less=True)
        with m.If(self.row_load):
            m.d.sync += shadow.eq(self.row)
        with m.Elif(self.clear):
            m.d.sync += shadow.eq(0)
        with m.Elif(self.lane_load):
            m.d.sync += shadow.word_select(self.lane, 8).eq(self.value)
        with m.If(self.swap):
            m.d.sync += active.eq(shadow)

        terms: list[Value] = []
        with m.If(self.enable):
            for lane in range(self.lanes):
                product = Signal(signed(17), name=f"product_{lane}", reset_less=True, attrs={"use_dsp": "yes"})
                m.d.sync += product.eq(self.x[lane] * active.word_select(lane, 8).as_signed())
                terms.append(product)
        valid, stage = Signal(name="valid_0"), 0
        m.d.sync += valid.eq(self.enable)
        while len(terms) > 1:
            sums: list[Value] = []
            with m.If(valid):
                for first in range(0, len(terms), TREE_FANIN):
                    part = terms[first:first + TREE_FANIN]
                    while len(part) > 1:
                        part = [a + b for a, b in zip(part[::2], part[1::2], strict=True)]
                    result = Signal(part[0].shape(), name=f"sum_{stage}_{first // TREE_FANIN}", reset_less=True)
                    m.d.sync += result.eq(part[0])
                    sums.append(result)
            stage += 1
            following = Signal(name=f"valid_{stage}")
            m.d.sync += following.eq(valid)
            terms, valid = sums, following
        m.d.comb += self.sum.eq(terms[0])
        return m


class Array(wiring.Component):
    """`rows` dot products that share one streamed vector.

    One vector per cycle whatever `rows` is; latency ``array_latency(lanes)``. No back pressure.

    Members
    -------
    x : In(lanes x signed(9)), x_valid : In(1)
        Streamed vector.
    swap : In(1)
        With a vector: it and those after it meet the block in the shadow registers.
    clear : In(1)
        Shadow registers <- 0.
    word_load : In(rows / load_rows bits), word : In(load_rows x lanes x 8)
        Fill `load_rows` consecutive rows: one bit per such group of rows.
    key_load : In(rows bits), key : In(lanes x 8)
        Fill one row.
    lane_load : In(1), lane : In(range(lanes)), column : In(rows x 8)
        Fill one lane of every row.
    sums : Out(rows x signed)
    """

    x: data.View
    x_valid: Signal
    swap: Signal
    clear: Signal
    word_load: Signal
    word: Signal
    key_load: Signal
    key: Signal
    lane_load: Signal
    lane: Signal
    column: data.View
    sums: data.View

    def __init__(self, *, rows: int, lanes: int, load_rows: int) -> None:
        self.rows, self.lanes, self.load_rows = rows, lanes, load_rows
        super().__init__({
            "x": In(data.ArrayLayout(signed(LANE_BITS), lanes)),
            "x_valid": In(1),
            "swap": In(1),
            "clear": In(1),
            "word_load": In(rows // load_rows),
            "word": In(8 * lanes * load_rows),
            "key_load": In(rows),
            "key": In(8 * lanes),
            "lane_load": In(1),
            "lane": In(range(lanes)),
            "column": In(data.ArrayLayout(unsigned(8), rows)),
            "sums": Out(data.ArrayLayout(signed(sum_bits(lanes)), rows)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        x = Signal(self.x.shape(), reset_less=True)
        enable = Signal()
        m.d.sync += enable.eq(self.x_valid)
        with m.If(self.x_valid):
            m.d.sync += x.eq(self.x)
        for r in range(self.rows):
            row = Shared(DotProduct, lanes=self.lanes)
            m.submodules[f"row_{r}"] = row
            word_load = self.word_load[r // self.load_rows]
            m.d.comb += [
                row.x.eq(x),
                row.enable.eq(enable),
                row.swap.eq(self.swap),
                row.clear.eq(self.clear),
                row.row_load.eq(word_load | self.key_load[r]),
                row.row.eq(Mux(word_load, self.word.word_select(r % self.load_rows, 8 * self.lanes), self.key)),
                row.lane_load.eq(self.lane_load),
                row.lane.eq(self.lane),
                row.value.eq(self.column[r]),
                self.sums[r].eq(row.sum),
            ]
        return m
