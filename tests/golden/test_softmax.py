"""Softmax: probabilities that weigh one for every row, bounds that hold for every row, and what a context keeps.

``python tests/golden/test_softmax.py`` writes the measured table into docs/numerics.md.
"""

import functools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from moesaic.golden import numerics
from moesaic.hw.spec import tables

DOCUMENT = Path(__file__).parents[2] / "docs" / "numerics.md"
BEGIN, END = "<!-- softmax: begin -->", "<!-- softmax: end -->"
WIDTHS = tuple(tables.PROBABILITY_BITS)
LENGTHS = (65, 197, 1201, 4097)


def streamed(t: np.ndarray, *, bits: int, block: int = 64) -> np.ndarray:
    """Probabilities [queries, keys] of scores, as they meet the values."""
    level, parts = None, []
    for start in range(0, t.shape[1], block):
        codes, maximum, level = numerics.softmax_block(t[:, start : start + block], level, bits=bits)
        parts.append((codes, maximum))
    lags = [(codes, (level - 4 * maximum)[:, None]) for codes, maximum in parts]
    return np.concatenate([numerics.probability(codes, lag, bits=bits) for codes, lag in lags], axis=1)


def exact(t: np.ndarray) -> np.ndarray:
    p = 2.0 ** ((t - t.max(axis=1, keepdims=True)) / 256)
    return p / p.sum(axis=1, keepdims=True)


def normal_scores(rng: np.random.Generator, queries: int, keys: int, spread: float) -> np.ndarray:
    """Scores with a standard deviation in natural units."""
    scores = rng.normal(size=(queries, keys)) * spread * math.log2(math.e) * 256
    return np.clip(np.round(scores), -32768, 32767).astype(np.int64)


@functools.cache
def context_db(keys: int, *, bits: int, block: int) -> float:
    """Signal to noise of all contexts of random values, which are exact here; scores have a standard deviation of 2."""
    rng, signal, noise = np.random.default_rng(11), 0.0, 0.0
    for _ in range(2 if keys > 2000 else 5):
        t, values = normal_scores(rng, 200, keys, 2), rng.integers(-127, 128, (keys, 32))
        wanted, p = exact(t) @ values, streamed(t, bits=bits, block=block)
        signal += np.square(wanted).sum()
        noise += np.square(p @ values / p.sum(axis=1, keepdims=True) - wanted).sum()
    return float(10 * np.log10(signal / noise))


def bound(keys: int, bits: int) -> float:
    """What the error of one probability of a row of `keys` keys cannot exceed: docs/numerics.md derives it."""
    weight, lost = 0.74 * (255 << bits - 8), 0.51 * (keys - 1)
    return 1.07 * lost / (weight + lost) + 0.015 * (1 + lost / weight) + 0.75 / weight


