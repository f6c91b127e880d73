"""Trials of what a host may do in each state of the accelerator, and beside the first byte of each register.

A good run is the last of each.
"""

import itertools
from collections.abc import Iterable
from dataclasses import replace

from moesaic.flow.verify.nano import STREAMS, Nano
from moesaic.flow.verify.trial import Script, Trial, runs_trial

__all__ = ["command_trials", "reset_trials", "state_trials"]

CLOSE = range(8)  # cycles between two commands, the second of which meets the clear of the first
SLOW = 300  # cycles that the memory takes to answer
SHORT = 300  # cycles of the watchdog


def _odd(nano: Nano) -> Trial:
    """Accesses beside the first byte of each register; nothing may change."""
    script = Script(nano.program)
    table = script.table
    script.steps += [("read", register.offset + by) for register in table for by in (1, 2, 3)]
    script.steps += [("write", register.offset + by, 0xFFFF_FFFF) for register in table for by in (1, 2, 3)]
    script.steps += [("read", register.offset) for register in table]
    script.run(nano.run())
    return script.trial("odd addresses")


def _rest(nano: Nano) -> Trial:
    """A soft reset when nothing has run, after a run, after an error, and while an error waits for the memory."""
    script, run = Script(nano.program), nano.run()
    bad = replace(nano.patched("compute", 0, bytes(32)), watchdog=SHORT)
    silent = replace(nano.run(memory={"dead_port": 0, "dead_after": 2}), watchdog=SHORT)
    silent = replace(silent, memory_after={"dead_after": -1})
    script.command("soft_reset")
    script.steps.append(("idle",))
    for ended in (run, bad):
        script.run(ended, brief=True)
        script.command("soft_reset")
        script.steps.append(("idle",))
        script.read("STATUS", "ERROR_CODE")
    script.configure(silent)
    script.command("start")
    script.steps.append(("irq",))
    script.command("soft_reset")
    script.command("soft_reset")
    script.ended(silent, brief=True)
    script.run(run)
    return script.trial("soft resets at rest")


def _clears(nano: Nano) -> Trial:
    """Commands that come while the one before still clears the core."""
    script, run = Script(nano.program), nano.run()
    for first, second in (("soft_reset", "soft_reset"), ("start", "soft_reset"), ("soft_reset", "start")):
        for cycles in CLOSE:
            script.configure(run)
            script.command(first)
            script.steps.append(("wait", cycles + 1))
            script.command(second)
            script.steps.append(("wait", 100))
            script.command("soft_reset")
            script.steps.append(("wait", 400))
            script.ended(run, brief=True)
    script.run(run)
    return script.trial("commands in a clear")


def _drains(nano: Nano) -> Trial:
    """A command that comes while another waits for a slow memory."""
    script = Script(nano.program)
    run = nano.run(memory={"latency": SLOW})
    for first, second in itertools.permutations(("soft_reset", "abort", "start"), 2):
        for cycles in CLOSE[:3]:
            script.configure(run)
            script.command("start")
            script.steps.append(("wait", SLOW + 100))
            script.command(first)
            script.steps.append(("wait", cycles + 1))
            script.command(second)
            script.read("STATUS", "IRQ_STATUS", "ERROR_CODE")
            script.command("soft_reset")
            script.steps.append(("wait", 2 * SLOW))
            script.ended(run, brief=True)
    script.run(nano.run())
    return script.trial("commands in a drain")


def _resets(
    nano: Nano, name: str, command: str, waits: Iterable[int], overrides: dict[str, int] | None = None
) -> Trial:
    """Hard resets so many cycles after a command."""
    script, run = Script(nano.program), nano.run()
    for cycles in waits:
        script.configure(replace(run, overrides=overrides or {}))
        script.command(command)
        script.steps.append(("wait", cycles))
        script.reset()
    script.run(run)
    return script.trial(name)


def _bases(nano: Nano) -> Trial:
    """Weights and results at addresses that no bus reaches, each bit of which is 0 and 1."""
    values, last = nano.program.registers(nano.program.tasks[0]), 63
    names = ("result_base", "weight_base0")
    changes = [{name: values[name] ^ 1 << last ^ 1 << bit} for name in names for bit in range(last)]
    runs = [replace(nano.run(overrides=change), watchdog=SHORT) for change in changes]
    return runs_trial("bases", nano.program, [*runs, nano.run()], brief=True)


def reset_trials(nano: Nano) -> list[Trial]:
    """Hard resets while a soft reset clears the core, while a run fetches, copies and computes, and in each cycle in
    which an instruction of the last stream may arrive.
    """
    stores = {f"{stream}_count": 0 for stream in STREAMS[:-1]}
    return [
        _resets(nano, "resets in a soft reset", "soft_reset", range(1, 16)),
        _resets(nano, "resets in a run", "start", range(16, 700, 9)),
        _resets(nano, "resets while stores are fetched", "start", range(100, 140), stores),
    ]


def command_trials(nano: Nano) -> list[Trial]:
    """Odd addresses, and commands at rest, in a clear and in a drain."""
    return [
        _odd(nano),
        _rest(nano),
        _clears(nano),
        _drains(nano),
        _resets(nano, "resets in a clear", "start", range(1, 16)),
    ]


def state_trials(nano: Nano) -> list[Trial]:
    """Those, and bases."""
    return [*command_trials(nano), _bases(nano)]
