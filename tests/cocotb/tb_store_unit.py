"""StoreUnit: residual words to beats in order, waits, a memory that is often busy, every refusal."""

import itertools
import json
import os
import random

import cocotb
from bench import Bench, Sink, Source
from cocotb.handle import SimHandleBase

from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import Opcode
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.spec.registers import ErrorCode

CONFIG = PRESETS["micro8"].replace(**json.loads(os.environ["CHANGES"]))
PORT_BYTES = CONFIG.port_bits // 8
WORD_BYTES = 2 * CONFIG.lanes
BEATS = WORD_BYTES // PORT_BYTES  # per residual word
WINDOW = (0x1000_0000, 0x10_0000)  # base, bytes
RESULT = WINDOW[0] + 0x8_0000
RESULT_BYTES = 0x2_0000  # and what follows is still in the window


class Rig:
    """The unit between a residual memory and a writer."""

    def __init__(self, dut: SimHandleBase, seed: int, *, free: float = 1.0, take: float = 1.0) -> None:
        self.rng, self.free = random.Random(seed), free
        self.memory = [self.rng.getrandbits(8 * WORD_BYTES) for _ in range(CONFIG.residual_words)]
        self.bench = Bench(dut)
        self.source = Source(self.bench, "i", rng=self.rng)
        self.cmd = [Sink(self.bench, f"cmd__{p}", rng=self.rng, chance=take) for p in range(CONFIG.ports)]
        self.beats = [Sink(self.bench, f"o__{p}", rng=self.rng, chance=take) for p in range(CONFIG.ports)]
        self.address: int | None = None
        self.ready = False
        self.bench.add(self)

    async def start(self) -> None:
        await self.bench.start(
            i__valid=0,
            i__payload=0,
            **{f"{name}__{p}__ready": 0 for name in ("cmd", "o") for p in range(CONFIG.ports)},
            read_data=0,
            read_ready=0,
            retired=0,
            result_base=RESULT,
            result_bytes=RESULT_BYTES,
            window_base=WINDOW[0],
            window_bytes=WINDOW[1],
            abort=0,
        )

    def drive(self) -> None:
        noise = self.rng.getrandbits(8 * WORD_BYTES)
        self.bench.set("read_data", noise if self.address is None else self.memory[self.address])
        self.ready = self.rng.random() < self.free
        self.bench.set("read_ready", int(self.ready))

    def observe(self) -> None:
        get = self.bench.get
        self.address = get("read_address") if get("read_enable") and self.ready else None

    async def reset(self) -> None:
        self.source.items.clear()
        self.source.valid = False
        for sink in (*self.cmd, *self.beats):
            sink.got.clear()
        self.bench.set("rst", 1)
        await self.bench.step()
        self.bench.set("rst", 0)