def adversarial_rows() -> Iterator[np.ndarray]:
    """Maxima that come late, rise or fall with every key, lone peaks, tails just too small, equal scores."""
    yield np.array([2048] + [0] * 1151 + [-30000] * 48 + [2049])
    yield np.array([2432] + [252] * 1200)
    yield np.arange(44) * 511 + 100
    for keys in (1, 2, 7, 65, 197, 1201):
        index = np.arange(keys)
        for step in (1, 3, 27, 256, 257, 511):
            for ramp in (index, keys - index, index * 7919 % keys):
                yield np.clip(ramp * step - keys * step // 2, -32768, 32767)
        for level in (-32768, -1, 0, 1, 255, 256, 257, 32767):
            yield np.full(keys, level)
        for place in {0, keys // 2, keys - 1}:
            yield np.where(index == place, 32767, -32768)
            yield np.where(index == place, 1, 0)
        yield np.where(index % 2 == 0, 0, 300)
        yield np.where(index // 64 % 2 == 0, 0, 513)


def random_rows(rng: np.random.Generator) -> Iterator[np.ndarray]:
    for keys in (1, 2, 7, 65, 129, 197, 1201):
        for spread in (0.1, 0.5, 1, 2, 4, 8):
            yield from normal_scores(rng, 4, keys, spread) + rng.integers(-4000, 4000)


@functools.cache
def two_levels(bits: int) -> float:
    """Worst error of a key above 1,200 equal ones, or of one of those: every distance and place between integers."""
    worst = 0.0
    for first in range(256):
        # The second block, of equal keys, has a maximum of its own.
        distance = np.arange(0, 16 << 8)
        top, low = np.full_like(distance, first + (10 << 8)), first + (10 << 8) - distance
        codes, maximum, level = numerics.softmax_block(np.stack([top, *[low] * 15], axis=1), None, bits=bits)
        others, below, level = numerics.softmax_block(np.stack([low] * 8, axis=1), level, bits=bits)
        x = numerics.probability(codes[:, :2], (level - 4 * maximum)[:, None], bits=bits)
        y = numerics.probability(others[:, 0], level - 4 * below, bits=bits)
        p = 2.0 ** (-distance / 256)
        total, wanted = x[:, 0] + 63 * x[:, 1] + 1137 * y, 1 + 1200 * p
        worst = max(
            worst, *(float(np.abs(a / total - b / wanted).max()) for a, b in ((x[:, 0], 1), (y, p), (x[:, 1], p)))
        )
    return worst


def test_the_sum_is_of_what_is_used() -> None:
    """The sum of a row's probabilities, times its reciprocal, is one for each sum that there can be."""
    sums = np.arange(1, 1 << 21)
    r, e = numerics.reciprocal(sums)
    assert np.abs(sums * np.ldexp(r, -16 - e) - 1).max() < 9e-5
    # The multiplier of a context, with any scalar of 16 bits; 1 / sum is rounded with it.
    for scalar in (1 << 15, 40000, (1 << 16) - 1):
        multiplier = (r * scalar + (1 << 15)) >> 16
        assert np.abs(sums * np.ldexp(multiplier, -e) / scalar - 1).max() < 0.0002


@pytest.mark.parametrize("bits", WIDTHS)
def test_neighbours_weigh_no_more_than_a_chain_holds(bits: int) -> None:
    """Each probability is at most its power's share of the most, and the rounding: for every code and lag."""
    most = 255 << bits - 8
    codes, lags = np.meshgrid(np.arange(256), np.arange(-4, 80))
    distance = (64 + codes % 64 << codes // 64) - 64 + 16 * lags
    codes, lags = codes[distance >= 0], lags[distance >= 0]
    power = np.asarray(tables.power_table())[codes >> 2]
    x = numerics.probability(codes, lags, bits=bits)
    assert (x <= most * 2.0 ** (-lags / 4) * power / tables.POWER_UNIT + 0.75 * (power > 0)).all()
    # The level makes all powers of neighbours one: a quarter of a unit is left for each of them.
    size = tables.neighbours(bits)
    for quarter, limit in enumerate(tables.level_limits(bits), start=-4):
        assert most * 2.0 ** (-quarter / 4) * limit / tables.POWER_UNIT + 0.75 * size <= 256 * size


@pytest.mark.parametrize("bits", WIDTHS)
def test_rows_stay_within_what_is_derived(bits: int) -> None:
    """The error of each probability; the weight that the bound takes for granted; and what neighbours weigh."""
    size, rows = tables.neighbours(bits), [*adversarial_rows(), *random_rows(np.random.default_rng(2))]
    block = 64 if bits > 9 else 8
    for t in rows:
        x = streamed(t[None], bits=bits, block=block)
        assert np.abs(x / x.sum() - exact(t[None])).max() <= bound(len(t), bits), t
        assert x.sum() >= 0.74 * (255 << bits - 8), t
        assert np.pad(x[0], (0, -len(t) % size)).reshape(-1, size).sum(axis=1).max() <= 256 * size


@pytest.mark.parametrize("bits", WIDTHS)
def test_tails_stay_within_what_is_derived(bits: int) -> None:
    assert two_levels(bits) <= bound(1201, bits)


def test_a_late_maximum_takes_nothing_from_what_came_before() -> None:
    t = np.array([[2048] + [0] * 1151 + [-30000] * 48 + [2049]])
    x = streamed(t, bits=11)
    assert np.abs(x / x.sum() - exact(t)).max() < 0.03


@pytest.mark.parametrize("block", (64, 16))
def test_contexts_keep_what_is_promised(block: int) -> None:
    assert context_db(1201, bits=11, block=block) >= 38


def test_the_state_is_the_highest_level() -> None:
    t = np.arange(20)[None] * 100
    codes, maximum, level = numerics.softmax_block(t, None, bits=9)
    assert maximum.tolist() == [8] and codes[0, -1] == numerics.distance_code(np.array(8 * 256 - 1900))
    assert numerics.softmax_block(t - 5000, level, bits=9)[2].tolist() == level.tolist()
    assert numerics.softmax_block(t + 5120, level, bits=9)[2].tolist() == [level[0] + 80]  # 20 powers of two


def test_distances_are_the_nearest_that_a_byte_has() -> None:
    values = (64 + np.arange(256) % 64 << np.arange(256) // 64) * 4 - 256
    d = np.arange(1 << 12)
    found = values[numerics.distance_code(d)]
    assert np.array_equal(np.abs(found - d), np.abs(values[:, None] - d).min(axis=0))
    assert numerics.distance_code(np.array([0, 3808, 65536])).tolist() == [0, 255, 255]


def table() -> str:
    head = "| bits | " + " | ".join(f"{keys:,} keys" for keys in LENGTHS) + " | key above 1,200 others | bound |\n"
    lines = []
    for bits in WIDTHS:
        block = 64 if bits > 9 else 8
        cells = [f"{context_db(keys, bits=bits, block=block):.1f} dB" for keys in LENGTHS]
        lines.append(f"| {bits} | {' | '.join(cells)} | {two_levels(bits):.3f} | {bound(1201, bits):.3f} |")
    return head + "|---" * 7 + "|\n" + "\n".join(lines)


def test_document_is_current() -> None:
    text = DOCUMENT.read_text()
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == table()


if __name__ == "__main__":
    before, rest = DOCUMENT.read_text().split(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}")
