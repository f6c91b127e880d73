"""Runs `packing.sv` to its end: no product may be wrong, and none left out."""

import cocotb
from cocotb.clock import Clock
from cocotb.handle import SimHandleBase
from cocotb.triggers import RisingEdge

LOWER, UPPER, VALUES = 256, 256, 511


@cocotb.test()
async def every_product(dut: SimHandleBase) -> None:
    Clock(dut.clk, 10, unit="ns").start()
    await RisingEdge(dut.done)
    assert int(dut.wrong.value) == 0
    assert int(dut.checked.value) == LOWER * UPPER * VALUES
