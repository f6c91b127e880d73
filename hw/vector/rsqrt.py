"""1/sqrt(x) as a 16-bit mantissa and an exponent: tables of 192 words and one Newton step."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.spec.tables import rsqrt_table
from moesaic.hw.vector.multiply import DSP_LATENCY, dsp_product
from moesaic.hw.vector.normal import leading_one, top_bits
from moesaic.hw.vector.pipeline import delay, delay_valid, lookup

__all__ = ["ReciprocalSqrt"]


class ReciprocalSqrt(wiring.Component):
    """``1/sqrt(i) ~ o_r * 2**-16 * 2**-o_e``.

    Computes ``golden.numerics.rsqrt`` bit for bit. One result per cycle, `LATENCY` cycles later; no back pressure;
    `o_valid` is 0 after reset. Two DSP slices.

    Parameters
    ----------
    in_bits : int
        Width of the input, 3..62.

    Members
    -------
    i_valid : In(1)
    i : In(in_bits)
        1 or more; for 0 the result has no meaning.
    o_valid : Out(1)
    o_r : Out(16)
    o_e : Out(range(ceil(in_bits / 2)))

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
        if not 3 <= in_bits <= 62:
            raise ValueError(f"in_bits must be between 3 and 62, not {in_bits!r}")
        self.in_bits = in_bits
        self.pairs = (in_bits + 1) // 2
        super().__init__(
            {
                "i_valid": In(1),
                "i": In(in_bits),
                "o_valid": Out(1),
                "o_r": Out(16),
                "o_e": Out(range(self.pairs)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o_valid.eq(delay_valid(m, self.i_valid, self.LATENCY))

        # The leading pair of bits gives the exponent at once.
        pairs = Cat(self.i[2 * k : 2 * k + 2].any() for k in range(self.pairs))
        exponent = Signal(range(self.pairs), reset_less=True)
        m.d.sync += exponent.eq(leading_one(m, pairs, name="position"))
        m.d.comb += self.o_e.eq(delay(m, exponent, self.LATENCY - 1, name="exponent"))

        padded = Signal(2 * self.pairs)
        m.d.comb += padded.eq(self.i)
        mantissa = Signal(16, reset_less=True)  # Q2.14 in [1, 4)
        m.d.sync += mantissa.eq(top_bits(delay(m, padded, 1, name="value"), Cat(Const(1, 1), exponent), bits=16))

        # The guess's square comes from a table of its own, which is there sooner than a product would be.
        index = Signal(8)
        m.d.comb += index.eq(mantissa[8:] - 64)
        guess = lookup(m, rsqrt_table(), index, bits=16, name="table")
        square = lookup(m, tuple(y * y >> 16 for y in rsqrt_table()), index, bits=16, name="squares")
        product = dsp_product(m, delay(m, mantissa, 1, name="mantissa"), square, name="product")
        error = Signal(18, reset_less=True)  # 3 - mantissa * guess**2, Q2.16
        m.d.sync += error.eq(((3 << 30) - product)[14:32])

        newton = dsp_product(m, delay(m, guess, DSP_LATENCY + 1, name="guess"), error, name="newton")
        # No saturation: the result stays below 2^16 for each of the 49,152 mantissas, which the test runs through.
        m.d.sync += self.o_r.eq(newton[17:33])
        return m
