"""1/x as a 16-bit mantissa and an exponent: table of 64 words and one Newton step."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.spec.tables import reciprocal_table
from moesaic.hw.vector.multiply import DSP_LATENCY, dsp_product
from moesaic.hw.vector.normal import leading_one, top_bits
from moesaic.hw.vector.pipeline import delay, delay_valid, lookup

__all__ = ["Reciprocal"]


class Reciprocal(wiring.Component):
    """``1/i ~ o_r * 2**-16 * 2**-o_e``.

    Computes ``golden.numerics.reciprocal`` bit for bit. One result per cycle, `LATENCY` cycles later; no back pressure;
    `o_valid` is 0 after reset. Two DSP slices.

    Parameters
    ----------
    in_bits : int
        Width of the input, 2..31.

    Members
    -------
    i_valid : In(1)
    i : In(in_bits)
        1 or more; for 0 the result has no meaning.
    o_valid : Out(1)
    o_r : Out(16)
    o_e : Out(range(in_bits))

    Raises
    ------
    ValueError
        If the width is out of range.
    """

    LATENCY = 5 + 2 * DSP_LATENCY  # cycles

    i_valid: Signal
    i: Signal
    o_valid: Signal
    o_r: Signal
    o_e: Signal

    def __init__(self, *, in_bits: int) -> None:
        if not 2 <= in_bits <= 31:
            raise ValueError(f"in_bits must be between 2 and 31, not {in_bits!r}")
        self.in_bits = in_bits
        super().__init__(
            {
                "i_valid": In(1),
                "i": In(in_bits),
                "o_valid": Out(1),
                "o_r": Out(16),
                "o_e": Out(range(in_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o_valid.eq(delay_valid(m, self.i_valid, self.LATENCY))

        exponent = Signal(range(self.in_bits), reset_less=True)
        m.d.sync += exponent.eq(leading_one(m, self.i, name="position"))
        m.d.comb += self.o_e.eq(delay(m, exponent, self.LATENCY - 1, name="exponent"))

        mantissa = Signal(16, reset_less=True)  # Q1.15 in [1, 2)
        m.d.sync += mantissa.eq(top_bits(delay(m, self.i, 1, name="value"), exponent, bits=16))

        guess = lookup(m, reciprocal_table(), mantissa[9:15], bits=16, name="table")
        product = dsp_product(m, delay(m, mantissa, 1, name="mantissa"), guess, name="product")
        error = Signal(17, reset_less=True)  # 2 - mantissa * guess, Q1.16
        m.d.sync += error.eq(((2 << 31) - product)[15:32])

        newton = dsp_product(m, delay(m, guess, DSP_LATENCY + 1, name="guess"), error, name="newton")
        # No saturation: the result stays below 2^16 for each of the 2^15 mantissas, which the test runs through.
        m.d.sync += self.o_r.eq(newton[16:32])
        return m
