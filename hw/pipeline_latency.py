"""Latencies of an accelerator's pipelines, from the constants and functions that its components publish."""

from moesaic.hw.engine.accumulator import Accumulator
from moesaic.hw.engine.array import array_latency
from moesaic.hw.engine.feeder import QUEUE_DEPTH, Feeder
from moesaic.hw.engine.latency import write_back_stages
from moesaic.hw.moe.router import router_latency
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.latency import Timing
from moesaic.hw.vector.requant import Requantise

__all__ = ["timing"]


def timing(config: AcceleratorConfig) -> Timing:
    """Latencies of `config`; arithmetic alone, no component is made."""
    writeback = write_back_stages(config)
    finished = array_latency(config.lanes) + Accumulator.LATENCY
    return Timing(
        feed=Feeder.LATENCY,
        queue=QUEUE_DEPTH,
        drain=finished + writeback.latency + 2,  # counted as finished, then as retired
        route=finished + writeback.hold + Requantise.LATENCY + router_latency(config.experts, config.max_top_k) + 2,
    )
