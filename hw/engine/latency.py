"""When things happen in the write-back: cycles, from a configuration alone."""

from dataclasses import dataclass

from moesaic.hw.engine.array import array_latency
from moesaic.hw.functions.activate import Activate
from moesaic.hw.functions.add import Add
from moesaic.hw.functions.attend import Attend
from moesaic.hw.functions.requantise import Requantisation
from moesaic.hw.functions.rescale import Rescale
from moesaic.hw.functions.softmax import Softmax
from moesaic.hw.functions.store import Store
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["WriteBackStages", "write_back_stages"]


@dataclass(frozen=True)
class WriteBackStages:
    """Cycles of the write-back's pipeline.

    Parameters
    ----------
    hold : int
        That the accumulators wait for 1/sum.
    ready_delay : int
        That 1/sum waits for the accumulators.
    reads : int
        From the array's input until ADD reads the residual.
    commit : int
        From the accumulator's output until a result is added, or written.
    latency : int
        From the accumulator's output to the written sums.
    """

    hold: int
    ready_delay: int
    reads: int
    commit: int
    latency: int


def write_back_stages(config: AcceleratorConfig) -> WriteBackStages:
    """Stages of the write-back of a configuration."""
    softmax = Softmax.latency(config)
    early = array_latency(config.lanes) + 1  # from the array's input to the accumulator's output
    hold = max(0, Attend.LATENCY - early)
    result = Requantisation.LATENCY + Activate.LATENCY + Rescale.LATENCY
    # All results of an instruction take the same time, whichever function makes them.
    commit = hold + max(result + Add.LATENCY, result + Store.LATENCY, Requantisation.LATENCY + softmax)
    latency = commit + Add.sums_latency(config.rows)
    return WriteBackStages(
        hold=hold,
        ready_delay=max(0, early - Attend.LATENCY),
        reads=early + hold + result - Add.AHEAD + 1,
        commit=commit,
        latency=latency,
    )
