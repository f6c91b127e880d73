"""The array: `rows` dot products of `lanes` int8 weights, held still, with one streamed vector."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.engine.packed import LANE_BITS, balanced_sum, chain_length, pair_latency, sum_bits
from moesaic.hw.engine.rowgroup import GROUP_ROWS, RowGroup
from moesaic.hw.memory.ports import Port
from moesaic.hw.shared import Shared
from moesaic.hw.vector.pipeline import stages

__all__ = ["LANE_BITS", "Array", "FillSignature", "array_latency", "sum_bits"]


def array_latency(lanes: int) -> int:
    """Cycles from a vector at the input to its sums: two input registers, the group's registers, the pair of rows."""
    return 2 + RowGroup.LATENCY + pair_latency(lanes, chain_length(lanes))


class FillSignature(wiring.Signature):
    """Fills the shadow registers, in at most one of four ways in a cycle.

    Members
    -------
    clear : Out(1)
        All of them <- 0.
    word_load : Out(rows / load_rows bits), word : Out(load_rows x lanes x 8), narrow : Out(1)
        Fill `load_rows` consecutive rows: one bit per such group of rows. With `narrow` the word has 4 bits for each
        weight of two groups: low nibbles for an even one, high nibbles for an odd one.
    key_load : Out(rows bits), key : Out(lanes x 8), key_valid : Out(1)
        Fill one row; `key` is on offer, for a row or as a `column`.
    lane_load : Out(1), lane : Out(range(lanes)), column : Out(rows x 8)
        Fill one lane of every row.
    """

    def __init__(self, *, rows: int, lanes: int, load_rows: int) -> None:
        super().__init__(
            {
                "clear": Out(1),
                "word_load": Out(rows // load_rows),
                "word": Out(8 * lanes * load_rows),
                "narrow": Out(1),
                "key_load": Out(rows),
                "key": Out(8 * lanes),
                "key_valid": Out(1),
                "lane_load": Out(1),
                "lane": Out(range(lanes)),
                "column": Out(data.ArrayLayout(unsigned(8), rows)),
            }
        )


class Array(wiring.Component):
    """`rows` dot products that share one streamed vector; two int8 products per DSP slice.

    One vector per cycle whatever `rows` is; latency ``array_latency(lanes)``. No back pressure. An exchange and what is
    loaded are delayed alike from class to class: what is loaded up to the cycle of an exchange is part of the block it
    brings, in any cycle.

    Inputs go through a register here (vectors and exchanges through two, so that the last word of a block may come with
    the exchange), wait for their class of lanes (see RowPair), and go through a register in each group of rows: no
    flip-flop drives more than a group's rows.

    Members
    -------
    x : In(lanes x signed(bits)), x_valid : In(1)
        Streamed vector, values as RowPair takes them.
    swap : In(1)
        With a vector: it and those after it meet the block in the shadow registers.
    fill : In(FillSignature)
    sums : Out(rows x signed)
    split : In(1), upper : Out(rows x signed)
        With `halves`, and with a vector: its sums are to be those of the lower lanes alone; those of the upper lanes.
    """

    x: data.View
    x_valid: Signal
    swap: Signal
    fill: Port
    sums: data.View
    split: Signal
    upper: data.View

    def __init__(
        self,
        *,
        rows: int,
        lanes: int,
        load_rows: int,
        narrow: bool = True,
        bits: int = LANE_BITS,
        halves: bool = False,
    ) -> None:
        self.halves = halves
        self.rows, self.lanes, self.load_rows, self.bits = rows, lanes, load_rows, bits
        self.unpacks = narrow  # whether `narrow` is looked at
        super().__init__(
            {
                "x": In(data.ArrayLayout(signed(bits), lanes)),
                "x_valid": In(1),
                "swap": In(1),
                "fill": In(FillSignature(rows=rows, lanes=lanes, load_rows=load_rows)),
                "sums": Out(data.ArrayLayout(signed(sum_bits(lanes)), rows)),
                **({"split": In(1), "upper": Out(data.ArrayLayout(signed(sum_bits(lanes)), rows))} if halves else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        size = min(self.rows, GROUP_ROWS)
        chain = chain_length(self.lanes)
        x: Any = Signal(self.x.shape(), reset_less=True)
        early_x: Any = Signal(self.x.shape(), reset_less=True)
        early_valid = Signal()
        early_swap = Signal()
        m.d.sync += [early_x.eq(self.x), early_valid.eq(self.x_valid), early_swap.eq(self.swap)]
        with m.If(early_valid):
            m.d.sync += x.eq(early_x)
        totals: Any = Signal(
            data.ArrayLayout(signed(self.bits + (chain - 1).bit_length()), self.lanes // chain), reset_less=True
        )
        for c in range(self.lanes // chain):
            m.d.sync += totals[c].eq(balanced_sum([x[lane] for lane in range(c * chain, (c + 1) * chain)]))
        row, row_load = self._rows(m)
        enable = Signal()
        swap = Signal()
        lane_load = Signal(self.lanes)
        column = Signal(self.fill.column.shape(), reset_less=True)
        m.d.sync += [
            enable.eq(early_valid),
            swap.eq(early_swap),
            lane_load.eq(self.fill.lane_load << self.fill.lane),
            column.eq(self.fill.column),
        ]

        def late(values: Value, bits: int, *, name: str, reset_less: bool = True) -> Value:
            """Every lane's part as many cycles later as its place in the chain."""
            return Cat(
                *(
                    stages(
                        m,
                        values[lane * bits : (lane + 1) * bits],
                        lane % chain,
                        name=f"{name}_{lane}",
                        reset_less=reset_less,
                    )[-1]
                    for lane in range(self.lanes)
                )
            )

        late_x = late(x.as_value(), self.bits, name="x")
        late_lanes = late(lane_load, 1, name="lane_load", reset_less=False)
        late_rows = Cat(*(late(part, 8, name=f"row_{k}") for k, part in enumerate(row)))
        option = {"halves": 1} if self.halves else {}
        split = stages(m, self.split, 2, name="split")[-1] if self.halves else None
        for g in range(self.rows // size):
            m.submodules[f"group_{g}"] = group = Shared(
                RowGroup, rows=size, lanes=self.lanes, load_rows=len(row), bits=self.bits, **option
            )
            if self.halves:
                m.d.comb += group.split.eq(split)
                m.d.comb += [self.upper[g * size + r].eq(group.upper[r]) for r in range(size)]
            m.d.comb += [
                group.x.eq(late_x),
                group.total.eq(totals),
                group.enable.eq(enable),
                group.swap.eq(swap),
                group.lane_load.eq(late_lanes),
                group.row.eq(late_rows),
                group.row_load.eq(row_load[g * size : (g + 1) * size]),
            ]
            for r in range(size):
                m.d.comb += [group.column[r].eq(column[g * size + r]), self.sums[g * size + r].eq(group.sums[r])]
        return m

    def _rows(self, m: Module) -> tuple[list[Value], Value]:
        """What fills rows, for each of `load_rows` neighbours (twice as many of narrow weights), and the rows that take
        it: words, keys
        and zeros on one bus."""
        width = 8 * self.lanes
        word = Signal(self.fill.word.shape(), reset_less=True)
        key = Signal(width, reset_less=True)
        chain = chain_length(self.lanes)
        from_key = Signal(chain, attrs={"keep": "true"})  # one for each class of lanes: it would drive them all
        nibbles = Signal(chain, attrs={"keep": "true"})
        row_load = Signal(self.rows)
        m.d.sync += [
            word.eq(self.fill.word),
            key.eq(self.fill.key),
            from_key.eq((self.fill.key_valid | self.fill.clear).replicate(chain)),
        ]
        m.d.sync += nibbles.eq(self.fill.narrow.replicate(chain))
        with m.If(self.fill.clear):
            m.d.sync += key.eq(0)
        for r in range(self.rows):
            m.d.sync += row_load[r].eq(
                self.fill.word_load[r // self.load_rows] | self.fill.key_load[r] | self.fill.clear
            )

        def weight(neighbour: int, lane: int) -> Value:
            """What the word says, as 8 bits."""
            odd, place = divmod(neighbour, self.load_rows)
            byte = word.word_select(place * self.lanes + lane, 8)
            return (
                Mux(nibbles[lane % chain], byte[4 * odd : 4 * odd + 4].as_signed(), byte.as_signed())[:8]
                if self.unpacks
                else byte
            )

        def shared(neighbour: int) -> Value:
            return Cat(
                *(
                    Mux(from_key[lane % chain], key.word_select(lane, 8), weight(neighbour, lane))
                    for lane in range(self.lanes)
                )
            )

        return [shared(k) for k in range(2 * self.load_rows if self.unpacks else self.load_rows)], row_load
