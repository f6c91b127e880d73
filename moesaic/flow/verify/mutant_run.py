"""cocotb: trials one after the other, each first of the right hardware, then of every mutant that may notice it.

The right hardware says in each trial which mutants would have had a bit that differs; no other can behave differently.
Each of those runs in a process forked off where the trial begins. A fork leaves nothing behind: neither memory nor
registers nor a dead simulator. In the last trial the right hardware itself is one of them.
"""

import hashlib
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.handle import HierarchyObject, PackedObject
from cocotb.triggers import FallingEdge, First, RisingEdge, Timer
from cocotb.utils import get_sim_time

from moesaic.flow.verify.trial_hardware import kind

__all__ = ["run_mutants"]

CYCLE_NS = 2
ACCESS = 100  # cycles in which a register must answer
OVERLAP = 24  # cycles of accesses that overlap; in the first half none is answered
POLLS = 400  # reads of STATUS in which a run must have drained
SLACK = 64  # cycles by which an interrupt may be late before it is given up
SECONDS = 600  # of a simulator that does not end, such as one that oscillates
STATUS, BUSY = 0x14, 1
COUNTERS = (32, 64)  # bits of one
DUMP = "dump.bin"
SAME = "same"


class Different(Exception):
    """An answer that is not the right hardware's."""