def shares(first: int, words: int) -> list[range]:
    """Residual words that each port writes."""
    longest = -(-words // CONFIG.ports)
    cuts = [first + min(words, longest * p) for p in range(CONFIG.ports + 1)]
    return [range(low, high) for low, high in itertools.pairwise(cuts)]


def store(**fields: int) -> int:
    return int.from_bytes(isa.encode(Opcode.STORE, fields), "little")


@cocotb.test()
@cocotb.parametrize(free=[1.0, 0.3], take=[1.0, 0.3])
async def results(dut: SimHandleBase, free: float, take: float) -> None:
    rig = Rig(dut, 1, free=free, take=take)
    rng = rig.rng
    await rig.start()
    commands, beats = [[] for _ in range(CONFIG.ports)], [[] for _ in range(CONFIG.ports)]
    waits = []
    for number in range(25):
        words, wait = rng.choice((1, 2, 3, rng.randrange(1, 40))), rng.choice((0, number))
        source, offset = rng.randrange(CONFIG.residual_words - words + 1), PORT_BYTES * rng.randrange(1000)
        rig.source.items.append(store(src_addr=source, words=words, offset=offset, wait=wait))
        waits.append(wait)
        for p, share in enumerate(shares(source, words)):
            if share:
                start = RESULT + offset + (share[0] - source) * WORD_BYTES
                commands[p].append(start | len(share) * BEATS << CONFIG.addr_bits)
            for word in (rig.memory[index] for index in share):
                beats[p] += [word >> CONFIG.port_bits * k & (1 << CONFIG.port_bits) - 1 for k in range(BEATS)]
    retired = 0
    for _ in range(30_000):
        if rig.bench.get("done") == len(waits):
            break
        if len(rig.cmd[0].got) < len(waits) and rig.bench.get("cmd__0__valid"):
            assert waits[len(rig.cmd[0].got)] <= retired
        if rng.random() < 0.02:
            retired += 1
            rig.bench.set("retired", retired)
        assert not rig.bench.get("error")
        await rig.bench.step()
    await rig.bench.step(20)
    assert [[payload for _, payload in port.got] for port in rig.cmd] == commands
    assert [[payload for _, payload in port.got] for port in rig.beats] == beats
    assert rig.bench.get("done") == len(waits)
    assert rig.bench.get("bytes") == sum(map(len, beats)) * PORT_BYTES


@cocotb.test()
async def one_beat_per_cycle_and_port(dut: SimHandleBase) -> None:
    rig = Rig(dut, 2)
    await rig.start()
    words = 15 * CONFIG.ports
    rig.source.items.append(store(words=words))
    await rig.bench.until(lambda: bool(rig.bench.get("done")), limit=15 * BEATS + 50)
    for port in rig.beats:
        cycles = [cycle for cycle, _ in port.got]
        if CONFIG.ports > BEATS:  # a word a cycle is all that the memory gives
            assert len(cycles) == 15 * BEATS and cycles[-1] - cycles[0] < words
        else:
            assert cycles == list(range(cycles[0], cycles[0] + 15 * BEATS))


@cocotb.test()
async def refusals(dut: SimHandleBase) -> None:
    rig = Rig(dut, 3)
    await rig.start()
    good, field, end, stop = store(words=1), ErrorCode.BAD_FIELD, sum(WINDOW) - RESULT, RESULT_BYTES
    depth = CONFIG.residual_words
    cases = [
        (store(), field, 0),
        (good | 1 << 255, field, 0),
        (good | 1 << isa.FORMATS[Opcode.STORE].bits, field, 0),
        (store(words=1, offset=PORT_BYTES // 2), field, 0),
        (store(words=2, src_addr=depth - 1), field, 0),
        (store(words=1, src_addr=0xFFFF), field, 0),
        (store(words=0xFFFF), field, 0),
    ]
    cases += [(good & ~15 | code, ErrorCode.BAD_OPCODE, 0) for code in range(16) if code != Opcode.STORE]
    cases += [
        (store(words=1, offset=offset), ErrorCode.ADDRESS_RANGE, RESULT + offset)
        for offset in (end, end - WORD_BYTES + PORT_BYTES, (1 << 40) - PORT_BYTES)
        if offset > end - WORD_BYTES
    ]
    cases += [
        (store(words=words, offset=offset), ErrorCode.RESULT_RANGE, RESULT + offset)
        for words, offset in ((1, stop), (1, stop + 0x1000), (2, stop - WORD_BYTES), (1, end - WORD_BYTES))
    ]
    for word, code, address in cases:
        rig.source.items.extend([good, word, good])
        await rig.bench.until(lambda: bool(rig.bench.get("error")), limit=100)
        for _ in range(20):
            got = tuple(rig.bench.get(name) for name in ("error_code", "error_index", "error_address"))
            assert got == (code, 1, address), (hex(word), got)
            await rig.bench.step()
        assert rig.bench.get("error") and rig.bench.get("done") == 1
        assert [len(port.got) for port in rig.cmd] == [1] + [0] * (CONFIG.ports - 1)
        await rig.reset()
    rig.source.items.append(store(words=1, src_addr=depth - 1, offset=stop - WORD_BYTES))
    await rig.bench.until(lambda: bool(rig.bench.get("done")), limit=100)
    assert not rig.bench.get("error")
