"""Rounding, normalisation and distances, for every input of their full width."""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Const, Elaboratable, Module, Mux, Signal, Value, signed
from prove import prove, refute

from moesaic.hw.attention.softmax import _Distance
from moesaic.hw.spec.tables import DISTANCE_BITS, NO_KEY
from moesaic.hw.vector.normal import leading_one, top_bits
from moesaic.hw.vector.pipeline import delay
from moesaic.hw.vector.rounding import RoundShift


def _after(m: Module, cycles: int) -> Value:
    """1 when so many cycles have passed since the start."""
    passed = Signal(range(cycles + 1))
    with m.If(passed != cycles):
        m.d.sync += passed.eq(passed + 1)
    return passed == cycles


class RoundingProof(Elaboratable):
    """``saturate(floor(i / 2**shift + 1/2))``, with a sum that is wide enough, then a shift, then limits.

    Parameters
    ----------
    in_bits, shift_bits, out_bits : int
        As of `RoundShift`.
    bug : bool
        Whether one of all shifts is taken for its neighbour.
    """

    def __init__(self, in_bits: int, shift_bits: int, out_bits: int, *, bug: bool = False) -> None:
        self.dut = RoundShift(in_bits=in_bits, shift_bits=shift_bits, out_bits=out_bits)
        self.bug = bug
        self.i, self.shift = Signal(signed(in_bits)), Signal(shift_bits)
        self.free = [self.i, self.shift]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        seldom = (self.shift == 23) if self.bug else Const(0)
        m.d.comb += [dut.i.eq(self.i), dut.shift.eq(self.shift ^ seldom)]

        # The shift comes before the value that it belongs to.
        shift = delay(m, self.shift, dut.AHEAD + dut.LATENCY, name="shift_then")
        i = delay(m, self.i, dut.LATENCY, name="i_then")
        half = Signal(1 << dut.shift_bits)
        m.d.comb += half.eq((Const(1) << shift) >> 1)
        quotient = Signal(signed(dut.in_bits + 1))
        m.d.comb += quotient.eq((i + half) >> shift)
        largest = (1 << dut.out_bits - 1) - 1
        expected = Mux(quotient > largest, largest, Mux(quotient < -largest - 1, -largest - 1, quotient))
        m.d.comb += Assert(~_after(m, dut.AHEAD + dut.LATENCY) | (dut.o == expected))
        return m


# As in micro8 and micro8-wide: accumulators of 27 and 40 bits, values, scores of gates, normalised tokens, means.
@pytest.mark.parametrize(
    "sizes", [(43, 6, 16), (56, 6, 16), (32, 5, 16), (33, 5, 17), (38, 6, 13), (58, 6, 34)], ids=str
)
def test_rounding(tmp_path: Path, sizes: tuple[int, int, int]) -> None:
    top = RoundingProof(*sizes)
    prove(top, free=top.free, work=tmp_path)


def test_a_single_wrong_shift_is_found(tmp_path: Path) -> None:
    top = RoundingProof(43, 6, 16, bug=True)
    assert refute(top, free=top.free, work=tmp_path)


class NormalisationProof(Elaboratable):
    """The highest one at `place`, and 16 bits from there on: what reciprocals look up depends on nothing else."""

    def __init__(self, bits: int, *, bug: bool = False) -> None:
        self.i = Signal(bits)
        self.bug = bug
        self.free = [self.i]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        seldom = (self.i == 3 << len(self.i) - 3) if self.bug else Const(0)
        place = leading_one(m, self.i ^ seldom.replicate(len(self.i)), name="place")
        mantissa = top_bits(self.i, place, bits=16)
        m.d.comb += [
            Assert((self.i == 0) | ((self.i >> place) == 1)),
            Assert((self.i == 0) | (mantissa == (self.i.shift_left(15) >> place)[:16])),
        ]
        return m


# Sums of probabilities and of gates' exponentials, pairs of bits of a variance, and the widest that there may be.
@pytest.mark.parametrize("bits", [19, 21, 46, 62])
def test_normalisation(tmp_path: Path, bits: int) -> None:
    top = NormalisationProof(bits)
    prove(top, free=top.free, work=tmp_path)


def test_a_single_wrong_place_is_found(tmp_path: Path) -> None:
    top = NormalisationProof(46, bug=True)
    assert refute(top, free=top.free, work=tmp_path)


class DistanceProof(Elaboratable):
    """A score's distance from the maximum as a number with an exponent: `golden.numerics.distance_code`."""

    def __init__(self, *, bug: bool = False) -> None:
        self.dut = _Distance()
        self.bug = bug
        self.free = [self.dut.t, self.dut.maximum, self.dut.valid]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        above = Signal(18)  # not negative: the maximum is one of the scores, rounded up
        m.d.comb += above.eq((dut.maximum << 8) - dut.t + 256)
        exponent = Mux(above >= 2048, 3, Mux(above >= 1024, 2, Mux(above >= 512, 1, 0)))
        dropped = Signal(4)
        m.d.comb += dropped.eq(exponent + 8 - DISTANCE_BITS)
        kept = (above + ((Const(1) << dropped) >> 1)) >> dropped
        code = Signal(signed(20))
        m.d.comb += code.eq(kept + (exponent - 1) * (1 << DISTANCE_BITS))
        expected = Mux(dut.valid & (code < NO_KEY), code[:8], NO_KEY)
        then = delay(m, expected ^ ((above == 1000) if self.bug else 0), dut.LATENCY, name="then")
        lawful = delay(m, (dut.maximum << 8) >= dut.t, dut.LATENCY, name="lawful")
        m.d.comb += Assert(~_after(m, dut.LATENCY) | ~lawful | (dut.o == then))
        return m


@pytest.mark.parametrize("bug", [False, True])
def test_distance(tmp_path: Path, *, bug: bool) -> None:
    top = DistanceProof(bug=bug)
    if bug:
        assert refute(top, free=top.free, work=tmp_path)
    else:
        prove(top, free=top.free, work=tmp_path)