class Host:
    """What trials do to the test bench. Everything changes, and is looked at, when the clock falls."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut

    async def tick(self, cycles: int = 1) -> None:
        """Some cycles."""
        if cycles > 1:
            await Timer((cycles - 1) * CYCLE_NS, "ns")
        await FallingEdge(self.dut.aclk)

    async def reset(self) -> None:
        """Reset for some cycles."""
        self.dut.aresetn.value = 0
        await self.tick(8)
        self.dut.aresetn.value = 1
        await self.tick(2)

    async def _offer(self, channels: Sequence[str]) -> bool:
        """Until all have been taken."""
        open_channels = set(channels)
        for _ in range(ACCESS):
            for name in channels:
                getattr(self.dut, f"s_axil_{name}valid").value = name in open_channels
            ready = {name for name in open_channels if int(getattr(self.dut, f"s_axil_{name}ready").value)}
            await self.tick()
            open_channels -= ready
            if not open_channels:
                break
        for name in channels:
            getattr(self.dut, f"s_axil_{name}valid").value = 0
        return not open_channels

    async def _answer(self, channel: str, hold: int) -> list[int]:
        """Cycles, response, data; with `hold`, also that they stay while they are not taken."""
        dut, seen = self.dut, []
        valid, ready = getattr(dut, f"s_axil_{channel}valid"), getattr(dut, f"s_axil_{channel}ready")
        cycles = 0
        while not int(valid.value):
            if cycles == ACCESS:
                return [-1]
            await self.tick()
            cycles += 1
        for left in range(hold, -1, -1):
            data = int(dut.s_axil_rdata.value) if channel == "r" else 0
            seen += [int(valid.value), int(getattr(dut, f"s_axil_{channel}resp").value), data]
            ready.value = not left
            await self.tick()
        ready.value = 0
        return [cycles, *seen]

    async def write(self, offset: int, value: int, strobes: int = 15, order: str = "both", hold: int = 0) -> list[int]:
        """A register write."""
        dut = self.dut
        dut.s_axil_awaddr.value, dut.s_axil_wdata.value, dut.s_axil_wstrb.value = offset, value, strobes
        orders: dict[str, list[tuple[str, ...]]] = {
            "both": [("aw", "w")],
            "address": [("aw",), ("w",)],
            "data": [("w",), ("aw",)],
        }
        for group in orders[order]:
            if not await self._offer(group):
                return [-2]
        return await self._answer("b", hold)

    async def read(self, offset: int, hold: int = 0) -> list[int]:
        """A register read."""
        self.dut.s_axil_araddr.value = offset
        return await self._answer("r", hold) if await self._offer(["ar"]) else [-2]

    async def overlap(self, offset: int, value: int) -> list[int]:
        """A register is written and read twice, the second time while the first is not answered; what is seen in each
        cycle.
        """
        dut, left, seen = self.dut, {"aw": 2, "w": 2, "ar": 2}, []
        dut.s_axil_awaddr.value = dut.s_axil_araddr.value = offset
        dut.s_axil_wdata.value, dut.s_axil_wstrb.value = value, 15
        for cycle in range(OVERLAP):
            for name, count in left.items():
                getattr(dut, f"s_axil_{name}valid").value = count > 0
            dut.s_axil_bready.value = dut.s_axil_rready.value = cycle >= OVERLAP // 2
            ready = {name: int(getattr(dut, f"s_axil_{name}ready").value) for name in left}
            answers = ("bvalid", "bresp", "rvalid", "rresp", "rdata")
            seen += [*ready.values(), *(int(getattr(dut, f"s_axil_{name}").value) for name in answers)]
            await self.tick()
            left = {name: count - (count and ready[name]) for name, count in left.items()}
        dut.s_axil_bready.value = dut.s_axil_rready.value = 0
        return [*left.values(), *seen]

    async def irq(self, limit: int) -> int:
        """Cycles until the interrupt, -1 if it does not come."""
        begin = get_sim_time("ns")
        if not int(self.dut.irq.value):
            await First(RisingEdge(self.dut.irq), Timer(limit * CYCLE_NS, "ns"))
            await self.tick()
        return int(get_sim_time("ns") - begin) // CYCLE_NS if int(self.dut.irq.value) else -1

    async def idle(self) -> list[int]:
        """Reads until STATUS is not busy, and what it is then."""
        answer = await self.read(STATUS)
        count = 0
        while len(answer) == 4 and answer[3] & BUSY and count < POLLS:
            answer = await self.read(STATUS)
            count += 1
        return [count, *answer]

    async def dump(self, address: int, size: int) -> str:
        """Digest of a part of the DDR."""
        memory = self.dut.memory
        memory.dump_base.value, memory.dump_bytes.value, self.dut.dump.value = address, size, 1
        await self.tick(2)
        self.dut.dump.value = 0
        await self.tick(2)
        return hashlib.sha256(Path(DUMP).read_bytes()).hexdigest()

    async def poke(self, base: int, address: int, data: str) -> None:
        """Write whole words into the DDR."""
        memory, content = self.dut.memory.mem, bytes.fromhex(data)
        word = len(self.dut.memory.mem[0]) // 8
        for place in range(0, len(content), word):
            value = int.from_bytes(content[place : place + word], "little")
            memory[(address - base + place) // word].value = value
        await self.tick()

    async def counters(self, value: int, which: str = "") -> None:
        """Set every counter that can be set, wherever it is, to the upper bits of a value of 64; or `numbers` of
        instructions, to the value; or take it from the cycles that the `watchdog` has left.
        """
        scopes = [self.dut.dut]
        while scopes:
            for inner in scopes.pop():
                if isinstance(inner, HierarchyObject):
                    scopes.append(inner)
                elif isinstance(inner, PackedObject) and kind(inner._name) == which:
                    if which == "watchdog":
                        inner.value = (int(inner.value) - value) % (1 << len(inner))
                    elif which or len(inner) in COUNTERS:
                        inner.value = value if which else value >> COUNTERS[-1] - len(inner)
        await self.tick()

    async def step(self, step: Sequence[Any], *, base: int, limit: int) -> Any:
        """One step's answer."""
        kind, *rest = step
        if kind == "irq":
            return await self.irq(limit)
        if kind == "poke":
            return await self.poke(base, *rest)
        if kind == "wait":
            return await self.tick(*rest)
        if kind == "pin":
            return int(self.dut.irq.value)
        if kind == "bus":
            names = ("viol", "viol_port", "total_read", "written_bytes")
            return [int(getattr(self.dut, name).value) for name in names]
        if kind == "expect":
            return await self.read(rest[0])
        if kind == "counters":
            return await self.counters(*rest)
        if kind == "memory":
            for name, value in rest[0].items():
                getattr(self.dut.memory, name).value = value
            return await self.tick()
        return await getattr(self, kind)(*rest)


