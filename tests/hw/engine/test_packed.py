# amaranth: UnusedElaboratable=no
"""Two products per slice are exact: the formula for every operand, and the exported RTL for every operand."""

from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Const, signed

from moesaic.hw.engine.packed import RowPair, chain_length, field_bits, offset_of, pair_latency, sum_bits
from moesaic.hw.verilog import to_verilog
from moesaic.sim.build import build
from moesaic.sim.verilated import run

COCOTB = Path(__file__).parents[2] / "cocotb"
INT8 = np.arange(-128, 128, dtype=np.int64)
LARGEST = 128 * 255  # of a product


def split(total: np.ndarray, field: int) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower sum of a chain's total, as RowPair reads them."""
    low = total & (1 << field) - 1
    return total >> field, low - (1 << field - 1)


def wrong_products(chain: int, field: int) -> int:
    """Products that come out wrong for the first value that has any, over all int8 weights and 9-bit values but -256,
    with the other
    lanes at their extremes.
    """
    upper, lower = INT8[:, None], INT8[None, :]
    packed = (upper << field) + (lower + 128)
    for x in range(-255, 256):
        for sign in (-1, 1):
            # The other lanes: weights of -128, values of -255 * sign, so that both of their sums are largest.
            others = chain - 1
            rest = (-128 << field) * others * -255 * sign  # their lower weight, packed, is 0
            offset = (1 << field - 1) - 128 * (x + others * -255 * sign)
            total = packed * x + rest + offset
            upper_sum, lower_sum = split(total, field)
            expected = others * LARGEST * sign
            if wrong := np.count_nonzero(upper_sum != upper * x + expected) + np.count_nonzero(
                lower_sum != lower * x + expected
            ):
                return wrong
    return 0


@pytest.mark.parametrize("chain", [1, 2, 8])
def test_formula(chain: int) -> None:
    assert wrong_products(chain, field_bits(chain)) == 0


def wrong_probabilities(chain: int, field: int, most: int) -> int:
    """Products that come out wrong, of all lower weights and values of 0..`most`, where the others of the chain bring
    all values to `most` or are 0, at either extreme of their weights.
    """
    lower, x = INT8[:, None], np.arange(most + 1)[None, :]
    wrong = 0
    for upper in (-128, -1, 0, 127):
        for others in (np.zeros_like(x), most - x):
            for extreme in (-128, 127):
                offset = (1 << field - 1) - 128 * (x + others)
                total = ((upper << field) + lower + 128) * x + ((upper << field) + extreme + 128) * others + offset
                sums = split(total, field)
                wrong += np.count_nonzero(sums[0] != upper * (x + others))
                wrong += np.count_nonzero(sums[1] != lower * x + extreme * others)
    return wrong


@pytest.mark.parametrize("chain", [1, 2, 8])
def test_probabilities(chain: int) -> None:
    """Values that are not negative may weigh 256 for each slice, in the mean, and no more."""
    assert wrong_probabilities(chain, field_bits(chain), 256 * chain) == 0
    assert wrong_probabilities(chain, field_bits(chain), 260 * chain) > 0


@pytest.mark.parametrize("chain", [1, 2, 8])
def test_no_field_bit_to_spare(chain: int) -> None:
    assert wrong_products(chain, field_bits(chain) - 1) > 0


def test_widths() -> None:
    """A DSP48E1 multiplies 25 bits, a DSP48E2 27: what small and large arrays need."""
    assert [(chain_length(lanes), 8 + field_bits(chain_length(lanes))) for lanes in (4, 8, 16, 32, 64, 128)] == [
        (2, 25),
        (2, 25),
        (2, 25),
        (8, 27),
        (8, 27),
        (8, 27),
    ]


@pytest.mark.parametrize(("chain", "total"), [(2, -510), (2, 510), (8, -2040), (8, 0), (8, 2040)])
def test_offset(chain: int, total: int) -> None:
    value = offset_of(Const(total, signed(12)), chain=chain)
    assert len(value) == field_bits(chain)


@pytest.mark.parametrize("sizes", [{"lanes": 12, "chain": 2}, {"lanes": 0, "chain": 1}], ids=str)
def test_lanes_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"lanes must be a power of two, not {sizes['lanes']}"):
        RowPair(**sizes)


@pytest.mark.parametrize("chain", [0, 3, 16])
def test_chain_refused(chain: int) -> None:
    with pytest.raises(ValueError, match=rf"chain must be a power of two and at most lanes \(8\), not {chain}"):
        RowPair(lanes=8, chain=chain)


def test_chain_in_both_halves_refused() -> None:
    with pytest.raises(ValueError, match=r"chain must be at most half the lanes \(8\), not 8"):
        RowPair(lanes=8, chain=8, halves=1)


@pytest.mark.parametrize(("chain", "place"), [(2, 0), (8, 7)])
def test_exported_rtl(tmp_path: Path, chain: int, place: int) -> None:
    """All 2^16 pairs of weights times all 511 values, first or last in a chain whose other products are extreme."""
    verilog = to_verilog(RowPair(lanes=chain, chain=chain), name="pair")
    sizes = {"CHAIN": chain, "FIELD": field_bits(chain), "PLACE": place, "SUM_BITS": sum_bits(chain)}
    assert pair_latency(chain, chain) == 1 + chain
    simulator = build(
        verilog,
        top="packing",
        extra_sources=[COCOTB / "packing.sv"],
        extra_args=[f"-G{name}={value}" for name, value in sizes.items()],
    )
    run(simulator, test_module="tb_packing", work_dir=tmp_path, python_path=[COCOTB])
