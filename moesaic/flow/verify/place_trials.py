"""Trials of addresses: programs at both ends of the memory, windows of each size, and what lies just below one."""

import random
from collections.abc import Iterator
from dataclasses import replace

from moesaic.compiler.image import PAGE_BYTES
from moesaic.flow.verify.nano import STREAMS, TASK, Nano
from moesaic.flow.verify.places import moved_run
from moesaic.flow.verify.trial import Script, Trial, runs_trial
from moesaic.hw.spec.isa import INSTRUCTION_BYTES, Base
from moesaic.hw.spec.registers import ErrorCode
from moesaic.sim.rtl import RtlRun

__all__ = ["place_trials"]

SHORT = 60  # cycles of the watchdog
WORD = 64  # bits of an address register
STEP = 16  # bytes: addresses that are no multiple are refused, whatever they are
DRAWN = 6  # addresses of each base and width
AROUND = 1 << 32  # bytes
NEAR = {"latency": 2}


def _ends(nano: Nano) -> Trial:
    """Whole runs at the first address, at the last, and so that each lower bit of an address is 1 and 0."""
    program = nano.program
    size = len(program.memory)
    last = (1 << program.config.addr_bits) - size
    values = program.registers(TASK)
    places = (0, PAGE_BYTES // 2 - 16, (1 << program.config.addr_bits) // 3 // 16 * 16, last)
    runs = [moved_run(nano.run(), values, place - program.address) for place in places]
    return runs_trial("both ends of the memory", program, runs, brief=True)


def _asking(nano: Nano, base: Base) -> RtlRun:
    """A FETCH from a base and a STORE, alone: all that asks for addresses, in a few cycles."""
    counts = {"load_count": 1, "compute_count": 0, "store_count": 1}
    fetch = nano.changed("load", 0, base=base, wait=0, beats=nano.program.config.beats_per_word)
    store = nano.changed("store", 0, wait=0, words=1)
    return nano.run(patches=[*fetch.patches, *store.patches], overrides=counts)


def _windows(nano: Nano) -> Iterator[tuple[RtlRun, dict[str, int], bool]]:
    """Runs, other values of registers, and whether an address is refused."""
    program = nano.program
    values, bus, size = program.registers(TASK), program.config.addr_bits, len(program.memory)
    plain = _asking(nano, Base.WEIGHT)
    for bit in range(size.bit_length() - 1, WORD):
        yield plain, {"window_bytes": 1 << bit}, False
    # All at the end of the memory, and one base just below a window that begins at a power of two.
    by = (1 << bus) - size - program.address
    high = {name: value + by for name, value in values.items() if "_base" in name}
    names = {f"{base.name.lower()}_base0": _asking(nano, base) for base in Base} | {"result_base": plain}
    for name, run in names.items():
        for bit in range(size.bit_length(), bus):
            window = {"window_base": 1 << bit, "window_bytes": 1 << bus}
            for below in (64, 0):  # the last bytes before it, and its first
                asked = {**high, **window, name: (1 << bit) - below}
                yield replace(run, memory={"moved": by}), asked, below > 0
    names |= dict.fromkeys(("load_base", "store_base", "window_base"), plain)
    for name, run in names.items():
        for bit in range(bus, WORD):
            yield run, {name: values[name] | 1 << bit}, True


def _asked(nano: Nano) -> Trial:
    """Single transfers just inside and just outside of all kinds of windows."""
    script = Script(nano.program)
    for run, values, refused in _windows(nano):
        inside = {"moved": 0, "latency": 2, **run.memory}
        script.configure(replace(run, memory=inside, watchdog=SHORT, overrides={**run.overrides, **values}))
        script.command("start")
        script.steps.append(("irq",))
        script.judged(ErrorCode.ADDRESS_RANGE, refused)
        script.restore(run)
    script.run(nano.run(memory={"moved": 0}))
    return script.trial("windows")


def _refused(nano: Nano) -> Trial:
    """Bases anywhere, of which an error says the address."""
    rng = random.Random("bases")
    script = Script(nano.program)
    names = {f"{base.name.lower()}_base0": _asking(nano, base) for base in Base}
    names |= dict.fromkeys((*(f"{stream}_base" for stream in STREAMS), "result_base"), _asking(nano, Base.WEIGHT))
    for name, run in names.items():
        for bits in (nano.program.config.addr_bits, WORD):
            for _ in range(DRAWN):
                asked = {**run.overrides, "compute_count": 1, name: rng.getrandbits(bits) // STEP * STEP}
                script.configure(replace(run, watchdog=SHORT, overrides=asked, memory=NEAR))
                script.command("start")
                script.steps.append(("irq",))
                script.judged(ErrorCode.ADDRESS_RANGE, True)
                script.read("ERROR_ADDR_HI", "ERROR_INSTRUCTION")
                script.restore(run)
    script.run(nano.run())
    return script.trial("bases anywhere")


def _tight(nano: Nano) -> Trial:
    """Windows that begin anywhere, and end with the last byte that is asked for, or before it; the same of the bus; and
    a base from which an offset leads around the end of all addresses.
    """
    rng = random.Random("windows")
    program, script = nano.program, Script(nano.program)
    values, bus = program.registers(TASK), 1 << nano.program.config.addr_bits
    sizes = dict.fromkeys((f"{stream}_base" for stream in STREAMS), INSTRUCTION_BYTES)
    sizes |= {"weight_base0": program.config.word_bytes, "result_base": 2 * program.config.lanes}
    run = _asking(nano, Base.WEIGHT)

    def ask(run: RtlRun, asked: dict[str, int], by: int) -> None:
        memory = {**NEAR, **run.memory, "moved": by}
        moved = {each: value + by for each, value in values.items() if "_base" in each}
        script.configure(replace(run, watchdog=SHORT, overrides={**run.overrides, **moved, **asked}, memory=memory))
        script.command("start")
        script.steps += [("irq",), ("idle",)]
        script.read("STATUS", "ERROR_CODE", "ERROR_ADDR_LO", "ERROR_INSTRUCTION", "CYCLES_LO")
        script.restore(run)

    everywhere = {"window_base": 0, "window_bytes": (1 << WORD) - 1}
    for name, size in sizes.items():
        end = values[name] + size
        for short in (0, STEP):
            for _ in range(DRAWN):
                early = rng.randrange(bus >> 1) // STEP * STEP
                by = early + rng.getrandbits(WORD // 2) // STEP * STEP - program.address
                window = {"window_base": by + program.address - early}
                ask(run, {**window, "window_bytes": early + end - program.address - short}, by)
            ask(run, everywhere, bus - end + short)
    fetch = nano.changed(
        "load", 0, wait=0, beats=program.config.beats_per_word, offset=values["weight_base0"] + AROUND >> 4
    )
    around = replace(run, patches=[*fetch.patches, *run.patches[1:]])
    ask(around, {**everywhere, "weight_base0": (1 << WORD) - AROUND}, 0)
    script.run(nano.run(memory={"moved": 0}))
    return script.trial("tight windows")


def place_trials(nano: Nano) -> list[Trial]:
    """All of them; what the last run leaves is the result."""
    return [_ends(nano), _asked(nano), _refused(nano), _tight(nano)]
