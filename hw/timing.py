"""Reads the latencies of an accelerator's pipelines off its components."""

import functools
import gc
import warnings

from amaranth.hdl import UnusedElaboratable

from moesaic.hw.engine.accumulator import Accumulator
from moesaic.hw.engine.array import array_latency
from moesaic.hw.engine.feeder import QUEUE_DEPTH, Feeder
from moesaic.hw.engine.writeback import WriteBack
from moesaic.hw.moe.router import Router
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.timing import Timing

__all__ = ["timing"]


def _read(config: AcceleratorConfig) -> Timing:
    writeback = WriteBack(config)
    router = Router(
        rows=config.rows, experts=config.experts, max_top_k=config.max_top_k, max_tokens=config.max_tokens
    )
    finished = array_latency(config.lanes) + Accumulator.LATENCY
    return Timing(
        feed=Feeder(config).latency,
        queue=QUEUE_DEPTH,
        drain=finished + writeback.latency + 2,  # counted as finished, then as retired
        route=finished + writeback.hold + writeback.at_value + router.latency + 2,
        reuse=writeback.reuse + 1,
        accumulate=Accumulator.REUSE + 1,
    )


@functools.cache
def timing(config: AcceleratorConfig) -> Timing:
    """Latencies of `config`, from the constants that the components publish; nothing is elaborated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)  # they are built to be asked, and then to go
        result = _read(config)
        gc.collect()
    return result
