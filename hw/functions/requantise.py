"""The first requantisation: accumulators to int16, with the parameters of their outputs or of their instruction."""

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.decode.operation import CONTEXTS, context_layout, operation_layout
from moesaic.hw.functions.place import arrival_layout
from moesaic.hw.memory.ports import Port, ReadSignature
from moesaic.hw.spec.chains import sum_bits
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.tables import PLANE_BITS
from moesaic.hw.vector.pipeline import delay, delay_valid
from moesaic.hw.vector.requant import Requantise

__all__ = ["PARAMETER_BITS", "Requantisation", "finished_layout", "sums_layout", "upper_layout"]

BIAS_BITS = 32
PARAMETER_BITS = BIAS_BITS + 16  # of a row: bias, multiplier


def sums_layout(config: AcceleratorConfig) -> data.ArrayLayout:
    """Accumulated sums of a vector: of each row, and of the extra key behind them."""
    return data.ArrayLayout(signed(config.acc_bits), config.rows + config.extra_key)


def upper_layout(config: AcceleratorConfig) -> data.ArrayLayout:
    """Dot products of the upper lanes, of each row: scores of every second key, where two share a row."""
    return data.ArrayLayout(signed(sum_bits(config.lanes)), config.rows)


def finished_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A finished accumulator with its operation, and with `packed_keys` the sums of the upper lanes."""
    upper = {"upper": upper_layout(config)} if config.packed_keys else {}
    return data.StructLayout({"op": operation_layout(), "acc": sums_layout(config), **upper})


class Requantisation(wiring.Component):
    """Holds the accumulators until 1/sum is there, then requantises them.

    Biases and multipliers are the parameters of the output with WEIGHTS, 0 and a multiplier of the instruction with
    KEYS, 0 and the multiplier that holds 1/sum with ATTEND. One vector per cycle, no back pressure.

    Parameters
    ----------
    config : AcceleratorConfig
    hold : int, cycles

    Members
    -------
    i : In(stream of finished_layout(config), always ready)
    context : Out(ReadSignature), in the same cycle
        Of the operation that has been held.
    factor, exponent : In
        1/sum of the query of the operation that has been held.
    parameters : In([2] unsigned(PARAMETER_BITS * rows)), release : Out(1)
        Banks; the last vector that needs the operation's bank has passed.
    o : Out(stream of arrival_layout(config), always ready)
        What has been held: the requantiser's input.
    value : Out([rows] signed(16))
        `LATENCY` cycles after it.
    extra_value : Out(signed(16))
        With it: the extra key's score, with `extra_key`.
    upper_value : Out([rows] signed(16))
        With it: scores of the keys in the upper lanes, with `packed_keys`.
    """

    LATENCY = Requantise.LATENCY  # cycles

    i: stream.Interface
    context: Port
    factor: Signal
    exponent: Signal
    parameters: data.View
    release: Signal
    o: stream.Interface
    value: data.View
    extra_value: Signal
    upper_value: data.View

    def __init__(self, config: AcceleratorConfig, *, hold: int) -> None:
        self.config, self.hold = config, hold
        self.requantise = Requantise(
            lanes=config.rows * (1 + config.packed_keys) + config.extra_key,
            acc_bits=config.acc_bits,
            bias_bits=BIAS_BITS + (PLANE_BITS if config.wide_operands else 0),
        )
        super().__init__(
            {
                "i": In(stream.Signature(finished_layout(config), always_ready=True)),
                "context": Out(ReadSignature(range(CONTEXTS), context_layout(config))),
                "factor": In(16),
                "exponent": In(6),
                "parameters": In(data.ArrayLayout(unsigned(PARAMETER_BITS * config.rows), 2)),
                "release": Out(1),
                "o": Out(stream.Signature(arrival_layout(config), always_ready=True)),
                "value": Out(data.ArrayLayout(signed(16), config.rows)),
                **({"extra_value": Out(signed(16))} if config.extra_key else {}),
                **({"upper_value": Out(data.ArrayLayout(signed(16), config.rows))} if config.packed_keys else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.requantise = requantise = self.requantise
        op = delay(m, self.i.p.op, self.hold, name="hold_op")
        valid = delay_valid(m, self.i.valid, self.hold, name="hold_valid")
        context = self.context.data
        vector = Signal()
        acc = delay(m, self.i.p.acc, self.hold, name="hold_acc")
        attend = op.attend  # as the context's function says, which comes from a memory
        m.d.comb += [
            self.context.enable.eq(1),
            self.context.address.eq(op.context),
            vector.eq(valid & op.vector),
            self.release.eq(vector & op.weights & op.block_end),
            self.o.valid.eq(valid),
            self.o.p.op.eq(op),
            self.o.p.context.eq(context),
            requantise.i_valid.eq(vector),
            *(
                [requantise.i_acc[r].eq(acc[r]) for r in range(self.config.rows)]
                if self.config.packed_keys
                else [requantise.i_acc.eq(acc)]
            ),
            requantise.i_shift.eq(Mux(attend, context.shift + self.exponent, context.shift)),
        ]
        parameters = Signal(PARAMETER_BITS * self.config.rows)
        m.d.comb += parameters.eq(Mux(op.bank, self.parameters[1], self.parameters[0]))
        # Beside weights of 16 bits, biases are in units of 2^8.
        upper: Value = context.wide_stationary if self.config.wide_operands else Const(0, 1)
        for r in range(self.config.rows):
            parameter = parameters.word_select(r, PARAMETER_BITS)
            bias = parameter[:BIAS_BITS].as_signed()
            m.d.comb += [
                requantise.i_bias[r].eq(Mux(op.weights, Mux(upper, bias.shift_left(PLANE_BITS), bias), 0)),
                requantise.i_mult[r].eq(
                    Mux(op.weights, parameter[BIAS_BITS:], Mux(attend, self.factor, context.scalar))
                ),
                self.value[r].eq(requantise.o[r]),
            ]
        if self.config.extra_key:
            r = self.config.rows
            m.d.comb += [requantise.i_mult[r].eq(context.scalar), self.extra_value.eq(requantise.o[r])]
        if self.config.packed_keys:
            sums = delay(m, self.i.p.upper, self.hold, name="hold_upper")
            for r in range(self.config.rows):
                lane = self.config.rows + r
                m.d.comb += [
                    requantise.i_acc[lane].eq(sums[r]),
                    requantise.i_mult[lane].eq(context.scalar),
                    self.upper_value[r].eq(requantise.o[lane]),
                ]
        return m
