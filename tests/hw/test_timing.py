"""Latencies that are calculated from a configuration are those of the components that it makes."""

import gc
import itertools
import warnings

import pytest
from amaranth.hdl import UnusedElaboratable

from moesaic.hw.engine.accumulator import Accumulator
from moesaic.hw.engine.array import array_latency
from moesaic.hw.engine.feeder import QUEUE_DEPTH, Feeder
from moesaic.hw.engine.writeback import WriteBack
from moesaic.hw.moe.router import Router
from moesaic.hw.pipeline_latency import timing
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.latency import Timing
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.vector.requant import Requantise

SIZES = [
    AcceleratorConfig(
        name="test", rows=rows, lanes=lanes, experts=experts, max_top_k=top_k, prefetch_words=1024, max_dim=256
    )
    for (rows, lanes), (experts, top_k) in itertools.product(
        ((4, 8), (8, 8), (4, 32), (16, 64), (64, 64), (64, 128), (128, 128)), ((2, 1), (8, 2), (64, 4))
    )
]
SIZES += [size.replace(packed_keys=True) for size in SIZES if 2 * size.rows <= size.lanes]


@pytest.fixture(autouse=True)
def unused():
    """Components are built to be asked, and then to go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        yield
        gc.collect()


def of_components(config: AcceleratorConfig) -> Timing:
    """Added up from the parts of real components, stage by stage."""
    feeder, back = Feeder(config), WriteBack(config)
    router = Router(rows=config.rows, experts=config.experts, max_top_k=config.max_top_k, max_tokens=config.max_tokens)
    finished = array_latency(config.lanes) + Accumulator.LATENCY
    hold = max(0, 3 + back.attend.reciprocal.LATENCY - (array_latency(config.lanes) + 1))
    requantised = back.requantise.requantise.LATENCY
    linear = requantised + back.activate.curves.LATENCY + back.rescale.LATENCY
    commit = hold + max(linear + 1, requantised + back.softmax.block.code_at)
    latency = commit + back.add.update.latency + 2
    # A query's level is written before its instruction ends.
    assert hold + requantised + back.softmax.state_at < latency
    assert (back.hold, back.at_commit, back.latency) == (hold, commit - hold, latency)
    return Timing(
        feed=feeder.final + feeder.waiting.LATENCY + feeder.head.LATENCY,
        queue=QUEUE_DEPTH,
        drain=finished + latency + 2,
        route=finished + hold + Requantise.LATENCY + 1 + router.gate.latency + router.queues.LATENCY + 2,
    )


@pytest.mark.parametrize(
    "config",
    [*PRESETS.values(), *SIZES],
    ids=lambda c: f"{c.name}-{c.rows}x{c.lanes}-{c.experts}/{c.max_top_k}{'-packed' * c.packed_keys}",
)
def test_arithmetic_equals_components(config: AcceleratorConfig) -> None:
    assert timing(config) == of_components(config)


def test_sizes_matter() -> None:
    """Wider arrays and more experts take longer; the table is not one constant."""
    small, wide = (AcceleratorConfig(name="test", rows=rows, lanes=rows, prefetch_words=1024) for rows in (8, 64))
    assert timing(small).drain < timing(wide).drain
    assert timing(small.replace(experts=2, max_top_k=1)).route < timing(small.replace(experts=64)).route
