"""cocotb: one bit after the other rises and falls."""

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge


@cocotb.test()
async def rises_and_falls(dut: Any) -> None:
    """Bits 3 and 64."""
    dut.at.value = 0
    Clock(dut.aclk, 2, unit="ns").start()
    for bit in (3, 64):
        for value in (0, 128, 0):
            await FallingEdge(dut.aclk)
            dut.at.value = bit + value
    for _ in range(3):
        await FallingEdge(dut.aclk)
