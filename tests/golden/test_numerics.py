"""Errors of the integer arithmetic against float64: measured, bounded, and printed in docs/numerics.md.

``python tests/golden/test_numerics.py`` writes the measured table into the document.
"""

import functools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from moesaic.golden import numerics
from moesaic.hw.functions.curves import Curves
from moesaic.hw.spec import tables
from moesaic.hw.spec.curves import CURVES, EXACT_FRACTION_BITS

DOCUMENT = Path(__file__).parents[2] / "docs" / "numerics.md"
ACTIVATIONS = "<!-- activations: begin -->", "<!-- activations: end -->"
GELU_CYCLES = 7  # of GELU when it was alone
CODES = np.arange(-32768, 32768)
BEGIN, END = "<!-- errors: begin -->", "<!-- errors: end -->"


@dataclass(frozen=True)
class Measurement:
    """Worst and RMS error of one function over one range; `bound` is what `worst` may not exceed."""

    what: str
    unit: str
    bound: float
    error: np.ndarray

    @property
    def worst(self) -> float:
        return float(np.abs(self.error).max())

    @property
    def rms(self) -> float:
        return float(np.sqrt(np.mean(np.square(self.error))))

    @property
    def row(self) -> str:
        return f"| {self.what} | {self.unit} | {self.worst:.3g} | {self.rms:.3g} | {self.bound:.3g} |"


EXACT: dict[str, Callable[[float], float]] = {  # of a curve
    "gelu": lambda v: 0.5 * v * math.erfc(-v / math.sqrt(2)),
    "silu": lambda v: v / (1 + math.exp(-v)),
    "sigmoid": lambda v: 1 / (1 + math.exp(-v)),
}


def curve_error(curve: str, computed: np.ndarray, fraction_bits: int) -> np.ndarray:
    step = 2.0 ** -(CURVES[curve].fraction_bits or 0)
    return computed / 2**fraction_bits - np.array([EXACT[curve](float(x)) for x in CODES * step])


def curve_errors() -> Iterator[Measurement]:
    for curve, name in (("gelu", "GELU"), ("silu", "SiLU"), ("sigmoid", "sigmoid")):
        exact = numerics.activation_exact(curve, CODES)
        yield Measurement(
            f"{name} before output rounding, every int16", "1", 5.5e-5, curve_error(curve, exact, EXACT_FRACTION_BITS)
        )
        rounded = curve_error(curve, numerics.activation(curve, CODES), tables.GELU_FRACTION_BITS)
        yield Measurement(f"{name}, every int16", "1", 5.5e-5 + 2**-11, rounded)
    slope = 1.702
    x = CODES / 2**tables.GELU_FRACTION_BITS / slope
    exact = np.array([v / (1 + math.exp(-slope * v)) for v in x])
    error = numerics.activation("silu", CODES) / 2**tables.GELU_FRACTION_BITS / slope - exact
    yield Measurement(
        "QuickGELU, as SiLU of steps of 2^-10 / 1.702, every int16", "1", (5.5e-5 + 2**-11) / slope, error
    )


def activation_rows() -> Iterator[str]:
    """Function, unit, worst and RMS error, words of its table, cycles beyond those of GELU alone."""
    extra = Curves.LATENCY - GELU_CYCLES
    measured = {m.what.partition(",")[0]: m for m in curve_errors()}
    active = numerics.activation("relu", CODES)
    exact = np.maximum(CODES, 0.0)
    relu = Measurement("ReLU", "", 0, active - exact)
    squared = Measurement("square of ReLU", "", 0, numerics.rescale(active, active, 15) - exact**2 / 2**15)
    for what, found, curve in (
        ("ReLU", relu, "relu"),
        ("square of ReLU", squared, "relu"),
        ("GELU", measured["GELU"], "gelu"),
        ("SiLU", measured["SiLU"], "silu"),
        ("QuickGELU, as SiLU", measured["QuickGELU"], ""),
        ("sigmoid", measured["sigmoid"], "sigmoid"),
    ):
        words = len(CURVES[curve].knots) if curve else 0
        yield f"| {what} | {found.worst:.3g} | {found.rms:.3g} | {words} | {extra} |"


def activation_table() -> str:
    head = "| activation | worst error | RMS error | table words | extra cycles |\n|---|---|---|---|---|\n"
    return head + "\n".join(activation_rows())


