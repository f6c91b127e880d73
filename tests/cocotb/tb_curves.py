"""Curves against `golden.numerics.activation`: every code of each, and every code as it is."""

import cocotb
import numpy as np
from rigid import check_pipeline, integer

from moesaic.golden.numerics import activation
from moesaic.hw.functions.curves import TABLES
from moesaic.hw.spec.curves import CURVES

LANES, HERE = integer("LANES"), integer("TABLES")
OFFERED = [table for k, table in enumerate(TABLES) if HERE >> k & 1]
NAMES = [name for name, curve in CURVES.items() if not curve.knots or curve in OFFERED]


def chosen(name: str) -> int:
    """The bit of a curve's table among those that are there."""
    curve = CURVES[name]
    return 1 << OFFERED.index(curve) if curve in OFFERED else 0


async def check(dut, codes: np.ndarray, active: np.ndarray, bits: np.ndarray, wanted: np.ndarray) -> None:
    await check_pipeline(
        dut,
        latency=integer("LATENCY"),
        inputs={"i": (codes, 16), "active": (active, 1), "chosen": (bits, len(OFFERED))},
        outputs={"o": (wanted, 16)},
    )


@cocotb.test()
@cocotb.parametrize(name=[*NAMES, ""])
async def every_code(dut, name: str) -> None:
    codes = np.random.default_rng(3).permutation(np.arange(-32768, 32768))
    codes = np.concatenate([codes[: LANES * 200], np.sort(codes)]).reshape(-1, LANES)
    wanted = activation(name, codes) if name else codes
    bits = np.full_like(codes, chosen(name) if name else 0)
    await check(dut, codes, np.full_like(codes, bool(name)), bits, wanted)


@cocotb.test()
async def another_curve_every_cycle(dut) -> None:
    rng = np.random.default_rng(4)
    codes = rng.integers(-32768, 32768, (6000, LANES)) >> rng.integers(0, 10, (6000, 1))
    kinds = rng.integers(0, len(NAMES) + 1, len(codes))
    names = [*NAMES, ""]
    wanted = np.stack([activation(names[k], row) if names[k] else row for k, row in zip(kinds, codes, strict=True)])
    active = np.repeat((kinds < len(NAMES))[:, None], LANES, axis=1)
    bits = np.array([chosen(names[k]) if names[k] else 0 for k in kinds])
    await check(dut, codes, active.astype(int), np.repeat(bits[:, None], LANES, axis=1), wanted)
