"""Trials of counters with values that no run is long enough for."""

import random
from dataclasses import replace

from moesaic.flow.verify.nano import STREAMS, TASK, Nano
from moesaic.flow.verify.runs import PLAIN
from moesaic.flow.verify.trial import Script, Trial
from moesaic.hw.spec.isa import INSTRUCTION_BYTES
from moesaic.hw.spec.registers import ErrorCode
from moesaic.sim.rtl import RtlRun

__all__ = ["counter_trials"]

AFTER = (20, 150, 600, 1500)  # cycles of a run behind which all counters are set
CARRY = (1 << 63) - 1  # the next step goes through all bits
ALONE = ((1 << 64) - (1 << 16), 0x5555_5555_5555_5000, 0xAAAA_AAAA_AAAA_A000)  # high bits, which stay
STALLS = {**PLAIN, "stall_r": 50, "stall_w": 50}  # so that whatever waits is counted
NUMBERS = (0x55_5550, 0xAA_AAA8, 0xFF_FF00, 0x7F_FFF8)  # of the first instruction; the last goes through many bits
ADDRESS = 1 << 64
BEGUN = 8  # cycles from the command to the run
WATCHDOG_BITS, LEFT, DRAWN = 32, 40, 16  # LEFT: cycles


def _counters(nano: Nano) -> Trial:
    """Runs in the middle of which every counter is set."""
    script = Script(nano.program)
    run = nano.run(memory=STALLS)
    for after, value in [*((after, CARRY) for after in AFTER), *((AFTER[2], value) for value in ALONE)]:
        script.configure(run)
        script.command("start")
        script.steps += [("wait", after), ("counters", value), ("irq",)]
        script.ended(run)
    return script.trial("counters")


def _numbered(nano: Nano, first: int) -> RtlRun:
    """A run whose streams have that many instructions more, before those that there are."""
    values = nano.program.registers(TASK)
    patches: list[tuple[int, bytes]] = []
    overrides = {f"{name}_count": nano.count(name) + first for name in STREAMS}
    for name in STREAMS:
        overrides[f"{name}_base"] = (values[f"{name}_base"] - first * INSTRUCTION_BYTES) % ADDRESS
    for name in ("load", "store"):
        for index in range(nano.count(name)):
            patches += nano.changed(name, index, wait=nano.instruction(name, index)[1]["wait"] + first).patches
    return nano.run(overrides=overrides, patches=patches)


def _numbers(nano: Nano) -> Trial:
    """Runs that begin in the middle of long streams."""
    script = Script(nano.program)
    for first in NUMBERS:
        run = _numbered(nano, first)
        script.configure(run)
        script.command("start")
        script.steps += [("wait", BEGUN), ("counters", first, "numbers"), ("irq",)]
        script.judged(ErrorCode.NONE, True)
        script.ended(run)
    return script.trial("numbers of instructions")


def _watchdogs(nano: Nano) -> Trial:
    """A memory that falls silent, and watchdogs of any size, nearly all of whose cycles are left out."""
    rng = random.Random("watchdogs")
    script = Script(nano.program)
    silent = nano.run(memory={"dead_port": nano.program.config.ports, "dead_after": 0}, memory_after={"dead_after": -1})
    single = [(1 << bit) + LEFT for bit in range(LEFT.bit_length() + 2, WATCHDOG_BITS)]
    for watchdog in (*single, *(rng.randrange(1 << WATCHDOG_BITS - 1, 1 << WATCHDOG_BITS) for _ in range(DRAWN))):
        run = replace(silent, watchdog=watchdog)
        script.configure(run)
        script.command("start")
        script.steps += [("wait", 2 * LEFT), ("pin",), ("counters", watchdog - 4 * LEFT, "watchdog"), ("irq",)]
        script.steps.append(("memory", dict(run.memory_after)))
        script.judged(ErrorCode.WATCHDOG, True)
    script.run(nano.run())
    return script.trial("large watchdogs")


def counter_trials(nano: Nano) -> list[Trial]:
    """All of them; what the last run of each leaves is the result."""
    return [_counters(nano), _numbers(nano), _watchdogs(nano)]