def reciprocal_errors() -> Iterator[Measurement]:
    x = np.concatenate([np.arange(1, 1 << 16), np.random.default_rng(0).integers(1 << 16, 1 << 24, 1 << 18)])
    r, e = numerics.reciprocal(x)
    yield Measurement(
        "reciprocal, 1..65,535 and 2^18 random values below 2^24", "relative", 9e-5, x * np.ldexp(r, -16 - e) - 1
    )


def rsqrt_errors() -> Iterator[Measurement]:
    rng = np.random.default_rng(1)
    x = np.concatenate([np.arange(1, 1 << 16), rng.integers(1 << 16, 1 << 51, 1 << 18) >> rng.integers(0, 35, 1 << 18)])
    r, e = numerics.rsqrt(x)
    yield Measurement(
        "rsqrt, 1..65,535 and 2^18 random values below 2^51", "relative", 1.1e-4, np.sqrt(x) * np.ldexp(r, -16 - e) - 1
    )


def exponential_errors() -> Iterator[Measurement]:
    d = np.arange(1 << 16)
    yield Measurement(
        "wide_exp2, every distance below 64", "1/65535", 134, numerics.wide_exp2(d) - 65535 * 2.0 ** (-d / 1024)
    )


def mantissa(value: float) -> tuple[int, int]:
    """A positive constant as a 16-bit integer and a right shift."""
    exponent = 15 - math.floor(math.log2(value))
    return min(65535, round(math.ldexp(value, exponent))), exponent


def norm_errors() -> Iterator[Measurement]:
    yield from one_norm_errors("LayerNorm", centred=True)
    yield from one_norm_errors("RMSNorm", centred=False)


def one_norm_errors(name: str, *, centred: bool) -> Iterator[Measurement]:
    rng = np.random.default_rng(3)
    step, residual_step, eps = 1 / 1024, 1 / 1024, 1e-6
    for dim in (64, 192, 384):
        spread = 2.0 ** rng.uniform(-3, 2.3, (400, 1))
        x = rng.normal(size=(400, dim)) * spread + rng.normal(size=(400, 1)) * spread
        x[::7, 0] *= 20  # outlying channels
        q = np.clip(np.round(x / residual_step), -32768, 32767).astype(np.int64)
        inv_dim, inv_dim_shift = tables.inverse_of_dim(dim)
        scale, shift = mantissa(dim * 32)
        epsilon = max(1, round(dim**2 * eps / residual_step**2))
        y = numerics.layernorm(
            q,
            q.sum(axis=1),
            (q * q).sum(axis=1),
            dim=dim,
            inv_dim=inv_dim,
            inv_dim_shift=inv_dim_shift,
            scale=scale,
            shift=shift + 4 - 5,
            epsilon=epsilon,
            rms=int(not centred),
        )
        real = q * residual_step
        real -= real.mean(axis=1, keepdims=True) if centred else 0
        exact = real / np.sqrt(np.mean(real**2, axis=1, keepdims=True) + eps)
        yield Measurement(
            f"{name} of {dim} channels, 400 rows, step 1/1024", "steps", 0.9, y - np.clip(exact / step, -4096, 4095)
        )


def route_errors() -> Iterator[Measurement]:
    rng = np.random.default_rng(4)
    spread = 2.0 ** rng.uniform(4, 13, (4000, 1))
    logits = np.clip(np.round(rng.normal(size=(4000, 16)) * spread), -32768, 32767).astype(np.int64)
    weight = 2.0 ** ((logits - logits.max(axis=1, keepdims=True)) / 1024)
    for renormalise, name in ((False, "noisy_vmoe"), (True, "noisy")):
        index, score = numerics.route(logits, 4, renormalise=renormalise)
        chosen = np.take_along_axis(weight, index, axis=1)
        exact = chosen / (chosen if renormalise else weight).sum(axis=1, keepdims=True)
        yield Measurement(f"gate scores, `{name}`, top 4 of 16, 4,000 random tokens", "1", 6e-4, score / 65536 - exact)


@functools.cache
def measurements() -> tuple[Measurement, ...]:
    sources = (
        curve_errors,
        reciprocal_errors,
        rsqrt_errors,
        exponential_errors,
        norm_errors,
        route_errors,
    )
    return tuple(row for source in sources for row in source())


