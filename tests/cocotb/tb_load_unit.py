"""LoadUnit: transfers in order, waits, experts without tokens, every refusal."""

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
PORTS, ADDR_BITS, STEP, BEATS = CONFIG.ports, CONFIG.addr_bits, CONFIG.port_bits // 8, CONFIG.beats_per_word
WINDOW = (0x1000_0000, 0x100_0000)  # base, bytes
Fields = dict[str, int]


class Rig:
    """The unit with a consumer of transfers; retirement and queue lengths are the test's."""

    def __init__(self, dut: SimHandleBase, seed: int, *, take: float = 1.0) -> None:
        self.rng = random.Random(seed)
        self.bench = Bench(dut)
        self.source = Source(self.bench, "i", rng=self.rng)
        self.sink = Sink(self.bench, "cmd", rng=self.rng, chance=take)
        self.bases = [[WINDOW[0] + 0x40_0000 * b + 0x8_0000 * p for p in range(PORTS)] for b in range(3)]

    async def start(self, counts: list[int] | None = None) -> None:
        bits = 0
        for b in range(3):
            for p in range(PORTS):
                bits |= self.bases[b][p] << 64 * (b * PORTS + p)
        packed = sum(count << 13 * e for e, count in enumerate(counts or []))
        await self.bench.start(
            i__valid=0,
            i__payload=0,
            cmd__ready=0,
            retired=0,
            counts=packed,
            bases=bits,
            window_base=WINDOW[0],
            window_bytes=WINDOW[1],
            abort=0,
        )

    async def reset(self) -> None:
        self.source.items.clear()
        self.source.valid = False
        self.sink.got.clear()
        self.bench.set("rst", 1)
        await self.bench.step()
        self.bench.set("rst", 0)

    def transfer(self, f: Fields) -> int:
        """What the weight stream must be told."""
        word = f["beats"] << ADDR_BITS * PORTS
        for p, base in enumerate(self.bases[f.get("base", 0)]):
            word |= base + f.get("offset", 0) * STEP << ADDR_BITS * p
        return word


def fetch(**fields: int) -> int:
    return int.from_bytes(isa.encode(Opcode.FETCH, fields), "little")


