"""One loop per clock cycle: actors drive inputs after the falling edge and look at settled values before the rising
one.
"""

import random
from collections import deque
from collections.abc import Callable

from cocotb.clock import Clock
from cocotb.handle import SimHandleBase
from cocotb.triggers import FallingEdge, ReadOnly

__all__ = ["Bench", "Sink", "Source"]


class Bench:
    """Steps the clock; ``drive`` and ``observe`` of every actor are called once per cycle, in the order added."""

    def __init__(self, dut: SimHandleBase) -> None:
        self.dut, self.cycle = dut, 0
        self.drivers: list[Callable[[], None]] = []
        self.observers: list[Callable[[], None]] = []
        self.last: dict[str, int] = {}

    def set(self, name: str, value: int) -> None:
        """Drive an input, if it changes."""
        if self.last.get(name) != value:
            self.last[name] = value
            getattr(self.dut, name).value = value

    def get(self, name: str) -> int:
        """Read a port; X is an error."""
        return int(getattr(self.dut, name).value)

    def add(self, actor: "Source | Sink") -> None:
        self.drivers.append(actor.drive)
        self.observers.append(actor.observe)

    async def start(self, **inputs: int) -> None:
        """Drive the given inputs, reset, and begin to count cycles."""
        for name, value in inputs.items():
            self.set(name, value)
        self.set("rst", 1)
        Clock(self.dut.clk, 10, unit="ns").start()
        for _ in range(2):
            await FallingEdge(self.dut.clk)
        self.set("rst", 0)

    async def step(self, count: int = 1) -> None:
        """Pass ``count`` cycles. On return the inputs may be driven, and hold for the next cycle."""
        for _ in range(count):
            for drive in self.drivers:
                drive()
            await ReadOnly()
            for observe in self.observers:
                observe()
            await FallingEdge(self.dut.clk)
            self.cycle += 1

    async def until(self, condition: Callable[[], bool], limit: int) -> None:
        """Step until the condition holds; fail after ``limit`` cycles."""
        for _ in range(limit):
            if condition():
                return
            await self.step()
        assert condition(), f"nothing after {limit} cycles"


class Source:
    """Sends ``items`` on a stream input; offers one with probability ``chance`` per cycle and holds it."""

    def __init__(self, bench: Bench, name: str, *, rng: random.Random, chance: float = 1.0) -> None:
        self.bench, self.name, self.rng, self.chance = bench, name, rng, chance
        self.items: deque[int] = deque()
        self.valid = False
        self.sent = 0
        bench.add(self)

    def drive(self) -> None:
        if not self.valid:
            self.valid = bool(self.items) and self.rng.random() < self.chance
        self.bench.set(f"{self.name}__valid", int(self.valid))
        if self.valid:
            self.bench.set(f"{self.name}__payload", self.items[0])

    def observe(self) -> None:
        if self.valid and self.bench.get(f"{self.name}__ready"):
            self.items.popleft()
            self.valid = False
            self.sent += 1


class Sink:
    """Takes a stream output with probability ``chance`` per cycle; ``got`` are (cycle, payload)."""

    def __init__(self, bench: Bench, name: str, *, rng: random.Random, chance: float = 1.0) -> None:
        self.bench, self.name, self.rng, self.chance = bench, name, rng, chance
        self.got: list[tuple[int, int]] = []
        self.ready = False
        bench.add(self)

    def drive(self) -> None:
        self.ready = self.rng.random() < self.chance
        self.bench.set(f"{self.name}__ready", int(self.ready))

    def observe(self) -> None:
        if self.ready and self.bench.get(f"{self.name}__valid"):
            self.got.append((self.bench.cycle, self.bench.get(f"{self.name}__payload")))