def table() -> str:
    head = "| function and range | unit | worst error | RMS error | asserted bound |\n|---|---|---|---|---|\n"
    return head + "\n".join(measurement.row for measurement in measurements())


@pytest.mark.parametrize("number", range(len(measurements())), ids=lambda number: measurements()[number].what)
def test_error_is_bounded(number: int) -> None:
    measurement = measurements()[number]
    assert measurement.worst <= measurement.bound


def test_gelu_is_no_worse_than_published_in_fewer_words() -> None:
    assert measurements()[0].worst <= 9.74e-5
    assert len(tables.gelu_knots()) <= 177
    assert max(tables.gelu_knots()) < 1 << tables.GELU_KNOT_BITS


def test_document_is_current() -> None:
    text = DOCUMENT.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == table()
    assert text.partition(ACTIVATIONS[0])[2].partition(ACTIVATIONS[1])[0].strip() == activation_table()


def test_document_names_the_sizes() -> None:
    text = DOCUMENT.read_text()
    for name, words, bits in (
        ("gelu_knots", tables.gelu_knots(), tables.GELU_KNOT_BITS),
        ("silu_knots", tables.silu_knots(), 15),
        ("sigmoid_knots", tables.sigmoid_knots(), 16),
        ("power_table", tables.power_table(), 8),
        ("probability_table", tables.probability_table(11), 12),
        ("wide_exp2_table", tables.wide_exp2_table(), 16),
        ("reciprocal_table", tables.reciprocal_table(), 16),
        ("rsqrt_table", tables.rsqrt_table(), 16),
    ):
        assert max(words).bit_length() <= bits
        assert re.search(rf"\| `{name}` \| {len(words)} \| {bits} \|", text), name


def test_relu_is_exact_and_its_square_rounds_once() -> None:
    assert numerics.activation("relu", CODES).tolist() == np.maximum(CODES, 0).tolist()
    active = numerics.activation("relu", CODES)
    for shift in (15, 22):
        wanted = np.floor(np.maximum(CODES, 0).astype(float) ** 2 / 2**shift + 0.5)
        assert numerics.rescale(active, active, shift).tolist() == np.minimum(wanted, 32767).tolist()


def test_curves_stay_within_their_output() -> None:
    """No code needs saturation; a sigmoid lies between 0 and 1."""
    for curve in CURVES:
        assert np.abs(numerics.activation(curve, CODES)).max() <= 32767
    sigmoid = numerics.activation("sigmoid", CODES)
    assert (sigmoid.min(), sigmoid[32768], sigmoid.max()) == (0, 512, 1024)


def test_round_shift_rounds_halves_up() -> None:
    assert numerics.round_shift(np.array([-3, -2, -1, 0, 1, 2, 3]), 1).tolist() == [-1, -1, 0, 0, 1, 1, 2]
    assert numerics.round_shift(np.array([5, -5]), 0).tolist() == [5, -5]
    assert numerics.round_shift(np.array([7, 7, 7]), np.array([0, 2, 62])).tolist() == [7, 2, 0]


def test_requantise_saturates() -> None:
    assert numerics.requantise(np.array([1 << 26, -(1 << 26), 3]), 65535, 2).tolist() == [32767, -32768, 32767]
    assert numerics.requantise(np.array([100]), 3, 1).tolist() == [150]


def test_log2_floor_refuses_zero() -> None:
    assert numerics.log2_floor(np.array([1, 2, 3, 4, (1 << 62) - 1])).tolist() == [0, 1, 1, 2, 61]
    with pytest.raises(ValueError, match="log2_floor: x must be positive, not 0"):
        numerics.log2_floor(np.array([4, 0]))


def test_the_lowest_expert_wins_a_tie() -> None:
    index, score = numerics.route(np.array([[5, 9, 9, 5]]), 3, renormalise=True)
    assert index.tolist() == [[1, 2, 0]] and score[0, 0] == score[0, 1] > score[0, 2]


def written(text: str, marks: tuple[str, str], content: str) -> str:
    """The document with what lies between two marks replaced."""
    before, rest = text.split(marks[0])
    return f"{before}{marks[0]}\n{content}\n{marks[1]}{rest.split(marks[1])[1]}"


if __name__ == "__main__":
    current = written(DOCUMENT.read_text(), (BEGIN, END), table())
    DOCUMENT.write_text(written(current, ACTIVATIONS, activation_table()))
