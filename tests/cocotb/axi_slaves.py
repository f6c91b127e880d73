"""Simple AXI4 slaves for unit tests: in order, any stall, chosen errors; they check what the master asks for."""

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from bench import Bench

from moesaic.hw.bus.axi import Axi4ReadSignature, Axi4WriteSignature

__all__ = ["Pace", "ReadSlave", "WriteSlave", "word_at"]


def word_at(addr: int, data_bits: int, salt: int = 0) -> int:
    """Contents of the memory behind a slave: a function of the address."""
    return random.Random(addr * 64 + salt).getrandbits(data_bits)


def payload_layout(signature, channel: str):
    inner = signature.members[channel].signature
    return inner.members["payload"].shape


@dataclass
class Pace:
    """How a slave behaves: chance per cycle of each channel, latency, and the errors."""

    address: float = 1.0
    data: float = 1.0
    response: float = 1.0
    latency: int = 1  # cycles from the transfer of an address to the first beat or, for a write, from WLAST to B
    errors: dict[int, int] = field(default_factory=dict)  # address of a beat -> response
    last_shift: int = 0  # beats by which RLAST comes too early, modulo the burst
    # Of a write: "any", "address" (data after their address), "wvalid" (as "address", and an address only while data
    # are on offer), "data" (an address only after all its data).
    order: str = "any"


def check_burst(burst, data_bits: int, max_burst: int) -> list[int]:
    """Addresses of the beats of a legal burst."""
    step = data_bits // 8
    assert burst.burst == 1 and 1 << burst.size == step, "full width incrementing bursts only"
    assert burst.addr % step == 0, f"unaligned {burst.addr:#x}"
    assert burst.len < max_burst, f"burst of {burst.len + 1}"
    addresses = [burst.addr + step * k for k in range(burst.len + 1)]
    assert addresses[0] // 4096 == addresses[-1] // 4096, f"{burst.addr:#x} + {burst.len + 1} crosses 4 KiB"
    return addresses


class ReadSlave:
    """Read channels; ``bursts`` are the addresses and lengths asked for, ``waiting`` the beats owed."""

    def __init__(
        self,
        bench: Bench,
        name: str,
        *,
        addr_bits: int,
        data_bits: int,
        max_burst: int,
        rng: random.Random,
        pace: Pace | None = None,
        salt: int = 0,
    ) -> None:
        signature = Axi4ReadSignature(addr_bits=addr_bits, data_bits=data_bits)
        self.address, self.beat = payload_layout(signature, "ar"), payload_layout(signature, "r")
        self.bench, self.name, self.rng, self.salt = bench, name, rng, salt
        self.data_bits, self.max_burst = data_bits, max_burst
        self.pace = pace or Pace()
        self.waiting: deque[tuple[int, int, bool]] = deque()  # earliest cycle, address, last
        self.bursts: list[tuple[int, int]] = []
        self.outstanding = self.most_outstanding = 0
        self.ready = self.valid = False
        bench.add(self)

    def drive(self) -> None:
        pace = self.pace
        self.ready = self.rng.random() < pace.address
        self.bench.set(f"{self.name}__ar__ready", int(self.ready))
        if not self.valid:
            due = bool(self.waiting) and self.waiting[0][0] <= self.bench.cycle
            self.valid = due and self.rng.random() < pace.data
        self.bench.set(f"{self.name}__r__valid", int(self.valid))
        if self.valid:
            _, addr, last = self.waiting[0]
            beat = {"data": word_at(addr, self.data_bits, self.salt), "resp": pace.errors.get(addr, 0), "last": last}
            self.bench.set(f"{self.name}__r__payload", self.beat.const(beat).as_bits())

    def observe(self) -> None:
        bench = self.bench
        if self.valid and bench.get(f"{self.name}__r__ready"):
            self.outstanding -= self.waiting.popleft()[2]
            self.valid = False
        if self.ready and bench.get(f"{self.name}__ar__valid"):
            burst = self.address.from_bits(bench.get(f"{self.name}__ar__payload"))
            addresses = check_burst(burst, self.data_bits, self.max_burst)
            self.bursts.append((burst.addr, len(addresses)))
            for k, addr in enumerate(addresses):
                last = k == (burst.len - self.pace.last_shift) % len(addresses)
                self.waiting.append((bench.cycle + self.pace.latency, addr, last))
            self.outstanding += 1
            self.most_outstanding = max(self.most_outstanding, self.outstanding)


