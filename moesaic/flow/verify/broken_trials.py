"""Trials of runs that a reset ends, hard or soft; the next run must be as if it were the first."""

import random
from collections.abc import Sequence

from moesaic.compiler.image import ProgramImage
from moesaic.flow.verify.nano import Nano
from moesaic.flow.verify.trial import Script, Trial
from moesaic.sim.rtl import RtlRun

__all__ = ["broken_trial", "broken_trials"]

CYCLES = 2500  # of a run of the small network
STRIDE = 157  # cycles between two resets of it
SEEN = ("CYCLES_LO", "ARRAY_BUSY_LO", "ARRAY_LOADING_LO", "LOADER_BUSY_LO", "WEIGHT_BYTES_LO", "INSTRUCTIONS_RETIRED")


def broken_trial(name: str, program: ProgramImage, run: RtlRun, moments: Sequence[int]) -> Trial:
    """Runs that are ended after so many cycles, by soft and hard resets in turn, then a whole one.

    Parameters
    ----------
    name : str
    program : ProgramImage
    run : RtlRun
    moments : sequence of int
        Cycles.
    """
    script = Script(program)
    for place, cycles in enumerate(moments):
        script.configure(run)
        script.command("start")
        script.steps.append(("wait", cycles))
        script.read(*SEEN)
        script.steps.append(("bus",))
        if place % 2:
            script.reset()
        else:
            script.command("soft_reset")
            script.steps.append(("idle",))
    script.run(run)
    return script.trial(name)


def broken_trials(nano: Nano) -> list[Trial]:
    """Of the small network, one behind the other all over a run."""
    moments = list(range(STRIDE, CYCLES, STRIDE))
    random.Random("broken").shuffle(moments)
    return [broken_trial("runs that are reset", nano.program, nano.run(), moments)]
