"""AXI4-Lite register file against a model written from the register table's rules."""

import os
import random

import cocotb
from bench import Bench, Sink, Source

from moesaic.hw.bus.axilite_slave import AxiLiteSlave
from moesaic.hw.spec.registers import MAP_BYTES, Access, Register, register_map

OKAY, SLVERR, DECERR = 0, 2, 3
ADDR_BITS = 13  # one bit more than the map, so that there is a beyond
TABLE = register_map(2, config_hash=0xCAFE_F00D)
SHAPES = AxiLiteSlave(TABLE, addr_bits=ADDR_BITS).signature.members
SEED = int(os.environ.get("COCOTB_RANDOM_SEED", "1"))


class Model:
    """What the host may expect."""

    def __init__(self) -> None:
        self.held = {r.name: r.reset for r in TABLE if r.access is Access.RW}
        self.inputs = {r.name: 0 for r in TABLE if r.access in (Access.RO, Access.W1C) and not r.constant}
        self.pulses: list[tuple[str, int]] = []

    @staticmethod
    def bits(register: Register) -> int:
        return sum(((1 << f.width) - 1) << f.lsb for f in register.fields) or (1 << register.width) - 1

    def find(self, address: int) -> tuple[Register | None, int]:
        if address >= MAP_BYTES:
            return None, DECERR
        matches = [r for r in TABLE if r.offset == address]
        return (matches[0], OKAY) if matches else (None, SLVERR)

    def read(self, address: int) -> tuple[int, int]:
        register, response = self.find(address)
        if register is None:
            return 0, response
        if register.constant:
            return register.reset, OKAY
        if register.access is Access.W1S:
            return 0, OKAY
        return (self.held | self.inputs)[register.name] & self.bits(register), OKAY

    def write(self, address: int, word: int, strobes: int, lock: bool) -> int:
        register, response = self.find(address)
        if register is None:
            return response
        if register.access is Access.RO or (register.locked and lock):
            return SLVERR
        mask = sum(0xFF << 8 * lane for lane in range(4) if strobes >> lane & 1) & self.bits(register)
        if register.access is Access.RW:
            self.held[register.name] = self.held[register.name] & ~mask | word & mask
        elif word & mask:
            self.pulses.append((register.name.lower(), word & mask))
        return OKAY


class Host:
    """AXI4-Lite master with stalls, and the views of the typed ports."""

    def __init__(self, dut, stall: float) -> None:
        self.rng = random.Random(SEED)
        self.bench = Bench(dut)
        self.aw, self.w, self.ar = (
            Source(self.bench, f"bus__{name}", rng=self.rng, chance=1 - stall) for name in ("aw", "w", "ar")
        )
        self.b, self.r = (Sink(self.bench, f"bus__{name}", rng=self.rng, chance=1 - stall) for name in ("b", "r"))
        self.pulses: list[tuple[str, int]] = []
        self.bench.observers.append(self.watch)

    def watch(self) -> None:
        layout = SHAPES["pulse"].shape
        pulse = layout.from_bits(self.bench.get("pulse"))
        self.pulses += [(name, pulse[name].as_bits()) for name in layout.members if pulse[name].as_bits()]

    async def start(self) -> None:
        await self.bench.start(
            lock=0, ro=0, bus__aw__valid=0, bus__w__valid=0, bus__ar__valid=0, bus__b__ready=0, bus__r__ready=0
        )

    def set_inputs(self, words: dict[str, int]) -> None:
        """Drive ``ro`` from words by register name."""
        packed = 0
        layout = SHAPES["ro"].shape
        for name in layout.members:
            value, position = 0, 0
            for register in TABLE.values[name]:
                value |= words[register.name] << position
                position += register.width
            packed |= value << layout[name].offset
        self.bench.set("ro", packed)

    def held(self) -> dict[str, int]:
        """``rw`` as words by register name."""
        rw, words = SHAPES["rw"].shape.from_bits(self.bench.get("rw")), {}
        for name in SHAPES["rw"].shape.members:
            value = rw[name].as_bits()
            for register in TABLE.values[name]:
                words[register.name] = value & (1 << register.width) - 1
                value >>= register.width
        return words

    async def write(self, address: int, word: int, strobes: int = 15) -> int:
        self.aw.items.append(address | self.rng.randrange(8) << ADDR_BITS)
        self.w.items.append(word | strobes << 32)
        done = len(self.b.got) + 1
        await self.bench.until(lambda: len(self.b.got) == done, 1000)
        return self.b.got[-1][1]

    async def read(self, address: int) -> tuple[int, int]:
        self.ar.items.append(address | self.rng.randrange(8) << ADDR_BITS)
        done = len(self.r.got) + 1
        await self.bench.until(lambda: len(self.r.got) == done, 1000)
        return self.r.got[-1][1] & 0xFFFF_FFFF, self.r.got[-1][1] >> 32


