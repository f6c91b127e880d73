"""Rounding right shift with saturation, the last step of every requantisation; and 16 bits as two bytes."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.spec.tables import PLANE_BITS
from moesaic.hw.vector.pipeline import delay

__all__ = ["RoundShift", "digits"]

FINE_BITS = 3  # of a shift, taken in the second step


def digits(value: Value) -> tuple[Value, Value]:
    """A signed value, at most `DIGITS_TOP`, as two signed bytes: ``value = 256 * upper + lower``."""
    return ((value + (1 << PLANE_BITS - 1)) >> PLANE_BITS)[:PLANE_BITS], value[:PLANE_BITS]


class RoundShift(wiring.Component):
    """``saturate(floor(i / 2**shift + 1/2))``: shift by eights, by the rest, round half up, saturate, a stage each.

    Computes ``saturate(round_shift(i, shift), out_bits)`` of `golden.numerics` bit for bit.
    One result per cycle, `LATENCY` cycles later; no back pressure; no reset.

    Parameters
    ----------
    in_bits : int
        Width of the signed input, more than `out_bits`.
    shift_bits : int
    out_bits : int
        Width of the signed result.

    Members
    -------
    i : In(signed(in_bits))
    shift : In(shift_bits)
        `AHEAD` cycles before the input: registers of its own, for it has many loads.
    o : Out(signed(out_bits))

    Raises
    ------
    ValueError
        If a width is too small.
    """

    LATENCY = 4  # cycles
    AHEAD = 1

    i: Signal
    shift: Signal
    o: Signal

    def __init__(self, *, in_bits: int, shift_bits: int, out_bits: int) -> None:
        if out_bits < 2:
            raise ValueError(f"out_bits must be 2 or more, not {out_bits!r}")
        if in_bits <= out_bits:
            raise ValueError(f"in_bits must be more than out_bits ({out_bits}), not {in_bits!r}")
        if shift_bits < 1:
            raise ValueError(f"shift_bits must be positive, not {shift_bits!r}")
        self.in_bits, self.shift_bits, self.out_bits = in_bits, shift_bits, out_bits
        super().__init__({"i": In(signed(in_bits)), "shift": In(shift_bits), "o": Out(signed(out_bits))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        largest = (1 << self.out_bits - 1) - 1
        low, high = Const(-largest - 1, signed(self.out_bits)), Const(largest, signed(self.out_bits))

        # Shifting twice the input leaves the bit below the point, and floor((q + 1) / 2) rounds; a wide adder before
        # the shift is not needed.
        doubled = Cat(Const(0, 1), self.i).as_signed()
        shift = delay(m, self.shift, self.AHEAD, name="shift")
        fine, coarse = shift[:FINE_BITS], shift[FINE_BITS:]
        nearly = Signal(signed(self.in_bits + 1), reset_less=True)
        shifted = Signal(signed(self.in_bits + 1), reset_less=True)
        m.d.sync += [
            nearly.eq(doubled >> (coarse << FINE_BITS)),
            shifted.eq(nearly >> delay(m, fine, 1, name="fine")),
        ]

        kept = self.out_bits + 2
        top = shifted[min(kept, len(shifted)) - 1 :]
        fits = Signal(reset_less=True)
        negative = Signal(reset_less=True)
        rounded = Signal(signed(kept), reset_less=True)
        m.d.sync += [
            fits.eq(top.all() | ~top.any()),
            negative.eq(shifted[-1]),
            rounded.eq((shifted[:kept].as_signed() + 1) >> 1),
        ]

        above = rounded[self.out_bits - 1 :]
        m.d.sync += self.o.eq(
            Mux(
                fits & (above.all() | ~above.any()), rounded[: self.out_bits], Mux(negative, low, high)[: self.out_bits]
            )
        )
        return m
