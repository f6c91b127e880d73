"""First requantisation: accumulators to int16."""

from amaranth.hdl import Module, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.shared import Shared
from moesaic.hw.vector.multiply import DSP_LATENCY, dsp_product
from moesaic.hw.vector.pipeline import delay, delay_valid
from moesaic.hw.vector.rounding import RoundShift

__all__ = ["Requantise"]


class _Lane(wiring.Component):
    """One lane of `Requantise`; `shift` comes ``SHIFT_AT`` cycles after the accumulator."""

    SHIFT_AT = 1 + DSP_LATENCY - RoundShift.AHEAD
    LATENCY = 1 + DSP_LATENCY + RoundShift.LATENCY

    acc: Signal
    bias: Signal
    mult: Signal
    shift: Signal
    o: Signal

    def __init__(self, *, acc_bits: int, bias_bits: int) -> None:
        self.acc_bits = acc_bits
        super().__init__(
            {
                "acc": In(signed(acc_bits)),
                "bias": In(signed(bias_bits)),
                "mult": In(16),
                "shift": In(6),
                "o": Out(signed(16)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = Signal(signed(self.acc_bits), reset_less=True)
        mult = Signal(16, reset_less=True)
        m.d.sync += [total.eq(self.acc + self.bias), mult.eq(self.mult)]
        product = dsp_product(m, total, mult, name="product")
        m.submodules.round = rounding = RoundShift(in_bits=len(product), shift_bits=6, out_bits=16)
        m.d.comb += [rounding.i.eq(product), rounding.shift.eq(self.shift), self.o.eq(rounding.o)]
        return m


class Requantise(wiring.Component):
    """``saturate16(round_shift((acc + bias) * mult, shift))`` in every lane.

    Computes ``golden.numerics.requantise`` bit for bit, where ``acc + bias`` is one more step of accumulation: it fits
    `acc_bits`, which the compiler proves, and wraps if it does not. Up to 27 bits the product takes one DSP slice
    (27 x 18) per lane, beyond that two.

    One vector per cycle, `LATENCY` cycles later; no back pressure; `o_valid` is 0 after reset.

    Parameters
    ----------
    lanes : int
    acc_bits : int
        Width of the signed accumulators, 18 or more.
    bias_bits : int
        Width of the signed biases.

    Members
    -------
    i_valid : In(1)
    i_acc : In([lanes] signed(acc_bits))
    i_bias : In([lanes] signed(bias_bits))
    i_mult : In([lanes] unsigned(16))
    i_shift : In(6)
        0..62, for all lanes.
    o_valid : Out(1)
    o : Out([lanes] signed(16))

    Raises
    ------
    ValueError
        If a size is too small.
    """

    LATENCY = _Lane.LATENCY  # cycles

    i_valid: Signal
    i_acc: data.View
    i_bias: data.View
    i_mult: data.View
    i_shift: Signal
    o_valid: Signal
    o: data.View

    def __init__(self, *, lanes: int, acc_bits: int, bias_bits: int = 32) -> None:
        if lanes < 1:
            raise ValueError(f"lanes must be positive, not {lanes!r}")
        if acc_bits < 18:
            raise ValueError(f"acc_bits must be 18 or more, not {acc_bits!r}")
        self.lanes, self.acc_bits, self.bias_bits = lanes, acc_bits, bias_bits
        super().__init__(
            {
                "i_valid": In(1),
                "i_acc": In(data.ArrayLayout(signed(acc_bits), lanes)),
                "i_bias": In(data.ArrayLayout(signed(bias_bits), lanes)),
                "i_mult": In(data.ArrayLayout(unsigned(16), lanes)),
                "i_shift": In(6),
                "o_valid": Out(1),
                "o": Out(data.ArrayLayout(signed(16), lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shift: Value = delay(m, self.i_shift, _Lane.SHIFT_AT, name="shift")
        m.d.comb += self.o_valid.eq(delay_valid(m, self.i_valid, self.LATENCY))
        for k in range(self.lanes):
            m.submodules[f"lane_{k}"] = lane = Shared(_Lane, acc_bits=self.acc_bits, bias_bits=self.bias_bits)
            m.d.comb += [
                lane.acc.eq(self.i_acc[k]),
                lane.bias.eq(self.i_bias[k]),
                lane.mult.eq(self.i_mult[k]),
                lane.shift.eq(shift),
                self.o[k].eq(lane.o),
            ]
        return m
