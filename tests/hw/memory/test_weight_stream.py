# amaranth: UnusedElaboratable=no
import json
from pathlib import Path

import pytest

from moesaic.hw.memory.weight_stream import WeightStream
from moesaic.sim.verilated import cocotb_test

ONE = {
    "ports": 1,
    "addr_bits": 16,
    "port_bits": 128,
    "word_bytes": 16,
    "depth_words": 64,
    "max_burst": 16,
    "max_outstanding": 4,
}
FOUR = {**ONE, "ports": 4, "port_bits": 32, "word_bytes": 32}  # two stripes to a word, as on the large boards
QUARTER = {**ONE, "ports": 2, "port_bits": 32, "word_bytes": 32, "depth_words": 16}
EIGHTH = {**ONE, "port_bits": 32, "word_bytes": 32, "depth_words": 16}


@pytest.mark.parametrize("sizes", [ONE, FOUR, QUARTER, EIGHTH], ids=["1 port", "4 ports", "4 stripes", "8 stripes"])
def test_rtl(tmp_path: Path, sizes: dict[str, int]) -> None:
    cocotb_test(
        WeightStream(**sizes),
        name="weights",
        module="tb_weight_stream",
        tmp_path=tmp_path,
        env={"SIZES": json.dumps(sizes)},
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ports": 0}, r"ports must be positive, not 0"),
        ({"word_bytes": 48}, r"word_bytes must be 1, 2, 4, 8 or 16 stripes of 16 bytes, not 48"),
        ({"depth_words": 48}, r"depth_words must be a power of two, not 48"),
        ({"depth_words": 8}, r"depth_words must have room for a burst of 16 beats, not 8"),
    ],
)
def test_parameters(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WeightStream(**{**ONE, **change})