@cocotb.test()
@cocotb.parametrize(take=[1.0, 0.2])
async def transfers(dut: SimHandleBase, take: float) -> None:
    rig = Rig(dut, 1, take=take)
    rng = rig.rng
    counts = [rng.choice((0, 0, 3)) for _ in range(CONFIG.experts)]
    counts[0], counts[1] = 0, 1
    await rig.start(counts)
    expected, waits = [], []
    for _ in range(80):
        f = {
            "base": rng.randrange(3),
            "offset": rng.randrange(1000),
            "beats": BEATS * rng.randrange(1, 50),
            "expert_valid": rng.randrange(2),
            "expert": rng.randrange(CONFIG.experts),
            "speculative": rng.randrange(2),
        }
        f["wait"] = rng.choice((0, len(waits) // 2))
        rig.source.items.append(fetch(**f))
        skipped = f["expert_valid"] and not f["speculative"] and not counts[f["expert"]]
        waits.append((f["wait"], None if skipped else len(expected)))
        if not skipped:
            expected.append(rig.transfer(f))
    retired = 0
    for _ in range(20_000):
        done = rig.bench.get("done")
        if done == len(waits):
            break
        # No transfer may start before its wait is over; and those whose wait is over must not be held up.
        assert all(place is None or place >= len(rig.sink.got) or wait <= retired for wait, place in waits)
        if rng.random() < 0.02:
            retired += 1
            rig.bench.set("retired", retired)
        assert not rig.bench.get("error")
        await rig.bench.step()
    assert rig.bench.get("done") == len(waits)
    assert [payload for _, payload in rig.sink.got] == expected
    await rig.bench.step(10)
    assert rig.bench.get("done") == len(waits) and len(rig.sink.got) == len(expected)


@cocotb.test()
async def pace(dut: SimHandleBase) -> None:
    """About six cycles a port."""
    rig = Rig(dut, 2)
    await rig.start()
    rig.source.items.extend(fetch(beats=BEATS, offset=k) for k in range(10))
    await rig.bench.until(lambda: len(rig.sink.got) == 10, limit=1000)
    steps = {after - before for (before, _), (after, _) in zip(rig.sink.got, rig.sink.got[1:], strict=False)}
    assert steps == {4 + 6 * PORTS}, steps


@cocotb.test()
async def counters(dut: SimHandleBase) -> None:
    """What it waits for is visible."""
    rig = Rig(dut, 3, take=0.0)
    await rig.start([0] * CONFIG.experts)
    rig.source.items.append(fetch(beats=BEATS, wait=5))
    await rig.bench.step(30)
    assert rig.bench.get("waiting_router") and not rig.bench.get("waiting_space")
    rig.bench.set("retired", 5)
    await rig.bench.step(30)
    assert not rig.bench.get("waiting_router") and rig.bench.get("waiting_space") and rig.bench.get("cmd__valid")


@cocotb.test()
async def refusals(dut: SimHandleBase) -> None:
    rig = Rig(dut, 4)
    await rig.start([1] * CONFIG.experts)
    good = fetch(beats=BEATS)
    field = ErrorCode.BAD_FIELD
    cases = [
        (fetch(beats=0), field, 0),
        (fetch(beats=BEATS, base=3), field, 0),
        (good | 1 << 255, field, 0),
        (good | 1 << isa.FORMATS[Opcode.FETCH].bits, field, 0),
        (fetch(beats=BEATS, expert_valid=1, expert=CONFIG.experts), field, 0),
    ]
    cases += [(good & ~15 | code, ErrorCode.BAD_OPCODE, 0) for code in range(16) if code != Opcode.FETCH]
    if BEATS > 1:
        cases.append((fetch(beats=BEATS + 1), field, 0))
    # Each port has its own address; the last one leaves the window first.
    last = rig.bases[2][PORTS - 1]
    room = (sum(WINDOW) - last) // STEP
    cases.append((fetch(base=2, offset=room, beats=BEATS), ErrorCode.ADDRESS_RANGE, last + room * STEP))
    cases.append(
        (fetch(base=2, offset=room - BEATS + 1, beats=BEATS), ErrorCode.ADDRESS_RANGE, last + (room - BEATS + 1) * STEP)
    )
    first = rig.bases[0][0] + ((1 << 32) - 1) * STEP
    cases.append((fetch(offset=(1 << 32) - 1, beats=BEATS), ErrorCode.ADDRESS_RANGE, first))
    for word, code, address in cases:
        rig.source.items.extend([good, word, good])
        await rig.bench.until(lambda: bool(rig.bench.get("error")), limit=100)
        for _ in range(20):
            got = tuple(rig.bench.get(name) for name in ("error_code", "error_index", "error_address"))
            assert got == (code, 1, address), (hex(word), got)
            await rig.bench.step()
        assert rig.bench.get("error") and rig.bench.get("done") == 1 and len(rig.sink.got) == 1
        await rig.reset()
    rig.source.items.append(fetch(base=2, offset=room - BEATS, beats=BEATS))
    await rig.bench.until(lambda: bool(rig.sink.got), limit=100)
    assert not rig.bench.get("error")


@cocotb.test()
@cocotb.parametrize(above=[ADDR_BITS, 63, 64])
async def bases_beyond_the_bus(dut: SimHandleBase, above: int) -> None:
    """Bits that the bus does not have are refused, also where offset and base lead back into the window."""
    rig = Rig(dut, 5)
    offset = 0
    if above < 64:
        rig.bases[1][PORTS - 1] |= 1 << above
    else:  # around the end of 64 bits
        rig.bases[1], offset = [(1 << 64) - 0x1000] * PORTS, (WINDOW[0] + 0x2000) // STEP
    await rig.start()
    rig.source.items.append(fetch(base=1, offset=offset, beats=BEATS))
    await rig.bench.until(lambda: bool(rig.bench.get("error")), limit=200)
    assert rig.bench.get("error_code") == ErrorCode.ADDRESS_RANGE
    assert rig.bench.get("error_address") == (rig.bases[1][PORTS - 1] + offset * STEP) % (1 << 64)
    assert not rig.sink.got
