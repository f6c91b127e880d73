"""Trials of counters that carry, which no run is long enough for."""

from moesaic.flow.verify.nano import Nano
from moesaic.flow.verify.trial import Script, Trial

__all__ = ["counter_trials"]

AFTER = (20, 150, 600, 1500)  # cycles of a run behind which all counters are set


def counter_trials(nano: Nano) -> list[Trial]:
    """Runs in the middle of which every counter gets all bits but the highest."""
    script, run = Script(nano.program), nano.run()
    for after in AFTER:
        script.configure(run)
        script.command("start")
        script.steps += [("wait", after), ("carry",), ("irq",)]
        script.ended(run)
    return [script.trial("counters that carry")]
