"""LayerNorm on the way into the array: a token's scalars, its lanes, and the sums they come from."""

from amaranth.hdl import Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.shared import Shared
from moesaic.hw.spec.tables import INV_DIM_BITS, MEAN_FRACTION_BITS, MULTIPLIER_BITS, NORM_BITS
from moesaic.hw.vector.multiply import DSP_LATENCY, dsp_product
from moesaic.hw.vector.pipeline import delay, delay_valid
from moesaic.hw.vector.reduce import AdderTree, tree_latency
from moesaic.hw.vector.rounding import RoundShift
from moesaic.hw.vector.rsqrt import ReciprocalSqrt

__all__ = ["OFFSET_BITS", "NormScalars", "Normalise", "SumUpdate", "sum_latency", "sums_layout"]

_MEAN_BITS = 16 + MEAN_FRACTION_BITS  # signed
OFFSET_BITS = 17 + MULTIPLIER_BITS  # signed
_FACTOR_BITS = 17  # of a slice's narrower operand, unsigned


class NormScalars(wiring.Component):
    """Multiplier, offset and shift that normalise one token, from its sums.

    Computes the scalars of ``golden.numerics.layernorm`` bit for bit, for constants that keep the mean within
    int16 (else it saturates) and ``shift + e`` below 64. One token per cycle, `LATENCY` cycles later; no back
    pressure; `o_valid` is 0 after reset. Eleven DSP slices if `max_dim` is below 2048.

    Parameters
    ----------
    max_dim : int
        Most channels of a token, 1..4095.

    Members
    -------
    i_valid : In(1)
    i_total : In(signed), sum of the token's channels
    i_squares : In(unsigned), sum of their squares
    i_rms : In(1)
        RMSNorm: the sum counts as 0.
    i_dim, i_inv_dim, i_inv_dim_shift, i_scale, i_epsilon, i_shift : In(12, 34, 6, 16, 40, 6)
        The NORM instruction; they travel with the token.
    o_valid : Out(1)
    o_mult : Out(MULTIPLIER_BITS)
    o_offset : Out(signed(OFFSET_BITS))
        The mean times the multiplier, negative.
    o_shift : Out(6)

    Raises
    ------
    ValueError
        If `max_dim` is out of range.
    """

    LATENCY = 5 + ReciprocalSqrt.LATENCY + 2 * DSP_LATENCY + 1  # cycles

    i_valid: Signal
    i_total: Signal
    i_squares: Signal
    i_rms: Signal
    i_dim: Signal
    i_inv_dim: Signal
    i_inv_dim_shift: Signal
    i_scale: Signal
    i_epsilon: Signal
    i_shift: Signal
    o_valid: Signal
    o_mult: Signal
    o_offset: Signal
    o_shift: Signal

    def __init__(self, *, max_dim: int) -> None:
        if not 1 <= max_dim <= 4095:
            raise ValueError(f"max_dim must be between 1 and 4095, not {max_dim!r}")
        self.max_dim = max_dim
        self.total_shape = signed(16 + max_dim.bit_length())
        self.squares_shape = unsigned((max_dim << 30).bit_length())
        self.variance_bits = ((max_dim * max_dim << 30) + (1 << 40)).bit_length()
        super().__init__(
            {
                "i_valid": In(1),
                "i_total": In(self.total_shape),
                "i_squares": In(self.squares_shape),
                "i_rms": In(1),
                "i_dim": In(12),
                "i_inv_dim": In(INV_DIM_BITS),
                "i_inv_dim_shift": In(6),
                "i_scale": In(16),
                "i_epsilon": In(40),
                "i_shift": In(6),
                "o_valid": Out(1),
                "o_mult": Out(MULTIPLIER_BITS),
                "o_offset": Out(signed(OFFSET_BITS)),
                "o_shift": Out(6),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o_valid.eq(delay_valid(m, self.i_valid, self.LATENCY))
        total = Signal(self.total_shape, reset_less=True)
        m.d.sync += total.eq(Mux(self.i_rms, 0, self.i_total))
        squares = delay(m, self.i_squares, 1, name="squares")
        dim = delay(m, self.i_dim, 1, name="dim")

        # Mean: products at 3, their sum at 4, rounded at 8.
        inv_dim = delay(m, self.i_inv_dim, 1, name="inv_dim")
        scaled_low = dsp_product(m, total, inv_dim[:_FACTOR_BITS], name="scaled_low")
        scaled_high = dsp_product(m, total, inv_dim[_FACTOR_BITS:], name="scaled_high")
        scaled = Signal(signed(len(total) + INV_DIM_BITS), reset_less=True)
        m.d.sync += scaled.eq(scaled_low + scaled_high.shift_left(_FACTOR_BITS))
        m.submodules.mean = mean = RoundShift(in_bits=len(scaled), shift_bits=6, out_bits=_MEAN_BITS)
        before_mean = 2 + DSP_LATENCY
        m.d.comb += [
            mean.i.eq(scaled),
            mean.shift.eq(delay(m, self.i_inv_dim_shift, before_mean - RoundShift.AHEAD, name="inv_dim_shift")),
        ]

        # Variance: the wide products are split where a DSP slice ends; products at 3, summed at 4, difference at 5.
        cut = 17
        total_low = total[:cut]
        total_high = total[cut:].as_signed()
        squares_cut = 26
        a_low = dsp_product(m, squares[:squares_cut], dim, name="a_low")
        a_high = dsp_product(m, squares[squares_cut:], dim, name="a_high")
        b_low = dsp_product(m, total, total_low, name="b_low")
        b_high = dsp_product(m, total, total_high, name="b_high")
        epsilon = delay(m, self.i_epsilon, 1 + DSP_LATENCY, name="epsilon")
        sum_a = Signal(self.variance_bits + 1, reset_less=True)
        sum_b = Signal(self.variance_bits + 1, reset_less=True)
        variance = Signal(self.variance_bits, reset_less=True)  # dim^2 * (var + eps) >= 1
        m.d.sync += [
            sum_a.eq(a_low + a_high.shift_left(squares_cut) + epsilon),
            sum_b.eq(b_low + b_high.shift_left(cut)),
            variance.eq(sum_a - sum_b),
        ]

        m.submodules.rsqrt = rsqrt = ReciprocalSqrt(in_bits=self.variance_bits)
        at_root = 5 + ReciprocalSqrt.LATENCY
        m.d.comb += [rsqrt.i.eq(variance), rsqrt.i_valid.eq(0)]
        product = dsp_product(m, rsqrt.o_r, delay(m, self.i_scale, at_root, name="scale"), name="product")
        shift = Signal(6, reset_less=True)
        mult = Signal(MULTIPLIER_BITS, reset_less=True)
        m.d.sync += [
            shift.eq(rsqrt.o_e + delay(m, self.i_shift, at_root, name="shift")),
            mult.eq((product + (1 << 31 - MULTIPLIER_BITS))[32 - MULTIPLIER_BITS : 32]),
        ]
        at_mult = at_root + DSP_LATENCY + 1
        negative = Signal(signed(_MEAN_BITS + 1), reset_less=True)  # adders of slices are packed, subtractors are not
        m.d.sync += negative.eq(-mean.o)
        beside = delay(m, negative, at_mult - before_mean - RoundShift.LATENCY - 1, name="mean")
        offset = dsp_product(m, beside, mult, name="offset")
        m.d.comb += [
            self.o_mult.eq(delay(m, mult, DSP_LATENCY, name="mult")),
            self.o_offset.eq(offset[MEAN_FRACTION_BITS:].as_signed()),
            self.o_shift.eq(delay(m, shift, 2 * DSP_LATENCY, name="sum_shift")),
        ]
        return m


class _NormaliseLane(wiring.Component):
    """One lane of `Normalise`; `offset` comes a cycle after the value, `shift` ``SHIFT_AT`` cycles."""

    OFFSET_AT = 1
    SHIFT_AT = 1 + DSP_LATENCY - RoundShift.AHEAD
    LATENCY = 1 + DSP_LATENCY + RoundShift.LATENCY

    i: Signal
    mult: Signal
    offset: Signal
    shift: Signal
    o: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "i": In(signed(16)),
                "mult": In(MULTIPLIER_BITS),
                "offset": In(signed(OFFSET_BITS)),
                "shift": In(6),
                "o": Out(signed(NORM_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        value, mult = delay(m, self.i, 1, name="value"), delay(m, self.mult, 1, name="mult")
        offset = delay(m, self.offset, 1, name="offset")
        product = dsp_product(m, value, mult, name="product", plus=offset)
        m.submodules.round = rounding = RoundShift(in_bits=len(product), shift_bits=6, out_bits=NORM_BITS)
        m.d.comb += [rounding.i.eq(product), rounding.shift.eq(self.shift), self.o.eq(rounding.o)]
        return m


class Normalise(wiring.Component):
    """``saturate(round_shift(i * mult + offset, shift), NORM_BITS)`` in every lane, one DSP slice each.

    Computes ``golden.numerics.layernorm`` bit for bit from the scalars of `NormScalars`.
    One vector per cycle, `LATENCY` cycles later; no back pressure; `o_valid` is 0 after reset.

    Parameters
    ----------
    lanes : int

    Members
    -------
    i_valid : In(1)
    i : In([lanes] signed(16)), residual
    i_mult : In(MULTIPLIER_BITS)
    i_offset : In(signed(OFFSET_BITS))
    i_shift : In(6)
    o_valid : Out(1)
    o : Out([lanes] signed(NORM_BITS))

    Raises
    ------
    ValueError
        If there are no lanes.
    """

    LATENCY = _NormaliseLane.LATENCY  # cycles

    i_valid: Signal
    i: data.View
    i_mult: Signal
    i_offset: Signal
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
                "i_mult": In(MULTIPLIER_BITS),
                "i_offset": In(signed(OFFSET_BITS)),
                "i_shift": In(6),
                "o_valid": Out(1),
                "o": Out(data.ArrayLayout(signed(NORM_BITS), lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o_valid.eq(delay_valid(m, self.i_valid, self.LATENCY))
        offset = delay(m, self.i_offset, _NormaliseLane.OFFSET_AT, name="offset")
        shift = delay(m, self.i_shift, _NormaliseLane.SHIFT_AT, name="shift")
        for k in range(self.lanes):
            m.submodules[f"lane_{k}"] = lane = Shared(_NormaliseLane)
            m.d.comb += [
                lane.i.eq(self.i[k]),
                lane.mult.eq(self.i_mult),
                lane.offset.eq(offset),
                lane.shift.eq(shift),
                self.o[k].eq(lane.o),
            ]
        return m


class _SumLane(wiring.Component):
    """One lane of `SumUpdate`: both differences, `LATENCY` cycles later."""

    _FACTOR = signed(17)
    LATENCY = 1 + DSP_LATENCY

    new: Signal
    old: Signal
    mask: Signal
    total: Signal
    squares: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "new": In(signed(16)),
                "old": In(signed(16)),
                "mask": In(1),
                "total": Out(signed(17)),
                "squares": Out(signed(32)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # The slice's own difference, which its adder makes; the one that is added up is another.
        difference = Signal(self._FACTOR, reset_less=True)
        together = Signal(self._FACTOR, reset_less=True)
        change = Signal(self._FACTOR, reset_less=True)
        m.d.sync += [
            difference.eq(self.new - self.old),
            together.eq(Mux(self.mask, self.new + self.old, 0)),
            change.eq(Mux(self.mask, self.new - self.old, 0)),
        ]
        m.d.comb += [
            self.squares.eq(dsp_product(m, difference, together, name="product")),
            self.total.eq(delay(m, change, DSP_LATENCY, name="change")),
        ]
        return m


def sums_layout() -> data.StructLayout:
    """A token's sum and sum of squares."""
    return data.StructLayout({"total": signed(28), "squares": unsigned(42)})


def sum_latency(lanes: int) -> int:
    """Cycles from a vector of `lanes` values to what it changes in both sums."""
    return _SumLane.LATENCY + 1 + tree_latency(lanes)


class SumUpdate(wiring.Component):
    """What a written vector changes in its token's sum and sum of squares.

    ``o_total = sum(new - old)`` and ``o_squares = sum(new**2 - old**2)`` over the lanes of `i_mask`; exact. `old` is
    taken as 0 if `i_fresh`. One vector per cycle, `latency` cycles later; no back pressure; `o_valid` is 0 after reset.
    One DSP slice per lane.

    Parameters
    ----------
    lanes : int

    Members
    -------
    i_valid : In(1)
    i_new, i_old : In([lanes] signed(16))
    i_mask : In(lanes), one bit per lane
    i_fresh : In(1)
    o_valid : Out(1)
    o_total : Out(signed(17 + log2(lanes)))
    o_squares : Out(signed(32 + log2(lanes)))

    Raises
    ------
    ValueError
        If there are no lanes.
    """

    i_valid: Signal
    i_new: data.View
    i_old: data.View
    i_mask: Signal
    i_fresh: Signal
    o_valid: Signal
    o_total: Signal
    o_squares: Signal

    def __init__(self, *, lanes: int) -> None:
        if lanes < 1:
            raise ValueError(f"lanes must be positive, not {lanes!r}")
        self.lanes = lanes
        self.latency = sum_latency(lanes)
        vector, growth = data.ArrayLayout(signed(16), lanes), (lanes - 1).bit_length()
        super().__init__(
            {
                "i_valid": In(1),
                "i_new": In(vector),
                "i_old": In(vector),
                "i_mask": In(lanes),
                "i_fresh": In(1),
                "o_valid": Out(1),
                "o_total": Out(signed(17 + growth)),
                "o_squares": Out(signed(32 + growth)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.o_valid.eq(delay_valid(m, self.i_valid, self.latency))
        new = delay(m, Value.cast(self.i_new), 1, name="new")
        old = Signal(16 * self.lanes, reset_less=True)
        m.d.sync += old.eq(Mux(self.i_fresh, 0, Value.cast(self.i_old)))
        mask = delay(m, self.i_mask, 1, name="mask")

        m.submodules.totals = totals = AdderTree(shape=Shape(17, True), terms=self.lanes)
        m.submodules.squares = squares = AdderTree(shape=Shape(32, True), terms=self.lanes)
        for k in range(self.lanes):
            m.submodules[f"lane_{k}"] = lane = Shared(_SumLane)
            m.d.comb += [
                lane.new.eq(new[16 * k : 16 * k + 16]),
                lane.old.eq(old[16 * k : 16 * k + 16]),
                lane.mask.eq(mask[k]),
                totals.i[k].eq(lane.total),
                squares.i[k].eq(lane.squares),
            ]
        m.d.comb += [self.o_total.eq(totals.o), self.o_squares.eq(squares.o)]
        return m
