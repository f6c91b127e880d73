"""The gate of one token: the k largest logits and their softmax scores."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.moe.argmax import ArgMax, argmax_latency
from moesaic.hw.spec.isa import GateKind
from moesaic.hw.spec.tables import LOGIT_FRACTION_BITS, LOGIT_SHIFT_BITS, wide_exp2_table
from moesaic.hw.vector.multiply import DSP_LATENCY, dsp_product
from moesaic.hw.vector.pipeline import copies, delay, delay_valid, lookup, stages
from moesaic.hw.vector.reciprocal import Reciprocal
from moesaic.hw.vector.reduce import AdderTree, tree_latency
from moesaic.hw.vector.rounding import RoundShift

__all__ = ["Gate", "gate_latency"]

_KEY_BITS = 17  # int16, and one value below all of them for experts that cannot win


class _WideExponential(wiring.Component):
    """``65535 * 2**((t - maximum) * 2**shift / 1024)`` rounded to 16 bits, 0 if not `valid`.

    It is `golden.numerics.wide_exp2` of a distance shifted left.
    """

    LATENCY = 3

    t: Signal
    maximum: Signal
    shift: Signal
    valid: Signal
    o: Signal

    def __init__(self) -> None:
        key = signed(_KEY_BITS)
        super().__init__(
            {"t": In(key), "maximum": In(key), "shift": In(LOGIT_SHIFT_BITS), "valid": In(1), "o": Out(16)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        distance = Signal(16)
        m.d.comb += distance.eq(self.maximum - self.t)
        shifted = Signal(16 + (1 << LOGIT_SHIFT_BITS) - 1)
        m.d.comb += shifted.eq(distance << self.shift)
        # Whole powers of two are the next stage's; five bits of them, and whether there are more.
        index = Signal(8, reset_less=True)
        whole = Signal(6, reset_less=True)
        m.d.sync += [
            index.eq(shifted[LOGIT_FRACTION_BITS - 8 : LOGIT_FRACTION_BITS]),
            whole.eq(Cat(shifted[LOGIT_FRACTION_BITS:][:5], shifted[LOGIT_FRACTION_BITS + 5 :].any())),
        ]
        fraction = lookup(m, wide_exp2_table(), index, bits=16, name="table")
        power = Signal(5, reset_less=True)
        m.d.sync += power.eq(whole[:5] | whole[5].replicate(5))
        half = Signal(17)
        m.d.comb += half.eq(fraction.shift_left(1) >> power)
        m.d.sync += self.o.eq(Mux(delay(m, self.valid, 2, name="valid"), (half + 1)[1:], 0))
        return m


def _stages(experts: int, max_top_k: int) -> tuple[int, int, int]:
    """Cycles until the largest logit is known, the last of the chosen, and the sum of exponentials."""
    choice = argmax_latency(experts)
    maximum_at = 1 + choice
    chosen_at = maximum_at + (max_top_k - 1) * (choice + 1)
    all_at = maximum_at + _WideExponential.LATENCY + tree_latency(experts)
    some_at = chosen_at + _WideExponential.LATENCY + tree_latency(max_top_k)
    return maximum_at, chosen_at, max(all_at, some_at) + 1


def _known(m: Module, value: Value, cycles: int, *, name: str) -> Value:
    """`value`, `cycles` cycles later, from a register and not from a shift register: many ask for it."""
    if not cycles:
        return value
    return copies(m, delay(m, value, cycles - 1, name=name), 1, name=name)[0]


def gate_latency(experts: int, max_top_k: int) -> int:
    """Cycles from a token's logits to its experts and their scores."""
    return _stages(experts, max_top_k)[2] + Reciprocal.LATENCY + DSP_LATENCY + RoundShift.LATENCY


