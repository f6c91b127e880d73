"""Trials of counters with values that no run is long enough for."""

from moesaic.flow.verify.nano import Nano
from moesaic.flow.verify.runs import PLAIN
from moesaic.flow.verify.trial import Script, Trial

__all__ = ["counter_trials"]

AFTER = (20, 150, 600, 1500)  # cycles of a run behind which all counters are set
CARRY = (1 << 63) - 1  # the next step goes through all bits
ALONE = ((1 << 64) - (1 << 24), 0x5555_5555_5500_0000, 0xAAAA_AAAA_AA00_0000)  # high bits, which stay
STALLS = {**PLAIN, "stall_r": 50, "stall_w": 50}  # so that whatever waits is counted


def counter_trials(nano: Nano) -> list[Trial]:
    """Runs in the middle of which every counter is set."""
    script = Script(nano.program)
    run = nano.run(memory=STALLS)
    for after, value in [*((after, CARRY) for after in AFTER), *((AFTER[2], value) for value in ALONE)]:
        script.configure(run)
        script.command("start")
        script.steps += [("wait", after), ("counters", value), ("irq",)]
        script.ended(run)
    return [script.trial("counters")]
