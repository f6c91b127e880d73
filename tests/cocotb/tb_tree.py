"""Test of the design of tests/hw/test_verilog.py: a chain of scalers, a memory, a table, a constant."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, Timer


@cocotb.test
async def constant_needs_no_clock(dut):
    await Timer(1, "ns")
    assert int(dut.constant.value) == 42


@cocotb.test
async def scales(dut):
    rng = random.Random(1)
    dut.rst.value = 0
    Clock(dut.clk, 10, unit="ns").start()
    await FallingEdge(dut.clk)
    for _ in range(50):
        value, address = rng.choice([-7, -1, 0, 1, 2, 11]), rng.randrange(16)
        dut.i.value = value % 256
        dut.address.value = address
        await ClockCycles(dut.clk, 6, FallingEdge)
        assert dut.o.value.to_signed() == (value * 3**4 * 5 + 128) % 256 - 128
        assert int(dut.word.value) == address**2 % 256
        assert int(dut.entry.value) == [11, 7, 5, 3][address % 4]
