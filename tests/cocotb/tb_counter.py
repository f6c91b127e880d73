"""Tests of a counter, and through it of the runner: the environment makes them fail, stop or hang."""

import os

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

EXPECT = int(os.environ.get("EXPECT", "300"))
STOP_AT = int(os.environ.get("STOP_AT", "0"))


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
    assert int(dut.total.value) == EXPECT % 256
    await ClockCycles(dut.clk, 5)
    assert int(dut.total.value) == EXPECT % 256


@cocotb.test(skip=not STOP_AT)
async def breaks_the_rule(dut):
    await start(dut)
    dut.step.value = 15
    dut.go.value = 1
    await ClockCycles(dut.clk, STOP_AT)
