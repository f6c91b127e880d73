"""SOFTMAX: a block of scores of one query, its running maximum and its running sum."""

from amaranth.hdl import Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.attention.softmax import MAXIMUM_BITS, SoftmaxBlock, softmax_latency, state_layout
from moesaic.hw.functions.companion import CompanionSignature, ResultSignature
from moesaic.hw.memory.ports import Port, ReadSignature, WriteSignature
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory
from moesaic.hw.vector.pipeline import delay, delay_valid

__all__ = ["Softmax"]


class Softmax(wiring.Component):
    """Probabilities into the activation memory, the maximum beside them, and the query's new state.

    One block per cycle; everything is written `commit` cycles after the values, ``latency(rows)`` or more; no back
    pressure. The next block of a query may come when its state is written.

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
        Running maximum beside each group of the word.
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
        self.block = SoftmaxBlock(rows=config.rows)
        maxima = data.ArrayLayout(signed(MAXIMUM_BITS), config.groups)
        super().__init__(
            {
                "i": In(CompanionSignature(config)),
                "value": In(data.ArrayLayout(signed(16), config.rows)),
                "old": Out(ReadSignature(12, state_layout())),
                "state": Out(WriteSignature(12, state_layout())),
                "maxima": Out(WriteSignature(16, maxima, parts=config.groups)),
                "result": Out(ResultSignature(config)),
            }
        )

    @staticmethod
    def latency(rows: int) -> int:
        """Cycles from values to results, at the least."""
        return softmax_latency(rows)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.block = block = self.block
        op, place, result = self.i.p.op, self.i.p.place, self.result
        runs = self.i.valid & (self.i.p.context.function == Function.SOFTMAX)
        m.d.comb += [
            self.old.enable.eq(1),
            self.old.address.eq(op.token),
            block.i_valid.eq(delay_valid(m, runs, self.AHEAD, name="block_valid")),
            block.i_t.eq(self.value),
            block.i_mask.eq(delay(m, place.mask, self.AHEAD, name="mask")),
            block.i_first.eq(delay(m, op.block == 0, self.AHEAD, name="first")),
            block.i_max.eq(self.old.data.maximum),
            block.i_sum.eq(self.old.data.sum),
        ]
        wait, at_commit = self.commit - block.latency, self.AHEAD + self.commit
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
            result.data.eq(delay(m, block.o_p, wait, name="probability")),
            self.maxima.address.eq(result.place.address),
            self.maxima.mask.eq(write << result.place.group),
            self.state.address.eq(delay(m, op.token, at_commit, name="token")),
            self.state.mask.eq(write),
            self.state.data.maximum.eq(maximum),
            self.state.data.sum.eq(delay(m, block.o_sum, wait, name="state_sum")),
        ]
        for group in range(self.config.groups):
            m.d.comb += self.maxima.data[group].eq(maximum)
        return m
