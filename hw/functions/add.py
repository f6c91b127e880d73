"""ADD: results onto the residual, and the LayerNorm sums of its tokens."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.functions.companion import CompanionSignature
from moesaic.hw.memory.ports import Port, ReadSignature, WriteSignature
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function
from moesaic.hw.vector.layernorm import SumUpdate, sum_latency, sums_layout
from moesaic.hw.vector.pipeline import copies, delay, delay_valid

__all__ = ["Add"]


class Add(wiring.Component):
    """Reads the residual, adds, writes it, and then changes the token's sums by what changed.

    The word is read four cycles before the values are there: picked, rounded, shifted, then added; its place is
    `scalar` words behind that of the new one. One vector per cycle; the residual is written `commit` cycles after the
    values, `LATENCY` or more, the sums ``sums_latency(rows)`` cycles
    later; no back pressure. A token must not come again within ``REUSE_CYCLES``.

    Parameters
    ----------
    config : AcceleratorConfig
    commit : int, cycles

    Members
    -------
    i : In(CompanionSignature), `AHEAD` cycles before the values
    value : In([rows] signed(16))
    old : Out(ReadSignature), residual : Out(WriteSignature)
        The residual memory.
    due : Out(1)
        It is written in the next cycle.
    old_sums : Out(ReadSignature), sums : Out(WriteSignature)
        LayerNorm sums of the token.
    """

    AHEAD = 5
    LATENCY = 1  # cycles from values to the residual, at the least

    i: stream.Interface
    value: data.View
    old: Port
    residual: Port
    due: Signal
    old_sums: Port
    sums: Port

    def __init__(self, config: AcceleratorConfig, *, commit: int) -> None:
        self.config, self.commit = config, commit
        self.update = SumUpdate(lanes=config.rows)
        word = data.ArrayLayout(signed(16), config.lanes)
        super().__init__(
            {
                "i": In(CompanionSignature(config)),
                "value": In(data.ArrayLayout(signed(16), config.rows)),
                "old": Out(ReadSignature(16, word)),
                "residual": Out(WriteSignature(16, word, parts=config.lanes)),
                "due": Out(1),
                "old_sums": Out(ReadSignature(12, sums_layout())),
                "sums": Out(WriteSignature(12, sums_layout())),
            }
        )

    @staticmethod
    def sums_latency(rows: int) -> int:
        """Cycles from the written residual to the written sums."""
        return sum_latency(rows) + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place, at_commit = self.i.p.place, self.AHEAD + self.commit
        runs = self.i.valid & (self.i.p.context.function == Function.ADD)
        reads = delay_valid(m, runs, 1, name="reads")
        m.d.comb += [
            self.old.enable.eq(reads),
            self.old.address.eq(delay(m, self._old_address(), 1, name="read_address")),
        ]
        before, added = self._add(m)
        due = delay_valid(m, reads, at_commit - 2, name="due")
        write = delay_valid(m, due, 1, name="write")
        self._update_sums(m, write, before, added)
        mask, group = delay(m, place.mask, at_commit, name="mask"), delay(m, place.group, at_commit, name="group")
        parts = Cat(*(Mux(write & (group == g), mask, 0) for g in range(self.config.groups)))
        m.d.comb += [
            self.due.eq(due),
            self.residual.address.eq(delay(m, place.address, at_commit, name="address")),
            Value.cast(self.residual.data).eq(Value.cast(added).replicate(self.config.groups)),
            self.residual.mask.eq(parts),
        ]
        return m

    def _old_address(self) -> Value:
        """Where the old residual lies: `scalar` words behind the new one's place, modulo the address."""
        return (self.i.p.place.address + self.i.p.context.scalar)[:16]

    def _add(self, m: Module) -> tuple[data.View, data.View]:
        """The residual before and after, both at commit."""
        rows, context = self.config.rows, self.i.p.context
        row: Any = data.ArrayLayout(signed(16), rows)
        old: Any = Signal(row, reset_less=True)
        rounded: Any = Signal(data.ArrayLayout(signed(17), rows), reset_less=True)
        halves: Any = Signal(data.ArrayLayout(signed(17), rows), reset_less=True)
        added: Any = Signal(row, reset_less=True)
        group = copies(m, delay(m, self.i.p.place.group, 1, name="read_group"), rows, name="group")
        early = delay(m, context.residual_shift, 2, name="read_shift")
        half = copies(m, ((1 << early) >> 1)[:8], rows, name="residual_half")
        shift = copies(m, delay(m, early, 1, name="round_shift"), rows, name="residual_shift")
        for r in range(rows):
            picked = self.old.data[r]
            for g in range(1, self.config.groups):
                picked = Mux(group[r] == g, self.old.data[g * rows + r], picked)
            total = Signal(signed(18), name=f"total_{r}")
            m.d.comb += total.eq(halves[r] + self.value[r])
            over, negative = total[15:].any() & ~total[15:].all(), total[-1]
            m.d.sync += [
                old[r].eq(picked),
                rounded[r].eq(old[r] + half[r]),
                halves[r].eq(rounded[r] >> shift[r]),
                added[r].eq(Mux(over, Cat((~negative).replicate(15), negative), total[:16])),
            ]
        wait = self.commit - 1
        return delay(m, old, wait + 3, name="before"), delay(m, added, wait, name="added")

    def _update_sums(self, m: Module, adds: Value, before: data.View, added: data.View) -> None:
        """Change the token's LayerNorm sums by what the residual changed."""
        m.submodules.update = update = self.update
        op, at_commit = self.i.p.op, self.AHEAD + self.commit
        fresh = delay(m, self.i.p.context.fresh, at_commit, name="fresh")
        m.d.comb += [
            update.i_valid.eq(adds),
            update.i_new.eq(added),
            update.i_old.eq(before),
            update.i_mask.eq(delay(m, self.i.p.place.mask, at_commit, name="sums_mask")),
            update.i_fresh.eq(fresh),
        ]
        starts = delay(m, fresh & delay(m, op.block == 0, at_commit, name="first"), update.latency, name="starts")
        token = delay(m, op.token, at_commit + update.latency - 1, name="token")
        new: Any = Signal(sums_layout(), reset_less=True)
        old = self.old_sums.data
        m.d.sync += [
            new.total.eq(Mux(starts, 0, old.total) + update.o_total),
            new.squares.eq(Mux(starts, 0, old.squares) + update.o_squares),
        ]
        m.d.comb += [
            self.old_sums.enable.eq(1),
            self.old_sums.address.eq(token),
            self.sums.address.eq(delay(m, token, 2, name="write_token")),
            self.sums.data.eq(new),
            self.sums.mask.eq(delay_valid(m, adds, update.latency + 1, name="summed")),
        ]
