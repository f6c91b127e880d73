"""When things happen in the write-back: cycles, from a configuration alone."""

from dataclasses import dataclass

from moesaic.hw.attention.softmax import softmax_latency
from moesaic.hw.engine.array import array_latency
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.vector.gelu import Gelu
from moesaic.hw.vector.layernorm import sum_latency
from moesaic.hw.vector.reciprocal import Reciprocal
from moesaic.hw.vector.requant import Requantise
from moesaic.hw.vector.scale import Scale

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
    linear : int
        Through requantiser, GELU and scores.
    commit : int
        From the accumulator's output until a result is added, or written.
    latency : int
        From the accumulator's output to the written sums.
    reuse : int
        Before an output of the same token may come again.
    """

    hold: int
    ready_delay: int
    linear: int
    commit: int
    latency: int
    reuse: int


def write_back_stages(config: AcceleratorConfig) -> WriteBackStages:
    """Stages of the write-back of a configuration."""
    softmax = softmax_latency(config.rows)
    early = array_latency(config.lanes) + 1  # from the array's input to the accumulator's output
    ready = 1 + Reciprocal.LATENCY + 1  # state read, reciprocal, times the scalar
    hold = max(0, ready - early)
    linear = Requantise.LATENCY + Gelu.LATENCY + Scale.LATENCY
    # Residual: read, add, write. Softmax: written as it comes.
    commit = hold + max(linear + 1, Requantise.LATENCY + softmax)
    latency = commit + sum_latency(config.rows) + 2
    return WriteBackStages(
        hold=hold,
        ready_delay=max(0, early - ready),
        linear=linear,
        commit=commit,
        latency=latency,
        reuse=max(latency - hold - Requantise.LATENCY, softmax + 4) + 2,
    )
