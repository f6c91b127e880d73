"""A reset in every cycle of a run, soft and hard: whatever it interrupts, the run after it is exact."""

from moesaic.flow.verify.nano import Nano
from moesaic.flow.verify.runs import Case, drawn_campaign
from moesaic.flow.verify.slaves import RESET_ENDINGS, RUN_CYCLES

__all__ = ["RESETS", "draw"]

STRIDE = 997  # cycles between two cases; it shares no factor with a run's cycles, so that they meet each of them


def draw(nano: Nano, seed: int, number: int) -> Case:
    """The case of that number. The first 2 x `RUN_CYCLES` are all there are; fewer are spread evenly over a run."""
    place, hard = divmod(number, 2)
    after, command = place * STRIDE % RUN_CYCLES, ("soft_reset", "reset")[hard]
    run = nano.run(command=command, command_after=after)
    return Case(number, f"{command} after {after} cycles", run, (RESET_ENDINGS[command],))


RESETS = drawn_campaign("resets", "a reset in each cycle of a run", draw)
