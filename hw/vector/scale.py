"""Second requantisation: int16 values times a multiplier each."""

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.shared import Shared
from moesaic.hw.vector.multiply import DSP_LATENCY, dsp_product
from moesaic.hw.vector.pipeline import delay, delay_valid
from moesaic.hw.vector.rounding import RoundShift

__all__ = ["Scale"]


class _Lane(wiring.Component):
    """One lane of `Scale`; `shift` comes ``SHIFT_AT`` cycles after the value."""

    SHIFT_AT = 1 + DSP_LATENCY - RoundShift.AHEAD
    LATENCY = 1 + DSP_LATENCY + RoundShift.LATENCY

    i: Signal
    mult: Signal
    shift: Signal
    o: Signal

    def __init__(self) -> None:
        super().__init__({"i": In(signed(16)), "mult": In(signed(17)), "shift": In(5), "o": Out(signed(16))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        value = Signal(signed(16), reset_less=True)
        mult = Signal(signed(17), reset_less=True)
        m.d.sync += [value.eq(self.i), mult.eq(self.mult)]
        product = dsp_product(m, value, mult, name="product")
        m.submodules.round = rounding = RoundShift(in_bits=32, shift_bits=5, out_bits=16)  # of -2^15 * (2^16 - 1)
        m.d.comb += [rounding.i.eq(product), rounding.shift.eq(self.shift), self.o.eq(rounding.o)]
        return m


class Scale(wiring.Component):
    """``saturate16(round_shift(i * mult, shift))`` in every lane, one DSP slice each.

    One vector per cycle, `LATENCY` cycles later; no back pressure; `o_valid` is 0 after reset.

    Parameters
    ----------
    lanes : int

    Members
    -------
    i_valid : In(1)
    i : In([lanes] signed(16))
    i_mult : In([lanes] signed(17))
        An int16, or 16 bits unsigned.
    i_shift : In(5)
    o_valid : Out(1)
    o : Out([lanes] signed(16))

    Raises
    ------
    ValueError
        If there are no lanes.
    """

    LATENCY = _Lane.LATENCY  # cycles

    i_valid: Signal
    i: data.View
    i_mult: data.View
    i_shift: Signal
    o_valid: Signal
    o: data.View

    def __init__(self, *, lanes: int) -> None:
        if lanes < 1:
            raise ValueError(f"lanes must be positive, not {lanes!r}")
        self.lanes = lanes
        super().__init__(
            {
                "i_valid": In(1),
                "i": In(data.ArrayLayout(signed(16), lanes)),
                "i_mult": In(data.ArrayLayout(signed(17), lanes)),
                "i_shift": In(5),
                "o_valid": Out(1),
                "o": Out(data.ArrayLayout(signed(16), lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shift = delay(m, self.i_shift, _Lane.SHIFT_AT, name="shift")
        m.d.comb += self.o_valid.eq(delay_valid(m, self.i_valid, self.LATENCY))
        for k in range(self.lanes):
            m.submodules[f"lane_{k}"] = lane = Shared(_Lane)
            m.d.comb += [lane.i.eq(self.i[k]), lane.mult.eq(self.i_mult[k]), lane.shift.eq(shift), self.o[k].eq(lane.o)]
        return m