class Gate(wiring.Component):
    """The `top_k` largest logits of a token, the lowest expert first among equals, and their scores.

    Computes ``golden.numerics.route`` bit for bit over the experts of `i_mask`. One token per cycle, `latency` cycles
    later: one arg-max tree after the other, each with the winners so far taken out. No back pressure; `o_valid` is 0
    after reset.
    A DSP slice per score, and two.

    Parameters
    ----------
    experts : int
        Most experts, 2..64.
    max_top_k : int
        Most experts per token, 1..experts.
    tag_bits : int
        Width of what travels along.

    Members
    -------
    i_valid : In(1)
    i_logits : In([experts] signed(16)), log2 units, ``10 - i_shift`` fraction bits
    i_shift : In(LOGIT_SHIFT_BITS)
    i_mask : In(experts), those that take part: `i_top_k` at least
    i_top_k : In(range(max_top_k + 1))
    i_kind : In(1), `GateKind`
    i_tag, o_tag : In(tag_bits), Out(tag_bits)
    o_valid : Out(1)
    o_index : Out([max_top_k] range(experts)), largest first; `top_k` of them have a meaning
    o_score : Out([max_top_k] unsigned(16)), 65536 = 1.0

    Raises
    ------
    ValueError
        If a size is out of range.
    """

    i_valid: Signal
    i_logits: data.View
    i_shift: Signal
    i_mask: Signal
    i_top_k: Signal
    i_kind: Signal
    i_tag: Signal
    o_valid: Signal
    o_index: data.View
    o_score: data.View
    o_tag: Signal

    def __init__(self, *, experts: int, max_top_k: int, tag_bits: int = 1) -> None:
        if not 2 <= experts <= 64:
            raise ValueError(f"experts must be between 2 and 64, not {experts!r}")
        if not 1 <= max_top_k <= experts:
            raise ValueError(f"max_top_k must be between 1 and experts ({experts}), not {max_top_k!r}")
        if tag_bits < 1:
            raise ValueError(f"tag_bits must be positive, not {tag_bits!r}")
        self.experts, self.max_top_k, self.tag_bits = experts, max_top_k, tag_bits
        self.maximum_at, self.chosen_at, self.sum_at = _stages(experts, max_top_k)
        self.latency = gate_latency(experts, max_top_k)
        super().__init__(
            {
                "i_valid": In(1),
                "i_logits": In(data.ArrayLayout(signed(16), experts)),
                "i_shift": In(LOGIT_SHIFT_BITS),
                "i_mask": In(experts),
                "i_top_k": In(range(max_top_k + 1)),
                "i_kind": In(1),
                "i_tag": In(tag_bits),
                "o_valid": Out(1),
                "o_index": Out(data.ArrayLayout(Shape.cast(range(experts)), max_top_k)),
                "o_score": Out(data.ArrayLayout(unsigned(16), max_top_k)),
                "o_tag": Out(tag_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [
            self.o_valid.eq(delay_valid(m, self.i_valid, self.latency)),
            self.o_tag.eq(delay(m, self.i_tag, self.latency, name="tag")),
        ]
        lowest = Const(-1 << _KEY_BITS - 1, signed(_KEY_BITS))
        keys: Value = Signal(_KEY_BITS * self.experts, reset_less=True, name="keys")
        for e in range(self.experts):
            key: Value = keys[_KEY_BITS * e : _KEY_BITS * (e + 1)]
            m.d.sync += key.eq(Mux(self.i_mask[e], self.i_logits[e], lowest))

        # The winners, and all keys as they were beside the first of them.
        values: list[Value] = []
        all_keys = keys
        for j in range(self.max_top_k):
            m.submodules[f"pick_{j}"] = pick = ArgMax(bits=_KEY_BITS, terms=self.experts)
            m.d.comb += Value.cast(pick.i).eq(keys)
            left = self.chosen_at - self.maximum_at - j * (pick.latency + 1)
            values.append(_known(m, pick.o, left, name=f"value_{j}"))
            m.d.comb += self.o_index[j].eq(
                delay(m, pick.o_index, left + self.latency - self.chosen_at, name=f"index_{j}")
            )
            beside = _known(m, keys, pick.latency, name=f"keys_{j}")
            if j == 0:
                maximum, all_keys = pick.o, beside
            if j < self.max_top_k - 1:
                keys = Signal(_KEY_BITS * self.experts, reset_less=True, name=f"without_{j}")
                for e in range(self.experts):
                    key = keys[_KEY_BITS * e : _KEY_BITS * (e + 1)]
                    m.d.sync += key.eq(Mux(pick.o_index == e, lowest, beside[_KEY_BITS * e : _KEY_BITS * (e + 1)]))

        # Softmax over all experts: the sum starts as soon as the maximum is known.
        m.submodules.all_sum = all_sum = AdderTree(shape=Shape(16), terms=self.experts)
        mask = delay(m, self.i_mask, self.maximum_at, name="mask")
        shifts = stages(m, self.i_shift, self.chosen_at, name="shift")
        for e in range(self.experts):
            m.submodules[f"exponential_{e}"] = lane = _WideExponential()
            m.d.comb += [
                lane.t.eq(all_keys[_KEY_BITS * e : _KEY_BITS * (e + 1)].as_signed()),
                lane.maximum.eq(maximum),
                lane.shift.eq(shifts[self.maximum_at]),
                lane.valid.eq(mask[e]),
                all_sum.i[e].eq(lane.o),
            ]

        # Softmax over the chosen.
        top_k = delay(m, self.i_top_k, self.chosen_at, name="top_k")
        m.submodules.some_sum = some_sum = AdderTree(shape=Shape(16), terms=self.max_top_k)
        chosen: list[Value] = [Const(65535, 16)]  # the largest lies at distance 0
        m.d.comb += some_sum.i[0].eq(chosen[0])
        for j in range(1, self.max_top_k):
            m.submodules[f"chosen_{j}"] = lane = _WideExponential()
            m.d.comb += [
                lane.t.eq(values[j]),
                lane.maximum.eq(values[0]),
                lane.shift.eq(shifts[self.chosen_at]),
                lane.valid.eq(j < top_k),
                some_sum.i[j].eq(lane.o),
            ]
            chosen.append(lane.o)

        total = Signal(range(65535 * self.experts + 1), reset_less=True)
        kind = delay(m, self.i_kind, self.sum_at - 1, name="kind")
        all_ready = self.maximum_at + _WideExponential.LATENCY + all_sum.latency
        some_ready = self.chosen_at + _WideExponential.LATENCY + some_sum.latency
        m.d.sync += total.eq(
            Mux(
                kind == GateKind.NOISY,
                delay(m, some_sum.o, self.sum_at - 1 - some_ready, name="some"),
                delay(m, all_sum.o, self.sum_at - 1 - all_ready, name="all"),
            )
        )

        m.submodules.reciprocal = reciprocal = Reciprocal(in_bits=len(total))
        divided_at = self.sum_at + Reciprocal.LATENCY
        exponent = delay(m, reciprocal.o_e, DSP_LATENCY - RoundShift.AHEAD, name="exponent")
        m.d.comb += [reciprocal.i.eq(total), reciprocal.i_valid.eq(0)]
        for j in range(self.max_top_k):
            wait = divided_at - self.chosen_at - _WideExponential.LATENCY if j else 0
            # Signed like the rounding's input: an extension at its port would make every instance a module of its own.
            numerator = Cat(delay(m, chosen[j], wait, name=f"numerator_{j}"), Const(0, 1)).as_signed()
            product = dsp_product(m, numerator, reciprocal.o_r, name=f"score_{j}")
            # One bit more than the score, so that saturation is that of an unsigned number.
            m.submodules[f"round_{j}"] = rounding = RoundShift(in_bits=33, shift_bits=len(exponent), out_bits=17)
            m.d.comb += [rounding.i.eq(product), rounding.shift.eq(exponent), self.o_score[j].eq(rounding.o[:16])]
        return m