def addresses() -> list[int]:
    """Every word of the map, and samples of what is misaligned or beyond."""
    odd = [r.offset + k for r in TABLE for k in (1, 2, 3)]
    return [*range(0, MAP_BYTES, 4), *odd, *range(MAP_BYTES, 2 * MAP_BYTES, 508), 2 * MAP_BYTES - 4]


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.6])
async def every_address_reads_as_defined(dut, stall: float) -> None:
    host, model = Host(dut, stall), Model()
    await host.start()
    words = {name: host.rng.getrandbits(TABLE[name].width) for name in model.inputs}
    model.inputs |= words
    host.set_inputs(words)
    for address in addresses():
        assert await host.read(address) == model.read(address), f"read of 0x{address:x}"
    assert host.held() == model.held and not host.pulses


@cocotb.test()
@cocotb.parametrize(lock=[False, True])
async def every_address_writes_as_defined(dut, lock: bool) -> None:
    host, model = Host(dut, 0.2), Model()
    await host.start()
    host.bench.set("lock", int(lock))
    for address in addresses():
        known = any(r.offset == address for r in TABLE)
        for strobes in range(16) if known else (0, 15):
            word = host.rng.getrandbits(32)
            want = model.write(address, word, strobes, lock)
            assert await host.write(address, word, strobes) == want, f"write of 0x{address:x}, strobes {strobes:04b}"
            assert host.held() == model.held, f"after write of 0x{address:x}, strobes {strobes:04b}"
    await host.bench.step()
    assert host.pulses == model.pulses


@cocotb.test()
@cocotb.parametrize(stall=[0.0, 0.5, 0.9])
async def random_traffic_in_both_directions(dut, stall: float) -> None:
    """Reads and writes overlap; reads go to registers that the writes do not touch."""
    host, model = Host(dut, stall), Model()
    await host.start()
    words = {name: host.rng.getrandbits(TABLE[name].width) for name in model.inputs}
    model.inputs |= words
    host.set_inputs(words)
    fixed = [r.offset for r in TABLE if r.access is not Access.RW] + [4095, MAP_BYTES]
    writes, reads = [], []
    for _ in range(200):
        address, word, strobes = host.rng.choice(addresses()), host.rng.getrandbits(32), host.rng.randrange(16)
        host.aw.items.append(address)
        host.w.items.append(word | strobes << 32)
        writes.append(model.write(address, word, strobes, lock=False))
        reads.append(host.rng.choice(fixed))
        host.ar.items.append(reads[-1])
    await host.bench.until(lambda: len(host.b.got) == len(host.r.got) == 200, 200 * 60)
    await host.bench.step(20)
    assert [response for _, response in host.b.got] == writes
    assert [(v & 0xFFFF_FFFF, v >> 32) for _, v in host.r.got] == [model.read(address) for address in reads]
    assert host.held() == model.held and host.pulses == model.pulses


@cocotb.test()
async def rates_and_latency(dut) -> None:
    """One write per three cycles, one read per four; a response waits for its reader."""
    host = Host(dut, 0.0)
    await host.start()
    for n in range(10):
        host.aw.items.append(TABLE["PROGRAM_HASH"].offset)
        host.w.items.append(n | 15 << 32)
        host.ar.items.append(TABLE["ID"].offset)
    await host.bench.until(lambda: len(host.b.got) == len(host.r.got) == 10, 100)
    assert [cycle for cycle, _ in host.b.got] == [3 + 3 * n for n in range(10)]
    assert [cycle for cycle, _ in host.r.got] == [4 + 4 * n for n in range(10)]
