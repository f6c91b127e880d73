"""Runs a stalled stream for a while; the assertions in the design judge it."""

import random

import cocotb
from bench import Bench, Sink
from cocotb.handle import SimHandleBase


@cocotb.test()
async def stall(dut: SimHandleBase) -> None:
    bench = Bench(dut)
    Sink(bench, "o", rng=random.Random(0), chance=0.3)
    await bench.start(o__ready=0)
    await bench.step(100)
