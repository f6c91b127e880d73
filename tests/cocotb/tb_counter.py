"""Tests of a counter that adds `step` when `go`, and of the runner itself: `EXPECT` makes one of them fail."""

import os

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge


async def start(dut) -> None:
    dut.rst.value = 1
    dut.go.value = 0
    dut.step.value = 3
    Clock(dut.clk, 10, unit="ns").start()
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0


@cocotb.test
async def counts(dut):
    await start(dut)
    dut.go.value = 1
    await ClockCycles(dut.clk, 100)
    dut.go.value = 0
    await RisingEdge(dut.clk)
    assert int(dut.total.value) == int(os.environ.get("EXPECT", 300)) % 256
    total = int(dut.total.value)
    await ClockCycles(dut.clk, 5)
    assert int(dut.total.value) == total
