"""cocotb: a queue of two is filled, and two words pass on; a machine goes once around."""

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge


@cocotb.test()
async def fills_and_passes_on(dut: Any) -> None:
    """Each step: what comes, and what is taken."""
    dut.push.value = dut.pop.value = 0
    Clock(dut.aclk, 2, unit="ns").start()
    for push, pop in ((1, 0), (1, 0), (1, 0), (0, 1), (0, 1), (0, 0)):
        await FallingEdge(dut.aclk)
        dut.push.value, dut.pop.value = push, pop
    await FallingEdge(dut.aclk)