async def _perform(dut: Any, job: Any, trial: Any, right: list[Any] | None = None) -> list[Any]:
    """One trial, from a reset on; `Different` at the first answer that is not right. Without `right`: what it is."""
    host, answers = Host(dut), []
    await host.reset()
    for place, step in enumerate(trial["steps"]):
        wanted = None if right is None else right[place]
        limit = job["limit"]
        if step[0] == "irq" and wanted is not None and wanted >= 0:
            limit = wanted + SLACK
        answer = await host.step(step, base=job["base"], limit=limit)
        if right is None and step[0] == "expect" and (answer[-1] == step[2]) != step[3]:
            raise AssertionError(
                f"step {place}: register {step[1]:#x} must{'' if step[3] else ' not'} be {step[2]}: {answer}"
            )
        if right is not None and answer != wanted:
            raise Different(f"{step[0]} {step[1] if len(step) > 1 else ''}".strip())
        answers.append(answer)
    return answers


async def _mutant(dut: Any, job: Any, trial: Any, mutant: int, right: list[Any], out: int) -> None:
    """What the fork of a mutant does; it never returns."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        dut.mutant.value = mutant
        try:
            await _perform(dut, job, trial, right)
            os.write(out, b"same\n")
        except Different as difference:
            os.write(out, f"{difference}\n".encode())
    finally:
        os._exit(0)


def _heard(source: int, child: int) -> str:
    """Everything that a fork says until it ends."""
    with os.fdopen(source) as lines:
        text = lines.read()
    os.waitpid(child, 0)
    return text


async def _mutants(dut: Any, job: Any, trial: Any, given: int, out: int) -> None:
    """What the fork at the beginning of a trial does: wait until the right hardware has done it, then all mutants."""
    try:
        with os.fdopen(given) as lines:
            right, mutants = json.loads(lines.read())
        for mutant in mutants:
            source, mine = os.pipe()
            child = os.fork()
            if child == 0:
                await _mutant(dut, job, trial, mutant, right, mine)
            os.close(mine)
            found = _heard(source, child).strip()
            os.write(out, (json.dumps([mutant, found]) + "\n").encode())
    finally:
        os._exit(0)


def _reached(dut: Any) -> set[int]:
    """Mutants of which the right hardware, while watched, has had a bit that differs."""
    bits = int(dut.reached.value)
    return {place for place in range(bits.bit_length()) if bits >> place & 1}


@cocotb.test()
async def run_mutants(dut: Any) -> None:
    """Writes outcome.json, of each trial: the mutants that it reaches, and what differed for each that no earlier one
    has noticed (`same`: nothing; empty: the simulation ended by itself). Memory behind each trial: right_N.bin.
    """
    job = json.loads(Path(os.environ["MOESAIC_JOB"]).read_text(encoding="utf-8"))
    for name in ("awaddr", "awvalid", "wdata", "wstrb", "wvalid", "bready", "araddr", "arvalid", "rready"):
        getattr(dut, f"s_axil_{name}").value = 0
    dut.dump.value = dut.mutant.value = dut.aresetn.value = dut.watch.value = 0
    Clock(dut.aclk, CYCLE_NS, unit="ns").start()
    await Host(dut).tick(4)
    alive, outcomes = set(job["mutants"]), []
    for number, trial in enumerate(job["trials"]):
        given, give = os.pipe()
        source, out = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(give)
            await _mutants(dut, job, trial, given, out)
        os.close(given)
        os.close(out)
        dut.watch.value = 1
        right = await _perform(dut, job, trial)
        if Path(DUMP).exists():
            Path(DUMP).rename(f"right_{number}.bin")
        reached = _reached(dut)
        dut.watch.value = 0
        await Host(dut).tick(2)
        last = number == len(job["trials"]) - 1
        with os.fdopen(give, "w") as lines:
            lines.write(json.dumps([right, [*sorted(alive & reached), *([0] if last else [])]]))
        found = [json.loads(line) for line in _heard(source, child).splitlines()]
        alive -= {mutant for mutant, what in found if what != SAME}
        outcomes.append({"reached": sorted(reached), "found": found})
    Path("outcome.json").write_text(json.dumps(outcomes), encoding="utf-8")
