"""Rows that lie together: their own copies of what the whole array shares, so that no flip-flop drives many."""

from amaranth.hdl import Cat, Module, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.engine.packed import LANE_BITS, RowPair, chain_length, field_bits, offset_of, pair_latency, sum_bits
from moesaic.hw.shared import Shared
from moesaic.hw.vector.pipeline import stages

__all__ = ["GROUP_ROWS", "RowGroup"]

GROUP_ROWS = 16


class RowGroup(wiring.Component):
    """Pairs of rows, and one register for each of their common inputs.

    Inputs that concern a lane come ``lane % chain`` cycles late (see RowPair); the others are delayed here. One vector
    per cycle; latency from the values of class 0 to the sums ``LATENCY`` and those of the pair. No back pressure;
    control bits are 0 after reset.

    Parameters
    ----------
    rows, lanes, load_rows, bits, halves : int
        Rows; lanes; neighbouring rows whose contents `row` has; bits of a value; as of RowPair.

    Members
    -------
    x : In([lanes] signed(bits)), total : In([lanes / chain] signed)
        Values; the sum of those of each chain, one cycle after those of class 0.
    enable : In(1), swap : In(1), row_load : In(rows bits), column : In([rows] 8 bits)
        The values of class 0 count; exchange, together with them; rows to fill; one lane of every row.
    row : In([load_rows] [lanes] 8 bits), lane_load : In(lanes bits)
        Contents for every `load_rows`-th row; lanes to fill from `column`.
    sums : Out([rows] signed)
    split : In(1), upper : Out([rows] signed)
        With `halves`: sums of the lower lanes, for the values of class 0; sums of the upper lanes.
    """

    LATENCY = 2  # cycles: the register here, and the multiplier's

    x: data.View
    total: data.View
    enable: Signal
    swap: Signal
    row_load: Signal
    column: data.View
    row: data.View
    lane_load: Signal
    sums: data.View
    split: Signal
    upper: data.View

    def __init__(self, *, rows: int, lanes: int, load_rows: int, bits: int = LANE_BITS, halves: int = 0) -> None:
        if rows < 2 or rows % 2:
            raise ValueError(f"rows must be even, not {rows!r}")
        if load_rows < 2 or load_rows % 2 or rows % load_rows:
            raise ValueError(f"load_rows must be even and divide rows ({rows}), not {load_rows!r}")
        self.rows, self.lanes, self.load_rows, self.bits, self.halves = rows, lanes, load_rows, bits, halves
        self.chain = chain_length(lanes)
        super().__init__(
            {
                "x": In(data.ArrayLayout(signed(bits), lanes)),
                "total": In(data.ArrayLayout(signed(bits + (self.chain - 1).bit_length()), lanes // self.chain)),
                "enable": In(1),
                "swap": In(1),
                "row_load": In(rows),
                "column": In(data.ArrayLayout(unsigned(8), rows)),
                "row": In(data.ArrayLayout(data.ArrayLayout(unsigned(8), lanes), load_rows)),
                "lane_load": In(lanes),
                "sums": Out(data.ArrayLayout(signed(sum_bits(lanes)), rows)),
                **({"split": In(1), "upper": Out(data.ArrayLayout(signed(sum_bits(lanes)), rows))} if halves else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()

        def copy(value: Value, *, name: str, reset_less: bool = True) -> Value:
            # Kept: equal registers of other groups would be merged with it, and one of them drive all rows again.
            register = Signal(value.shape(), name=name, reset_less=reset_less, attrs={"keep": "true"})
            m.d.sync += register.eq(value)
            return register

        def by_class(value: Value, *, name: str, more: int = 0, reset_less: bool = True) -> list[Value]:
            return stages(
                m,
                copy(value, name=name, reset_less=reset_less),
                self.chain - 1 + more,
                name=name,
                reset_less=reset_less,
            )

        x = Signal(self.x.shape(), reset_less=True)  # the B registers
        m.d.sync += x.eq(copy(self.x.as_value(), name="x_copy"))
        offset = Signal(data.ArrayLayout(unsigned(field_bits(self.chain)), self.lanes // self.chain), reset_less=True)
        for c in range(self.lanes // self.chain):
            m.d.sync += offset[c].eq(offset_of(self.total[c], chain=self.chain))
        later = pair_latency(self.lanes, self.chain)
        enable = Cat(*by_class(self.enable, name="enable_copy", more=later + 1 - self.chain, reset_less=False)[1:])
        swap = Cat(*by_class(self.swap, name="swap_copy", reset_less=False))
        row_loads = by_class(self.row_load, name="row_load_copy", reset_less=False)
        columns = by_class(self.column.as_value(), name="column_copy")
        by_place = [lane for k in range(self.chain) for lane in range(k, self.lanes, self.chain)]
        rows = [
            copy(Cat(*(self.row[k][lane] for lane in by_place)), name=f"row_copy_{k}") for k in range(self.load_rows)
        ]
        lane_load = copy(Cat(*(self.lane_load[lane] for lane in by_place)), name="lane_load_copy", reset_less=False)
        split = by_class(self.split, name="split_copy", more=later - self.chain)[-1] if self.halves else None
        option = {"halves": 1} if self.halves else {}
        for r in range(0, self.rows, 2):
            m.submodules[f"pair_{r // 2}"] = pair = Shared(
                RowPair, lanes=self.lanes, chain=self.chain, bits=self.bits, **option
            )
            if self.halves:
                m.d.comb += [pair.split.eq(split), Cat(self.upper[r], self.upper[r + 1]).eq(pair.upper)]
            m.d.comb += [
                pair.x.eq(x),
                pair.offset.eq(offset),
                pair.enable.eq(enable),
                pair.swap.eq(swap),
                pair.lane_load.eq(lane_load),
                pair.row.eq(Cat(rows[r % self.load_rows], rows[r % self.load_rows + 1])),
                self.sums[r].eq(pair.sums[0]),
                self.sums[r + 1].eq(pair.sums[1]),
            ]
            for side in range(2):
                place = r + side
                m.d.comb += [
                    pair.row_load[side].eq(Cat(*(loads[place] for loads in row_loads))),
                    pair.value[side].eq(Cat(*(column[8 * place : 8 * place + 8] for column in columns))),
                ]
        return m