class WriteSlave:
    """Write channels; ``memory`` are the beats written with strobes, ``bursts`` the addresses and lengths asked for."""

    def __init__(
        self,
        bench: Bench,
        name: str,
        *,
        addr_bits: int,
        data_bits: int,
        max_burst: int,
        rng: random.Random,
        pace: Pace | None = None,
    ) -> None:
        signature = Axi4WriteSignature(addr_bits=addr_bits, data_bits=data_bits)
        self.address, self.beat = payload_layout(signature, "aw"), payload_layout(signature, "w")
        self.bench, self.name, self.rng = bench, name, rng
        self.data_bits, self.max_burst = data_bits, max_burst
        self.pace = pace or Pace()
        self.memory: dict[int, int] = {}
        self.bursts: list[tuple[int, int]] = []
        self.filling: deque[list[int]] = deque()  # addresses that lack their beats
        self.early: deque[Any] = deque()  # beats that lack their address
        self.answers: deque[tuple[int, int]] = deque()  # earliest cycle, response
        self.response = 0
        self.outstanding = self.most_outstanding = self.blank = 0
        self.aw_ready = self.w_ready = self.valid = False
        bench.add(self)

    def drive(self) -> None:
        pace, bench = self.pace, self.bench
        offered, whole = bench.get(f"{self.name}__w__valid"), bool(self.early) and self.early[-1].last
        takes_address = {"wvalid": offered, "data": whole}.get(pace.order, True)
        takes_data = bool(self.filling) or pace.order in ("any", "data")
        self.aw_ready = self.rng.random() < pace.address and bool(takes_address)
        self.w_ready = self.rng.random() < pace.data and takes_data
        if not self.valid:
            due = bool(self.answers) and self.answers[0][0] <= bench.cycle
            self.valid = due and self.rng.random() < pace.response
        bench.set(f"{self.name}__aw__ready", int(self.aw_ready))
        bench.set(f"{self.name}__w__ready", int(self.w_ready))
        bench.set(f"{self.name}__b__valid", int(self.valid))
        if self.valid:
            bench.set(f"{self.name}__b__payload", self.answers[0][1])

    def observe(self) -> None:
        bench, name = self.bench, self.name
        if self.valid and bench.get(f"{name}__b__ready"):
            self.answers.popleft()
            self.valid = False
            self.outstanding -= 1
        if self.w_ready and bench.get(f"{name}__w__valid"):
            assert self.filling or bench.get(f"{name}__aw__valid"), "data before their address is offered"
            self.early.append(self.beat.from_bits(bench.get(f"{name}__w__payload")))
        if self.aw_ready and bench.get(f"{name}__aw__valid"):
            burst = self.address.from_bits(bench.get(f"{name}__aw__payload"))
            addresses = check_burst(burst, self.data_bits, self.max_burst)
            self.bursts.append((burst.addr, len(addresses)))
            self.filling.append(addresses)
            self.outstanding += 1
            self.most_outstanding = max(self.most_outstanding, self.outstanding)
        while self.filling and self.early:
            self._write(self.early.popleft())

    def _write(self, beat: Any) -> None:
        """A beat with its address."""
        addr = self.filling[0].pop(0)
        self.response = max(self.response, self.pace.errors.get(addr, 0))
        if beat.strb:
            assert beat.strb == (1 << self.data_bits // 8) - 1
            self.memory[addr] = beat.data
        else:
            self.blank += 1
        assert bool(beat.last) == (not self.filling[0]), "WLAST is misplaced"
        if not self.filling[0]:
            self.filling.popleft()
            self.answers.append((self.bench.cycle + self.pace.latency, self.response))
            self.response = 0
