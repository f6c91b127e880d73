"""SOFTMAX: a block of scores of one query, and its running level."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.attention.softmax import LEVEL_BITS, MAXIMUM_BITS, SoftmaxBlock, code_latency
from moesaic.hw.functions.companion import CompanionSignature, ResultSignature
from moesaic.hw.memory.ports import Port, ReadSignature, WriteSignature
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory
from moesaic.hw.vector.pipeline import delay, delay_valid

__all__ = ["Softmax"]


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
    old : Out(ReadSignature), state : Out(WriteSignature)
        State of the query.
    maxima : Out(WriteSignature)
        Maximum beside each group of the word.
    result : Out(ResultSignature)
    """

    AHEAD = 1

    i: stream.Interface
    value: data.View
    old: Port
    state: Port
    maxima: Port
    result: Port

    def __init__(self, config: AcceleratorConfig, *, commit: int) -> None:
        self.config, self.commit = config, commit
        self.block = SoftmaxBlock(rows=config.rows, bits=config.probability_width)
        self.state_at = self.block.latency + 1
        maxima = data.ArrayLayout(signed(MAXIMUM_BITS), config.groups)
        super().__init__(
            {
                "i": In(CompanionSignature(config)),
                "value": In(data.ArrayLayout(signed(16), config.rows)),
                "old": Out(ReadSignature(12, signed(LEVEL_BITS))),
                "state": Out(WriteSignature(12, signed(LEVEL_BITS))),
                "maxima": Out(WriteSignature(16, maxima, parts=config.groups)),
                "result": Out(ResultSignature(config)),
            }
        )

    @staticmethod
    def latency(config: AcceleratorConfig) -> int:
        """Cycles from values to results, at the least."""
        return code_latency(config.rows)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.block = block = self.block
        place, result = self.i.p.place, self.result
        runs = self.i.valid & (self.i.p.context.function == Function.SOFTMAX)
        m.d.comb += [
            block.i_valid.eq(delay_valid(m, runs, self.AHEAD, name="block_valid")),
            block.i_t.eq(self.value),
            block.i_mask.eq(delay(m, place.mask, self.AHEAD, name="mask")),
        ]
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
            result.data.eq(delay(m, block.o_code, wait, name="code")),
            self.maxima.address.eq(result.place.address),
            self.maxima.mask.eq(write << result.place.group),
        ]
        self._keep(m)
        for group in range(self.config.groups):
            m.d.comb += self.maxima.data[group].eq(maximum)
        return m

    def _keep(self, m: Module) -> None:
        """Read the query's level when the block's is there, and write the higher one."""
        op, block = self.i.p.op, self.block
        asked = self.AHEAD + block.latency - 1
        token = delay(m, op.token, asked, name="token")
        first = delay(m, op.block == 0, asked + 1, name="first")
        level = Signal(signed(LEVEL_BITS), reset_less=True)
        m.d.sync += level.eq(Mux(first | (block.o_level > self.old.data), block.o_level, self.old.data))
        m.d.comb += [
            self.old.enable.eq(1),
            self.old.address.eq(token),
            self.state.address.eq(delay(m, token, 2, name="state_token")),
            self.state.mask.eq(delay_valid(m, block.o_valid, 1, name="state_write")),
            self.state.data.eq(level),
        ]
