"""cocotb: drives the accelerator over AXI4-Lite as a host would, by the job file that `sim.rtl` wrote."""

import gc
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, First, RisingEdge, Timer
from cocotb.utils import get_sim_time

from moesaic.boards.driver import Driver, RunResult
from moesaic.boards.errors import AcceleratorError, BusError, RunIncomplete, RunLost
from moesaic.compiler.image import ProgramImage

__all__ = ["CYCLE_NS", "SimulatedBus", "run_job"]


CYCLE_NS = 2  # of simulated time; the driver's seconds are counted in cycles of the configuration's clock
PATIENCE = 20_000  # cycles between two looks at STATUS


class SimulatedBus:
    """The driver's transport: AXI4-Lite on the pins, DDR through the back door, the interrupt.

    Parameters
    ----------
    dut
        The test bench.
    base, size : int, bytes
        Of the DDR model.
    word_bytes : int
        In one word of it.
    clock_mhz : float
        By which cycles become the driver's seconds.
    """

    def __init__(self, dut: Any, *, base: int, size: int, word_bytes: int, clock_mhz: float) -> None:
        self.dut, self.base, self.size, self.word_bytes = dut, base, size, word_bytes
        self.hertz = clock_mhz * 1e6
        self.patience = PATIENCE / self.hertz
        self._clock: Clock | None = None

    async def reset(self) -> None:
        """Reset for a few cycles; the first time, start the clock."""
        for name in ("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "bready", "araddr", "arvalid", "rready"):
            getattr(self.dut, f"s_axil_{name}").value = 0
        self.dut.dump.value = 0
        self.dut.aresetn.value = 0
        if self._clock is None:
            self._clock = Clock(self.dut.aclk, CYCLE_NS, unit="ns")
            self._clock.start()
        await ClockCycles(self.dut.aclk, 8)
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 2)

    async def _accepted(self, *channels: str) -> None:
        """Offer what is on some channels until each is taken. Looks are at falling edges, where nothing moves."""
        dut, waiting = self.dut, list(channels)
        for channel in waiting:
            getattr(dut, f"s_axil_{channel}valid").value = 1
        while waiting:
            await FallingEdge(dut.aclk)
            ready = [channel for channel in waiting if int(getattr(dut, f"s_axil_{channel}ready").value)]
            await RisingEdge(dut.aclk)
            for channel in ready:
                getattr(dut, f"s_axil_{channel}valid").value = 0
                waiting.remove(channel)

    async def _answered(self, channel: str, what: str) -> int:
        dut = self.dut
        valid, ready = getattr(dut, f"s_axil_{channel}valid"), getattr(dut, f"s_axil_{channel}ready")
        ready.value = 1
        await FallingEdge(dut.aclk)
        while not int(valid.value):
            await FallingEdge(dut.aclk)
        response = int(getattr(dut, f"s_axil_{channel}resp").value)
        data = int(dut.s_axil_rdata.value) if channel == "r" else 0
        await RisingEdge(dut.aclk)
        ready.value = 0
        if response:
            raise BusError(what, response)
        return data

    async def write(self, offset: int, value: int) -> None:
        """One AXI4-Lite write."""
        dut = self.dut
        dut.s_axil_awaddr.value, dut.s_axil_wdata.value, dut.s_axil_wstrb.value = offset, value, 15
        await self._accepted("aw", "w")
        await self._answered("b", f"write of {offset:#x}")

    async def read(self, offset: int) -> int:
        """One AXI4-Lite read."""
        self.dut.s_axil_araddr.value = offset
        await self._accepted("ar")
        return await self._answered("r", f"read of {offset:#x}")

    async def allocate(self, size: int, wanted: int) -> int:
        """The place that is wanted, if the DDR model holds it."""
        if not self.base <= wanted <= wanted + size <= self.base + self.size:
            raise MemoryError(
                f"DDR model must hold {size:#x} bytes at {wanted:#x}, not {self.size:#x} at {self.base:#x}"
            )
        return wanted

    async def write_memory(self, address: int, data: bytes) -> None:
        """Back door into the DDR model."""
        first = (address - self.base) // self.word_bytes
        memory = self.dut.memory.mem
        for k in range(0, len(data), self.word_bytes):
            memory[first + k // self.word_bytes].value = int.from_bytes(
                data[k : k + self.word_bytes].ljust(self.word_bytes, b"\0"), "little"
            )
        await RisingEdge(self.dut.aclk)

    async def read_memory(self, address: int, size: int) -> bytes:
        """Back door out of the DDR model."""
        first, words = (address - self.base) // self.word_bytes, -(-size // self.word_bytes)
        memory = self.dut.memory.mem
        return b"".join(int(memory[first + k].value).to_bytes(self.word_bytes, "little") for k in range(words))[:size]

    async def wait_interrupt(self, seconds: float) -> bool:
        """Until `irq`, for at most so long."""
        if not int(self.dut.irq.value):
            done = RisingEdge(self.dut.irq)
            cycles = max(1, round(seconds * self.hertz))
            if await First(done, Timer(cycles * CYCLE_NS, "ns")) is not done:
                await RisingEdge(self.dut.aclk)
                return False
        await RisingEdge(self.dut.aclk)
        return True

    def now(self) -> float:
        """Seconds at the configuration's clock since the simulation began."""
        return float(get_sim_time("ns")) / CYCLE_NS / self.hertz

    async def close(self) -> None:
        """Nothing to give back."""


