"""Trials of what a host may do: every register, odd accesses, commands at odd times, interrupts, the watchdog."""

import random
from dataclasses import replace

from moesaic.flow.verify.nano import TASK, Nano
from moesaic.flow.verify.trial import Script, Step, Trial, runs_trial
from moesaic.hw.spec.registers import Access, RegisterMap, register_map

__all__ = ["host_trials"]

BEYOND = (0x1000, 0x1040, 0x2000, 0x2400, 0x4000, 0x4070, 0x8000, 0x8018, 0xF000)
ROUNDS = 10  # of words at random in all registers
SPARSE = (0x00C, 0x038, 0x05C, 0x090, 0x0C0, 0x118, 0x140, 0x200, 0x3FC, 0x4A8, 0x600, 0x800, 0xC10, 0xFFC)


def _held(table: RegisterMap) -> list[Step]:
    """Reads of all registers that the host writes."""
    return [("read", register.offset) for register in table if register.access in (Access.RW, Access.W1C)]


def _rounds(table: RegisterMap, rng: random.Random) -> list[Step]:
    """Words at random in some bytes of every register, all of which are read; again and again."""
    steps: list[Step] = []
    for _ in range(ROUNDS):
        for register in table:
            if register.access is Access.RW:
                order = rng.choice(("both", "address", "data"))
                steps.append(("write", register.offset, rng.getrandbits(32), rng.randrange(1, 16), order))
        steps += _held(table)
    return steps


def _registers(table: RegisterMap) -> Trial:
    """After reset, with other words in each, and byte by byte; nothing else may change."""
    rng = random.Random(1)
    written = [register for register in table if register.access is Access.RW]
    steps: list[Step] = [("read", register.offset) for register in table]
    steps += [("read", offset + by) for offset in (*SPARSE, *BEYOND) for by in (0, 1)]
    steps += [("write", register.offset, 0xFFFF_FFFF) for register in written]
    steps += _held(table)
    for register in written:
        order, lane = rng.choice(("both", "address", "data")), 1 << rng.randrange(4)
        steps += [("write", register.offset, 0, lane), ("read", register.offset)]
        steps += [("write", register.offset, rng.getrandbits(32), 15, order, 2)]
    steps += [("read", register.offset, 2) for register in table]
    for register in written:
        for lane in range(4):
            steps.append(("write", register.offset, rng.getrandbits(32), 1 << lane))
    steps += [*_held(table), *_rounds(table, rng)]
    steps += [("write", register.offset, 0xFFFF_FFFF) for register in table if register.access is Access.RO]
    steps += [("write", offset, 0xFFFF_FFFF) for offset in (*SPARSE, *BEYOND)]
    steps += [("write", register.offset + by, 0xFFFF_FFFF) for register in written[:4] for by in (1, 2, 3)]
    return Trial("registers", (*steps, *_held(table), ("reset",), *_held(table)))


def _locked(nano: Nano, table: RegisterMap) -> Trial:
    """Writes to every register in the middle of a run."""
    script, run = Script(nano.program), nano.run()
    script.configure(run)
    script.command("start")
    script.steps += [("write", r.offset, 0xFFFF_FFFF) for r in table if r.locked]
    script.set("program_hash", 0x1234_5678)
    script.read("STATUS")
    script.command("start")
    script.command()
    script.steps += [("irq",), *_held(table)]
    script.ended(run)
    return script.trial("writes in a run")


def _interrupts(nano: Nano) -> Trial:
    """Ends of both kinds, behind every mask; bits are cleared one by one."""
    script = Script(nano.program)
    for mask in range(4):
        for run, bit in ((nano.run(), 1), (nano.patched("compute", 0, bytes(32)), 2)):
            asked = replace(run, overrides={"irq_enable": mask})
            script.configure(asked)
            script.command("start")
            script.steps.append(("irq",) if mask & bit else ("wait", 2700 if bit == 1 else 300))
            for clear in (0, 2, 1, 3):
                script.steps.append(("pin",))
                script.set("irq_status", clear)
                script.steps.append(("pin",))
                script.read("IRQ_STATUS")
            script.ended(asked, brief=True)
    return script.trial("interrupt masks")


def _watchdogs(nano: Nano) -> Trial:
    """A memory that falls silent, with watchdogs of all sizes that can be waited for; and one that is off."""
    silent = nano.run(memory={"dead_port": 0, "dead_after": 2}, memory_after={"dead_after": -1})
    runs = [replace(silent, watchdog=cycles) for cycles in (1, 2, 37, 255, 256, 1025, 4100)]
    runs += [
        replace(silent, watchdog=0, command="abort", command_after=1000),
        replace(nano.run(), watchdog=0xFFFF_FFFF),
    ]
    return runs_trial("watchdogs", nano.program, runs, brief=True)


def _commands(nano: Nano) -> Trial:
    """Commands alone and together, before, at the start of, in and after a run."""
    script = Script(nano.program)
    control, run = script.table["CTRL"].offset, nano.run()
    script.steps += [("write", control, 4), ("idle",), ("write", control, 2), ("wait", 40), ("idle",)]
    script.steps += [("write", control, 1), ("wait", 100), ("idle",)]  # nothing is programmed
    for bits in (3, 5, 6, 7):
        script.configure(run)
        script.steps += [("write", control, bits), ("wait", 100)]
        script.read("STATUS", "ERROR_CODE")
        script.command("abort")
        script.ended(run, brief=True)
    for after in (0, 3, 8, 11, 900):
        for command in ("abort", "soft_reset"):
            script.run(nano.run(command=command, command_after=after), brief=True)
    script.run(nano.run(command="start", command_after=2000), brief=True)
    script.run(nano.run(command="soft_reset", command_after=2560))
    script.run(run)
    return script.trial("commands")


def _windows(nano: Nano) -> Trial:
    """Windows that end a byte, a word or a page before what is read or written; bases that are not aligned or wrap."""
    program = nano.program
    values, size = program.registers(TASK), len(program.memory)
    result = program.region("result").bytes
    changes: list[dict[str, int]] = [{"window_bytes": size} for size in (0, 0x40, 0x1000, 0x2000, 0x4000, size - 4096)]
    changes += [{"window_base": values["window_base"] + by} for by in (1, 16, 4096, 1 << 20)]
    changes += [{"window_bytes": 1 << 40}, {"result_bytes": 0}, {"result_bytes": result - 1}]
    for name in ("load_base", "compute_base", "store_base", "weight_base0", "image_base0"):
        changes += [{name: values[name] ^ 1 << bit} for bit in (0, 3, 28, 31, 36, 39)]
    changes += [{"result_base": values["result_base"] ^ 1 << bit} for bit in (0, 3, 4, 39)]
    for name in ("load_count", "compute_count", "store_count"):
        changes += [{name: 0}, {name: values[name] + 1}]
    runs = [replace(nano.run(overrides=change), watchdog=300) for change in changes]
    return runs_trial("windows and counts", program, [*runs, nano.run()], brief=True)


def host_trials(nano: Nano) -> list[Trial]:
    """All of them."""
    table = register_map(nano.program.config.ports)
    return [
        _registers(table),
        _locked(nano, table),
        _interrupts(nano),
        _watchdogs(nano),
        _windows(nano),
        _commands(nano),
    ]
