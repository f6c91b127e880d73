"""Programs at any address: the window, and each base, anywhere in what a register holds."""

import random
from collections.abc import Mapping
from dataclasses import replace

from moesaic.flow.verify import programs, slaves
from moesaic.flow.verify.nano import TASK, Nano
from moesaic.flow.verify.runs import EXACT, Case
from moesaic.hw.spec.isa import Base
from moesaic.sim.rtl import RtlRun

__all__ = ["draw", "moved_run"]

WORD = 64  # bits of an address register
STEP = 16  # bytes; a place is a multiple of it, and so any part of a page


def _place(nano: Nano, rng: random.Random) -> int:
    """A first address: the lowest, the highest, a power of two, the bytes before one, or any."""
    size, bus = len(nano.program.memory), nano.program.config.addr_bits
    highest = (1 << bus) - size
    power = 1 << rng.randrange(size.bit_length(), bus)
    anywhere = [rng.randrange(highest) for _ in range(2)]
    return rng.choice((0, highest, power, power - size // 2, *anywhere)) // STEP * STEP


def moved_run(run: RtlRun, registers: Mapping[str, int], by: int) -> RtlRun:
    """The run with its window and all in it so many bytes higher, and the memory with it."""
    bases = {name: value + by for name, value in registers.items() if "_base" in name}
    return replace(run, overrides={**bases, **run.overrides}, memory={"moved": by, **run.memory})


def _wide(nano: Nano, rng: random.Random, by: int) -> RtlRun:
    """A window that begins earlier, at any byte, and ends later; a result that may be longer."""
    values = nano.program.registers(TASK)
    base = values["window_base"] + by
    early = rng.choice((0, 1, rng.randrange(base + 1))) if base else 0
    most = (1 << WORD) - 1
    sizes = {
        "window_base": base - early,
        "window_bytes": min(most, values["window_bytes"] + early + rng.getrandbits(rng.randrange(1, WORD + 1))),
        "result_bytes": min(most, values["result_bytes"] + rng.getrandbits(rng.randrange(1, WORD + 1))),
    }
    return nano.run(overrides=sizes)


def _beyond(nano: Nano, rng: random.Random) -> tuple[str, RtlRun, str]:
    """What lies beyond the bus, the run, and its ending.

    A base that no bus reaches is refused, once it is used.
    """
    values, bus = nano.program.registers(TASK), nano.program.config.addr_bits
    high = rng.choice((1 << rng.randrange(bus, WORD), rng.getrandbits(WORD - bus) << bus or 1 << bus))
    names = [name for name in values if "_base" in name]
    if rng.random() < 0.5:
        return "everything", nano.run(overrides={name: values[name] | high for name in names}), "ADDRESS_RANGE"
    name = rng.choice([name for name in names if name != "window_base"])
    run = nano.run(overrides={name: values[name] | high, "window_base": 0, "window_bytes": (1 << WORD) - 1})
    return f"{name} | {high:#x}", run, EXACT if _idle(nano, name) else "ADDRESS_RANGE"


def _idle(nano: Nano, name: str) -> bool:
    """Whether a register is the base of a FETCH, and none of the program's has it."""
    used = {nano.instruction("load", index)[1]["base"] for index in range(nano.count("load"))}
    return name.partition("_base")[0] in {base.name.lower() for base in Base if base not in used}


def draw(nano: Nano, seed: int, number: int) -> Case:
    """The case of that number."""
    rng = random.Random(f"places {seed} {number}")
    by = _place(nano, rng) - nano.program.address
    values = nano.program.registers(TASK)
    where = f"at {nano.program.address + by:#x}"
    kind = rng.randrange(6)
    if kind < 2:
        return Case(number, where, moved_run(_wide(nano, rng, by), values, by), (EXACT,))
    if kind == 2:
        what, run, ending = _beyond(nano, rng)
        return Case(number, f"beyond the bus: {what}", run, (ending,))
    case = (programs, slaves, slaves)[kind - 3].draw(nano, seed, number)
    return replace(case, what=f"{where}: {case.what}", run=moved_run(case.run, values, by))