_RESETS = {"reset": "RESET", "soft_reset": "SOFT_RESET"}  # commands that no interrupt follows, and what they are called


async def _perform(driver: Driver, bus: SimulatedBus, run: Mapping[str, Any], timeout: float) -> RunResult | None:
    """One run, with the command that interferes with it; None if that was a reset."""
    await driver.start(run["task"], watchdog=run["watchdog"], overrides=run["overrides"])
    if run["command"]:
        await ClockCycles(bus.dut.aclk, run["command_after"])
        if run["command"] in _RESETS:
            await (bus.reset() if run["command"] == "reset" else driver.soft_reset())
            return None
        control = driver.table["CTRL"]
        await bus.write(control.offset, control[run["command"]].mask)
    return await driver.finish(timeout=timeout)


async def _settle(driver: Driver) -> int:
    """STATUS once the accelerator is idle, or after some thousand cycles if the bus does not let it drain."""
    register = driver.table["STATUS"]
    for _ in range(500):
        status = await driver.transport.read(register.offset)
        if not status & register["busy"].mask:
            break
    return status


async def _set_memory(dut: Any, values: Mapping[str, int]) -> None:
    for name, value in values.items():
        getattr(dut.memory, name).value = value
    await RisingEdge(dut.aclk)


@cocotb.test()
async def run_job(dut: Any) -> None:
    """All runs of the job, one after the other; writes a line of outcomes.jsonl and the result of each."""
    gc.freeze()  # what is imported by now is never garbage
    job = json.loads(Path(os.environ["MOESAIC_JOB"]).read_text(encoding="utf-8"))
    program = ProgramImage.load(job["program"])
    config = program.config
    bus = SimulatedBus(
        dut,
        base=program.address,
        size=len(program.memory),
        word_bytes=config.port_bits // 8,
        clock_mhz=config.clock_mhz,
    )
    await bus.reset()
    driver = Driver(bus, program, slots=1)
    await driver.open(load=False)
    lines = open("outcomes.jsonl", "w", encoding="utf-8", buffering=1)  # noqa: SIM115, ASYNC230, open to the end
    for number, run in enumerate(job["runs"]):
        for address, part in zip(run.get("addresses", []), run.get("parts", []), strict=True):
            await bus.write_memory(address, bytes.fromhex(part))
        patches = [(address, bytes.fromhex(data)) for address, data in run["patches"]]
        saved = [(address, await bus.read_memory(address, len(data))) for address, data in patches]
        for address, data in patches:
            await bus.write_memory(address, data)
        await _set_memory(dut, run["memory"])
        outcome: dict[str, object] = {"task": run["task"]}
        try:
            result = await _perform(driver, bus, run, job["limit"] / bus.hertz)
            if result is None:
                outcome["error"] = {"code": _RESETS[run["command"]], "text": "ended by a reset"}
            else:
                outcome["counters"] = dict(result.counters)
                np.save(f"result_{number}.npy", np.frombuffer(result.result, np.uint8))
        except AcceleratorError as error:
            outcome["error"] = {
                "code": error.code.name,
                "unit": error.unit.name,
                "index": error.index,
                "address": error.address,
                "draining": error.draining,
                "text": str(error),
            }
        except TimeoutError as error:
            outcome["error"] = {"code": "TIMEOUT", "text": str(error)}
        except RunLost as error:
            outcome["error"] = {"code": error.name, "text": str(error)}
        except RunIncomplete as error:
            outcome["error"] = {"code": "INCOMPLETE", "text": str(error)}
        await _set_memory(dut, run["memory_after"])
        outcome["status"] = await _settle(driver)
        for address, data in reversed(saved):
            await bus.write_memory(address, data)
        if run["soft_reset"]:
            await driver.soft_reset()
        outcome["violations"] = {
            "mask": int(dut.viol.value),
            "port": int(dut.viol_port.value),
            "address": int(dut.viol_addr.value),
        }
        lines.write(json.dumps(outcome) + "\n")
