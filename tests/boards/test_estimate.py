"""Estimated resources against what synthesis counted, and memories against calculations by hand."""

import pytest

from moesaic.boards.board import load_board
from moesaic.boards.estimate import Counted, added, counted, estimate_resources, fit, model
from moesaic.boards.memory_rules import memories
from moesaic.boards.resources import Resources
from moesaic.hw.spec.presets import PRESETS

# docs/explore.md states these: per cent of the total, of the accelerators that the model was fitted to, and of one that
# was left out.
FITTED = {"lut": 2.5, "ff": 3.0, "dsp": 2.0}
LARGEST = {"u280": 4.0}  # of LUTs: twice the next array, and larger than a fit of few others reaches
LEFT_OUT = {"lut": 4.0, "ff": 10.0, "dsp": 10.0}
# Block RAM and UltraRAM that are said and that Yosys takes, where it maps a depth of no power of two otherwise.
OTHERWISE = {
    ("u280", "gates"): ((43.5, 0), (43.0, 0)),
    ("u280", "router"): ((21.5, 0), (22.0, 0)),
    ("u280", "memories and core"): ((15.0, 96), (14.5, 87)),
}


def errors(sample: Counted, estimated: Resources) -> dict[str, float]:
    true, got = sample.total.to_dict(), estimated.to_dict()
    return {kind: abs(100 * (got[kind] / true[kind] - 1)) for kind in FITTED}


@pytest.mark.parametrize("sample", counted(), ids=lambda s: s.config.name)
def test_stated_error(sample: Counted) -> None:
    estimated = estimate_resources(sample.config, family=sample.family, uram=sample.uram)
    bounds = FITTED | {"lut": LARGEST.get(sample.config.name, FITTED["lut"])}
    assert all(errors(sample, estimated)[kind] <= most for kind, most in bounds.items()), errors(sample, estimated)


# Arrays of up to 16 lanes are built in another way: what is left out must not be the last of its kind.
MATES = [s for s in counted() if sum((s.config.lanes <= 16) == (other.config.lanes <= 16) for other in counted()) > 1]


@pytest.mark.parametrize("sample", MATES, ids=lambda s: s.config.name)
def test_stated_error_of_one_left_out(sample: Counted) -> None:
    others = fit([other for other in counted() if other is not sample])
    left_out = errors(sample, others.total(sample.config, family=sample.family, uram=sample.uram))
    assert all(left_out[kind] <= most for kind, most in LEFT_OUT.items()), left_out


@pytest.mark.parametrize("sample", counted(), ids=lambda s: s.config.name)
def test_memories_are_exact(sample: Counted) -> None:
    """Block RAM and UltraRAM of every unit, as Yosys maps them."""
    got = memories(sample.config, uram=sample.uram)
    for unit, amount in sample.units.items():
        counts = (amount.bram36, amount.uram)
        said = (got[unit].bram36, got[unit].uram) if unit in got else (0, 0)
        assert (said, counts) == OTHERWISE.get((sample.config.name, unit), (counts, counts)), unit


def test_memories_by_hand() -> None:
    got = memories(PRESETS["zcu102"], uram=False)
    assert got["weight stream"] == Resources(bram36=16 * 30)  # 16 banks of 8192 x 128: 2 deep, 15 wide of 4096 x 9
    assert got["accumulators"] == Resources(bram36=2 * 24.5)  # 516 deep, 65 x 27 bits, 72 to a block
    assert got["router"] == Resources(bram36=12.0)  # 8,256 x 10 bits, 8,256 x 16 bits; 516 x 91 bits
    # Activations 128, keys and values 56, residual 64 and what is small: 9.
    assert got["memories and core"] == Resources(bram36=128 + 56 + 64 + 9)
    assert got["softmax"] == Resources(bram36=1)  # sums of probabilities
    ultra = memories(PRESETS["kv260"], uram=True)
    small = memories(PRESETS["zcu104-small"], uram=True)
    # Activations, keys and values: 16,384 x 512, 4 deep by 8 wide; residual 8,192 x 1,024, 2 deep by 16 wide.
    assert small["memories and core"].uram == 3 * 32
    assert memories(PRESETS["zcu104-small"], uram=False)["memories and core"].bram36 > 700
    assert ultra["weight stream"] == Resources(uram=8 * 4) and ultra["memories and core"].uram == 8


def test_totals_add_up_and_grow() -> None:
    board = load_board("zcu102")
    own = board.accelerator
    units = model().units(own, family="zynqmp", uram=False)
    assert added(units) == estimate_resources(own, family="zynqmp", uram=False)
    half = estimate_resources(own.replace(rows=32), family="zynqmp", uram=False)
    assert half.dsp < added(units).dsp and half.lut < added(units).lut
    assert units["array"].dsp == own.macs_per_cycle // 2


def test_long_chains_take_two_slices_of_7_series() -> None:
    """27 bits of packed weights do not fit a DSP48E1, 25 bits of short chains do."""
    config = PRESETS["pynq-z2"]
    assert model().units(config, family="zynq7000", uram=False)["array"].dsp == config.macs_per_cycle // 2
    wide = config.replace(lanes=32)
    assert model().units(wide, family="zynq7000", uram=False)["array"].dsp == wide.macs_per_cycle
    assert model().units(wide, family="zynqmp", uram=False)["array"].dsp == wide.macs_per_cycle // 2


def test_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="samples must be at least one accelerator, not none"):
        fit([])
