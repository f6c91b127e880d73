"""Counts 64 cycles by one."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles


@cocotb.test()
async def count(dut) -> None:
    """Reset, then 64 steps."""
    dut.go.value, dut.step.value, dut.rst.value = 0, 1, 1
    Clock(dut.clk, 10, unit="ns").start()
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    dut.go.value = 1
    await ClockCycles(dut.clk, 64)
    dut.go.value = 0
    await ClockCycles(dut.clk, 3)
