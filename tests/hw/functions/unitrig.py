"""Function units on Amaranth's own simulator: a vector per cycle, exact cycles; what the tests of all of them use."""

import numpy as np
from amaranth.hdl import Value
from amaranth.sim import Simulator

from moesaic.hw.functions.companion import companion_layout
from moesaic.hw.spec.presets import PRESETS

CONFIG = PRESETS["micro8"].replace(lanes=16)
PACKED = CONFIG.replace(extra_key=False, packed_keys=True)
ROWS, COUNT = CONFIG.rows, 12
EDGES = (-32768, 32767, -129, -128, 127, 128, 0, -1)


def values(seed: int) -> np.ndarray:
    """[COUNT, ROWS] int16, edges first."""
    rng = np.random.default_rng(seed)
    result = rng.integers(-(1 << 15), 1 << 15, (COUNT, ROWS)) >> rng.integers(0, 12, (COUNT, 1))
    result[0] = EDGES
    return result


def run(unit, companions, given, outputs, *, ahead, cycles, answer=lambda seen: []):
    """What `outputs` were in every cycle; companion k comes in cycle k, its values `ahead` cycles later.

    `given`: values, or pairs of a port and its values.

    `answer`: inputs of the next cycle, from the outputs of this one.
    """
    seen = []
    ports = given if isinstance(given, list) else [(unit.value, given)]

    async def bench(ctx):
        later = []
        for cycle in range(cycles):
            here = cycle < len(companions)
            ctx.set(unit.i.valid, int(here))
            if here:
                ctx.set(unit.i.payload, companions[cycle])
            for port, rows in ports:
                if 0 <= cycle - ahead < len(rows):
                    ctx.set(Value.cast(port), packed(rows[cycle - ahead], 16))
            for signal, value in later:
                ctx.set(Value.cast(signal), value)
            seen.append({name: ctx.get(Value.cast(signal)) for name, signal in outputs.items()})
            later = answer(seen[-1])
            await ctx.tick()

    simulator = Simulator(unit)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def packed(row, bits):
    return sum((int(x) & (1 << bits) - 1) << bits * k for k, x in enumerate(row))


def unpacked(word, bits, count=ROWS):
    parts = [word >> bits * k & (1 << bits) - 1 for k in range(count)]
    return [part - (part >> bits - 1 << bits) for part in parts]


def companion(config=CONFIG, **given):
    """A companion's fields, by the name of the field alone."""
    layout = companion_layout(config)
    result = {part: {} for part in ("place", "op", "context")}
    for name, value in given.items():
        part = next(part for part in result if name in layout[part].shape.members)
        result[part][name] = value
    return result
