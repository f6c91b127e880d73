"""SOFTMAX: a block of scores of one query, and its running level."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.attention.softmax import (
    LEVEL_BITS,
    MAXIMUM_BITS,
    LoneKey,
    SoftmaxBlock,
    code_latency,
    distance_layout,
)
from moesaic.hw.functions.companion import CompanionSignature, ResultSignature
from moesaic.hw.memory.ports import Port, ReadSignature, WriteSignature
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory
from moesaic.hw.vector.pipeline import delay, delay_valid

__all__ = ["Softmax"]


def _keys(config: AcceleratorConfig) -> int:
    """Most keys of a block."""
    return config.rows * (1 + config.packed_keys)


class Softmax(wiring.Component):
    """Distances into the activation memory, the block's maximum beside them, and the query's new state: its level.

    One block per cycle; distances are written `commit` cycles after the values, ``latency(config)`` or more, the state
    `state_at` cycles after them; no back pressure. A query must not come again within ``REUSE_CYCLES``.

    Parameters
    ----------
    config : AcceleratorConfig
    commit : int, cycles

    Members
    -------
    i : In(CompanionSignature), `AHEAD` cycles before the values
    value : In([rows] signed(16))
    extra_value : In(signed(16)), extra : Out(WriteSignature)
        The extra key's score, and what is kept of it for the query, with `extra_key`.
    upper_value : In([rows] signed(16)); groups : Out([groups]), beyond_due : Out(1), beyond : Out([rows] unsigned(8))
        With `packed_keys`: scores of the keys in the upper lanes; groups of the word that the result takes; it is of
        packed keys and takes two, in the next cycle; the bytes of the second.
    old : Out(ReadSignature), state : Out(WriteSignature)
        State of the query.
    maxima : Out(WriteSignature)
        Maximum beside each group of the word.
    result : Out(ResultSignature)
    """

    AHEAD = 1

    i: stream.Interface
    value: data.View
    extra_value: Signal
    extra: Port
    old: Port
    state: Port
    maxima: Port
    result: Port
    upper_value: data.View
    groups: Signal
    beyond_due: Signal
    beyond: data.View

    def __init__(self, config: AcceleratorConfig, *, commit: int) -> None:
        self.config, self.commit = config, commit
        self.block = SoftmaxBlock(rows=_keys(config), bits=config.probability_width)
        self.state_at = self.block.latency + 1
        extra = {"extra_value": In(signed(16)), "extra": Out(WriteSignature(12, distance_layout()))}
        maxima = data.ArrayLayout(signed(MAXIMUM_BITS), config.groups)
        packed = {
            "upper_value": In(data.ArrayLayout(signed(16), config.rows)),
            "groups": Out(config.groups),
            "beyond_due": Out(1),
            "beyond": Out(data.ArrayLayout(unsigned(8), config.rows)),
        }
        super().__init__(
            {
                "i": In(CompanionSignature(config)),
                "value": In(data.ArrayLayout(signed(16), config.rows)),
                "old": Out(ReadSignature(12, signed(LEVEL_BITS))),
                "state": Out(WriteSignature(12, signed(LEVEL_BITS))),
                "maxima": Out(WriteSignature(16, maxima, parts=config.groups)),
                "result": Out(ResultSignature(config)),
                **(extra if config.extra_key else {}),
                **(packed if config.packed_keys else {}),
            }
        )

    @staticmethod
    def latency(config: AcceleratorConfig) -> int:
        """Cycles from values to results, at the least."""
        return code_latency(_keys(config))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.block = block = self.block
        place, result = self.i.p.place, self.result
        runs = self.i.valid & (self.i.p.context.function == Function.SOFTMAX)
        m.d.comb += [
            block.i_valid.eq(delay_valid(m, runs, self.AHEAD, name="block_valid")),
            block.i_mask.eq(delay(m, self._exist, self.AHEAD, name="mask")),
        ]
        self._scores(m)
        wait, at_commit = self.commit - block.code_at, self.AHEAD + self.commit
        due = delay_valid(m, runs, at_commit - 1, name="due")
        write = delay_valid(m, due, 1, name="write")
        maximum = delay(m, block.o_max, wait, name="maximum")
        m.d.comb += [
            result.activation_due.eq(due),
            result.write.eq(write),
            result.memory.eq(Memory.ACTIVATION),
            result.place.address.eq(delay(m, place.address, at_commit, name="address")),
            result.place.group.eq(delay(m, place.group, at_commit, name="group")),
            result.place.mask.eq((1 << self.config.rows) - 1),  # keys that do not exist: 0
            self.maxima.address.eq(result.place.address),
        ]
        codes = delay(m, block.o_code, wait, name="code")
        if self.config.packed_keys:
            rows, packs = self.config.rows, delay(m, self.i.p.context.packs, at_commit - 1, name="packs")
            taken = Signal(self.config.groups, reset_less=True)
            m.d.sync += taken.eq(Cat(due, due & packs) << delay(m, place.group, at_commit - 1, name="group_due"))
            m.d.comb += [
                self.beyond_due.eq(due & packs),
                *(result.data[r].eq(codes[r]) for r in range(rows)),
                *(self.beyond[r].eq(codes[rows + r]) for r in range(rows)),
                *(self.groups.eq(taken), self.maxima.mask.eq(taken)),
            ]
        else:
            m.d.comb += [result.data.eq(codes), self.maxima.mask.eq(write << result.place.group)]
        self._keep(m, runs)
        for group in range(self.config.groups):
            m.d.comb += self.maxima.data[group].eq(maximum)
        return m

    @property
    def _exist(self) -> Value:
        """The keys of the block that exist."""
        place = self.i.p.place
        return Cat(place.mask, place.beyond) if self.config.packed_keys else place.mask

    def _scores(self, m: Module) -> None:
        """A score for each key of the block: of packed ones a row has two that follow each other."""
        if not self.config.packed_keys:
            m.d.comb += self.block.i_t.eq(self.value)
            return
        packs, rows = delay(m, self.i.p.context.packs, self.AHEAD, name="packs_values"), self.config.rows
        for k in range(2 * rows):
            pair = (self.upper_value if k % 2 else self.value)[k // 2]
            m.d.comb += self.block.i_t[k].eq(Mux(packs, pair, self.value[k]) if k < rows else pair)

    def _keep(self, m: Module, runs: Value) -> None:
        """Read the query's level when the block's is there, and write the higher one."""
        op, block = self.i.p.op, self.block
        asked = self.AHEAD + block.latency - 1
        token = delay(m, op.token, asked, name="token")
        first = delay(m, op.block == 0, asked + 1, name="first")
        level = Signal(signed(LEVEL_BITS), reset_less=True)
        if self.config.extra_key:  # it comes with the first block
            before = Mux(first, self._extra(m, runs), self.old.data)
            m.d.sync += level.eq(Mux(block.o_level > before, block.o_level, before))
        else:
            m.d.sync += level.eq(Mux(first | (block.o_level > self.old.data), block.o_level, self.old.data))
        m.d.comb += [
            self.old.enable.eq(1),
            self.old.address.eq(token),
            self.state.address.eq(delay(m, token, 2, name="state_token")),
            self.state.mask.eq(delay_valid(m, block.o_valid, 1, name="state_write")),
            self.state.data.eq(level),
        ]

    def _extra(self, m: Module, runs: Value) -> Value:
        """Keep the extra key of a query; the level that it asks for, or the lowest one, when the block's is there."""
        m.submodules.lone = lone = LoneKey(bits=self.config.probability_width)
        op, there = self.i.p.op, runs & self.i.p.op.extra
        at_code, wait = self.AHEAD + lone.CODE_AT, self.block.latency - lone.LATENCY
        m.d.comb += [
            lone.t.eq(self.extra_value),
            self.extra.address.eq(delay(m, op.token, at_code, name="extra_token")),
            self.extra.mask.eq(delay_valid(m, there, at_code, name="extra_write")),
            self.extra.data.eq(lone.o),
        ]
        asks = delay(m, op.extra, self.AHEAD + self.block.latency, name="asks")
        lowest = Const(-1 << LEVEL_BITS - 1, signed(LEVEL_BITS))
        return Mux(asks, delay(m, lone.o_level, wait, name="extra_level"), lowest)
