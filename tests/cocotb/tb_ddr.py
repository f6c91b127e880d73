"""Tests of sim/ddr.sv: contents, timing, faults, and that each violation is seen and no other."""

import os
import random
from collections import deque
from pathlib import Path

import cocotb
from bench import Bench

PORTS, ADDR_BITS, WORD, BASE, BYTES, MAX_OUTSTANDING = 2, 32, 16, 0x1000_0000, 1 << 16, 4
ALL = range(PORTS + 1)
INCR, SIZE = 1, 4
SLVERR, DECERR = 2, 3
IMAGE = Path(os.environ["IMAGE"]).read_bytes()
TICKS = 1024  # of a cycle
_TIMES = ("rate", "refresh", "recovery", "row", "to_write", "to_read")
DRAM = [f"dram_{name}" for name in (*_TIMES, "row_bytes", "banks", "posted", "ahead")]
VIOLATIONS = ("page", "outside", "unstable", "wlast", "outstanding", "shape")


class Reads:
    """A master on every read port: addresses as fast as they are taken, beats taken with a probability."""

    def __init__(self, bench: Bench, *, seed: int = 0, chance: float = 1.0) -> None:
        self.bench, self.chance, self.rng = bench, chance, random.Random(seed)
        self.todo = [deque() for _ in ALL]  # (address, beats)
        self.wanted = [deque() for _ in ALL]  # (address, last) of every beat still to come
        self.got = [[] for _ in ALL]  # (cycle, address, data, response, last)
        self.sent = [[] for _ in ALL]  # cycle of each address transfer
        self.size, self.kind = SIZE, INCR
        bench.drivers.append(self.drive)
        bench.observers.append(self.observe)

    def drive(self) -> None:
        bus = dict.fromkeys(("arvalid", "araddr", "arlen", "arsize", "arburst", "rready"), 0)
        for port in ALL:
            if self.todo[port] and len(self.wanted[port]) < 64:
                address, beats = self.todo[port][0]
                bus["arvalid"] |= 1 << port
                bus["araddr"] |= address << ADDR_BITS * port
                bus["arlen"] |= beats - 1 << 8 * port
            bus["arsize"] |= self.size << 3 * port
            bus["arburst"] |= self.kind << 2 * port
            bus["rready"] |= (self.rng.random() < self.chance) << port
        self.ready = bus["rready"]
        for name, value in bus.items():
            self.bench.set(name, value)

    def observe(self) -> None:
        taken = self.bench.last["arvalid"] & self.bench.get("arready")
        for port in ALL:
            if taken >> port & 1:
                address, beats = self.todo[port].popleft()
                self.sent[port].append(self.bench.cycle)
                self.wanted[port].extend((address + WORD * k, k == beats - 1) for k in range(beats))
        if valid := self.bench.get("rvalid") & self.ready:
            data, response, last = (self.bench.get(name) for name in ("rdata", "rresp", "rlast"))
            for port in ALL:
                if valid >> port & 1:
                    address, is_last = self.wanted[port].popleft()
                    beat = (data >> 128 * port) % (1 << 128), (response >> 2 * port) % 4
                    assert last >> port & 1 == is_last, f"port {port}, {address:#x}: RLAST is {not is_last}"
                    self.got[port].append((self.bench.cycle, address, *beat))

    def done(self) -> bool:
        return not any(self.todo) and not any(self.wanted)

    def beats(self) -> int:
        return sum(map(len, self.got))


class Writes:
    """A master on a port that writes: an address, then its beats. Each port of a bench may have one."""

    def __init__(self, bench: Bench, port: int = 0) -> None:
        self.bench, self.port = bench, port
        self.addresses, self.data = deque(), deque()  # (address, beats); (data, strobes, last)
        self.responses, self.last_beats = [], []  # (cycle, response); cycle of each last beat
        self.beats = 0
        bench.drivers.append(self.drive)
        bench.observers.append(self.observe)

    def add(self, address: int, words: list[tuple[int, int]]) -> None:
        self.addresses.append((address, len(words)))
        self.data.extend((data, strobes, k == len(words) - 1) for k, (data, strobes) in enumerate(words))

    def set(self, name: str, bits: int, value: int) -> None:
        """Drive this port's part of an input."""
        place = bits * self.port
        others = self.bench.last[name] & ~((1 << bits) - 1 << place)
        self.bench.set(name, others | value << place)

    def get(self, name: str, bits: int = 1) -> int:
        """This port's part of an output."""
        return self.bench.get(name) >> bits * self.port & (1 << bits) - 1

    def drive(self) -> None:
        address, beats = self.addresses[0] if self.addresses else (0, 1)
        data, strobes, last = self.data[0] if self.data else (0, 0, 0)
        for name, bits, value in (
            ("awvalid", 1, bool(self.addresses)),
            ("awaddr", ADDR_BITS, address),
            ("awlen", 8, beats - 1),
            ("awsize", 3, SIZE),
            ("awburst", 2, INCR),
            ("wvalid", 1, bool(self.data)),
            ("wdata", 8 * WORD, data),
            ("wstrb", WORD, strobes),
            ("wlast", 1, last),
            ("bready", 1, 1),
        ):
            self.set(name, bits, int(value))

    def observe(self) -> None:
        if self.addresses and self.get("awready"):
            self.addresses.popleft()
        if self.data and self.get("wready"):
            self.beats += 1
            if self.data.popleft()[2]:
                self.last_beats.append(self.bench.cycle)
        if self.get("bvalid"):
            self.responses.append((self.bench.cycle, self.get("bresp", 2)))


async def start(dut, **settings: int) -> Bench:
    """Reset, with every setting at its default but for those given."""
    settings = {"latency": 20, "bandwidth": 64, "err_resp": 0, "dead_after": -1, "dead_writes_after": -1, **settings}
    settings = {"dead_write_port": 0, "aw_after_w": 0, **settings}
    for channel in ("ar", "r", "aw", "w", "b"):
        settings.setdefault(f"stall_{channel}", 0)
    settings = (
        dict.fromkeys(DRAM, 0)
        | {"dram_row_bytes": 1024, "dram_banks": 4, "dram_posted": 512, "dram_ahead": 128}
        | settings
    )
    for name, value in settings.items():
        getattr(dut.behind if name in DRAM else dut, name).value = value
    bench = Bench(dut)
    inputs = [
        *("arvalid", "araddr", "arlen", "arsize", "arburst", "rready"),
        *("awvalid", "awaddr", "awlen", "awsize", "awburst", "wvalid", "wdata", "wstrb", "wlast", "bready", "dump"),
    ]
    await bench.start(**dict.fromkeys(inputs, 0))
    return bench


def word(address: int) -> int:
    offset = address - BASE
    return int.from_bytes(IMAGE[offset : offset + WORD], "little")


def some_bursts(rng: random.Random, count: int) -> list[tuple[int, int]]:
    bursts = []
    for _ in range(count):
        first = rng.randrange(BYTES // WORD)
        room = 256 - first % 256  # beats to the end of the page
        bursts.append((BASE + first * WORD, rng.randint(1, min(room, 16))))
    return bursts


@cocotb.test
@cocotb.parametrize(stall=[0, 40, 90], chance=[1.0, 0.5])
async def reads_the_image(dut, stall, chance):
    bench = await start(dut, stall_ar=stall, stall_r=stall)
    reads = Reads(bench, seed=stall, chance=chance)
    rng = random.Random(stall)
    bursts = [some_bursts(rng, 20) for _ in ALL]
    for group in range(0, 20, MAX_OUTSTANDING):  # as many in flight as allowed
        for port in ALL:
            reads.todo[port].extend(bursts[port][group : group + MAX_OUTSTANDING])
        await bench.until(reads.done, 20_000)
    for port in ALL:
        wanted = [address + WORD * k for address, beats in bursts[port] for k in range(beats)]
        assert [beat[1:] for beat in reads.got[port]] == [(address, word(address), 0) for address in wanted]
        assert bench.get("read_bytes") >> 48 * port & (1 << 48) - 1 == WORD * len(wanted)
    assert bench.get("viol") == 0


@cocotb.test
@cocotb.parametrize(latency=[2, 3, 20, 100])
async def first_beat_after_latency(dut, latency):
    bench = await start(dut, latency=latency)
    reads = Reads(bench)
    reads.todo[1].append((BASE + 0x100, 16))
    await bench.until(reads.done, 500)
    assert [beat[0] - reads.sent[1][0] for beat in reads.got[1]] == list(range(latency, latency + 16))


@cocotb.test
@cocotb.parametrize(bandwidth=[8, 16, 32, 40, 48, 64])
async def ports_share_the_bandwidth(dut, bandwidth):
    bench = await start(dut, bandwidth=bandwidth)
    reads = Reads(bench)
    for port in ALL:
        reads.todo[port].extend([(BASE, 32)] * 100)
    await bench.step(100)
    before = [len(got) for got in reads.got]
    await bench.step(400)
    share = [len(got) - start for got, start in zip(reads.got, before, strict=True)]
    assert abs(sum(share) - 400 * min(bandwidth / WORD, PORTS + 1)) <= 2, share
    assert max(share) - min(share) <= 2, share


@cocotb.test
@cocotb.parametrize(stall=[0, 50])
async def writes(dut, stall):
    """The same words are found by the read port, by the back door, and in the file that the test compares."""
    bench = await start(dut, stall_aw=stall, stall_w=stall, stall_b=stall)
    reads, master = Reads(bench), Writes(bench)
    rng = random.Random(stall)
    memory = {BASE + WORD * k: word(BASE + WORD * k) for k in range(512)}
    saved = dict(memory)
    for job in range(1, 21):
        first, count = rng.randrange(0, 512, 16), rng.randint(1, 16)
        words = [(rng.getrandbits(128), rng.choice([0, 0xFFFF, rng.getrandbits(16)])) for _ in range(count)]
        for k, (data, strobes) in enumerate(words):
            mask = sum(0xFF << 8 * b for b in range(WORD) if strobes >> b & 1)
            address = BASE + WORD * (first + k)
            memory[address] = memory[address] & ~mask | data & mask
        master.add(BASE + WORD * first, words)
        await bench.until(lambda job=job: len(master.responses) == job, 4000)
    for k in range(0, 512, 128):
        reads.todo[PORTS].extend([(BASE + WORD * k, 64), (BASE + WORD * (k + 64), 64)])
        await bench.until(reads.done, 4000)
    assert {beat[1]: beat[2] for beat in reads.got[PORTS]} == memory
    assert all(response == 0 for _, response in master.responses)
    assert bench.get("viol") == 0
    bench.set("dump", 1)
    await bench.step(2)
    Path("expected.bin").write_bytes(b"".join(memory[BASE + WORD * k].to_bytes(WORD, "little") for k in range(512)))
    for address, value in saved.items():  # by the back door, for the next test
        assert int(dut.mem[(address - BASE) // WORD].value) == memory[address]
        dut.mem[(address - BASE) // WORD].value = value
    await bench.step(2)


@cocotb.test
@cocotb.parametrize(stall=[0, 50])
async def ports_write_at_once(dut, stall):
    """Each port its own words, in turn with the other's; only the bad burst is answered with an error."""
    bad = BASE + WORD * 8 * 7  # in a burst of port 1
    settings = {f"stall_{channel}": stall for channel in ("aw", "w", "b")}
    bench = await start(dut, err_addr=bad, err_resp=SLVERR, **settings)
    masters, rng = [Writes(bench, port) for port in range(PORTS)], random.Random(stall)
    memory = {BASE + WORD * k: rng.getrandbits(8 * WORD) for k in range(8 * 16)}
    saved = {address: word(address) for address in memory}
    bursts = [range(port, 16, PORTS) for port in range(PORTS)]
    for group in range(0, 8, MAX_OUTSTANDING):  # as many in flight as allowed
        for master, numbers in zip(masters, bursts, strict=True):
            for number in numbers[group : group + MAX_OUTSTANDING]:
                first = BASE + WORD * 8 * number
                master.add(first, [(memory[first + WORD * k], 0xFFFF) for k in range(8)])
        await bench.until(lambda: all(len(m.responses) == len(m.last_beats) and not m.data for m in masters), 4000)
    for master, numbers in zip(masters, bursts, strict=True):
        assert [value for _, value in master.responses] == [SLVERR * (number == 7) for number in numbers]
        late = [response[0] - last for response, last in zip(master.responses, master.last_beats, strict=True)]
        assert min(late) >= 20 and (stall or max(late) == 20), late
    assert bench.get("viol") == 0 and bench.get("written_bytes") == WORD * len(memory)
    for address, value in memory.items():
        assert int(dut.mem[(address - BASE) // WORD].value) == value
        dut.mem[(address - BASE) // WORD].value = saved[address]
    await bench.step(2)


@cocotb.test
@cocotb.parametrize(bandwidth=[8, 16, 32, 40, 48, 64, 80], readers=[0, 1, PORTS + 1])
async def reads_and_writes_share_the_bandwidth(dut, bandwidth, readers):
    """Every channel that wants a beat gets as many as the others, but no more than one in a cycle."""
    bench = await start(dut, bandwidth=bandwidth)
    reads, masters = Reads(bench), [Writes(bench, port) for port in range(PORTS)]
    for port in range(readers):
        reads.todo[port].extend([(BASE, 32)] * 100)
    for master in masters:
        for _ in range(25):
            master.add(BASE + 512 * (1 + master.port), [(word(BASE + 512 * (1 + master.port)), 0)] * 32)

    def passed() -> list[int]:
        return [len(got) for got in reads.got[:readers]] + [master.beats for master in masters]

    await bench.step(100)
    before = passed()
    await bench.step(400)
    share = [after - start for after, start in zip(passed(), before, strict=True)]
    assert abs(sum(share) - 400 * min(bandwidth / WORD, readers + PORTS)) <= 4, share
    assert max(share) - min(share) <= 8, share


@cocotb.test
async def addresses_wait_for_data_of_their_port(dut):
    bench = await start(dut, aw_after_w=1)
    masters = [Writes(bench, port) for port in range(PORTS)]
    same = [(word(BASE), 0xFFFF)]
    masters[0].data.append((*same[0], True))
    masters[1].addresses.append((BASE, 1))
    await bench.step(50)
    assert masters[0].data and masters[1].addresses
    masters[0].addresses.append((BASE, 1))
    masters[1].data.append((*same[0], True))
    await bench.until(lambda: all(len(master.responses) == 1 for master in masters), 100)
    assert bench.get("viol") == 0


@cocotb.test
async def response_after_latency(dut):
    bench = await start(dut, latency=30)
    master = Writes(bench)
    master.add(BASE, [(word(BASE + WORD * k), 0xFFFF) for k in range(4)])
    await bench.until(lambda: bool(master.responses), 200)
    assert master.responses[0][0] - master.last_beats[0] == 30
    assert bench.get("written_bytes") == 64


@cocotb.test
@cocotb.parametrize(response=[SLVERR, DECERR], beat=[0, 3, 7])
async def error_at_one_word(dut, response, beat):
    bad = BASE + 0x200 + WORD * beat
    bench = await start(dut, err_addr=bad + 5, err_resp=response)
    reads, master = Reads(bench), Writes(bench)
    reads.todo[0].extend([(BASE + 0x200, 8), (BASE + 0x280, 8)])
    for address in (BASE + 0x200, BASE + 0x280):
        master.add(address, [(word(address + WORD * k), 0xFFFF) for k in range(8)])
    await bench.until(lambda: reads.done() and len(master.responses) == 2, 500)
    assert [beat[3] for beat in reads.got[0]] == [response * (beat[1] == bad) for beat in reads.got[0]]
    assert [value for _, value in master.responses] == [response, 0]
    dut.err_resp.value = 0  # and gone again, without a reset
    reads.todo[0].append((BASE + 0x200, 8))
    await bench.until(reads.done, 500)
    assert not any(beat[3] for beat in reads.got[0][16:])
    assert bench.get("viol") == 0


@cocotb.test
async def dead_port(dut):
    bench = await start(dut, dead_port=1, dead_after=2, dead_writes_after=1)
    reads, master = Reads(bench), Writes(bench)
    for port in ALL:
        reads.todo[port].extend([(BASE, 4)] * 4)
    for _ in range(3):
        master.add(BASE, [(word(BASE), 0xFFFF)])
    await bench.step(1000)
    assert [len(got) for got in reads.got] == [16, 8, 16]
    assert len(master.responses) == 1
    assert not master.data and not master.addresses and not reads.todo[1]
    reads.todo[1].clear()
    bench = await start(dut)
    reads = Reads(bench)  # a reset forgets the bursts that were never answered
    reads.todo[1].append((BASE, 4))
    await bench.until(reads.done, 100)


@cocotb.test
@cocotb.parametrize(port=[0, 1], limit=[0, 2])
async def dead_writes(dut, port, limit):
    """One port falls silent, the other goes on."""
    bench = await start(dut, dead_write_port=port, dead_writes_after=limit)
    masters = [Writes(bench, number) for number in range(PORTS)]
    for master in masters:
        for _ in range(MAX_OUTSTANDING):
            master.add(BASE, [(word(BASE), 0xFFFF)])
    await bench.step(500)
    wanted = [limit if number == port else MAX_OUTSTANDING for number in range(PORTS)]
    assert [len(master.responses) for master in masters] == wanted
    assert not any(master.data or master.addresses for master in masters)
    dut.dead_writes_after.value = -1  # it owes the rest
    await bench.until(lambda: all(len(master.responses) == MAX_OUTSTANDING for master in masters), 100)
    assert bench.get("viol") == 0


@cocotb.test
@cocotb.parametrize(kind=VIOLATIONS, port=[0, PORTS])
async def violation_is_seen(dut, kind, port):
    bench = await start(dut, stall_ar=100 * (kind == "unstable"))
    reads = Reads(bench)
    address = BASE + 0x80
    match kind:
        case "page":
            address = BASE + 0xFF0
            reads.todo[port].append((address, 2))
        case "outside":
            address = BASE + BYTES - WORD if port else BASE - WORD
            reads.todo[port].append((address, 2 if port else 1))
        case "unstable":
            reads.todo[port].append((BASE + 0x40, 1))
            await bench.step(5)
            assert bench.get("viol") == 0
            reads.todo[port][0] = (address, 1)
            await bench.step()
            dut.stall_ar.value = 0
        case "wlast":
            writer = 0 if port == 0 else PORTS - 1
            master = Writes(bench, writer)
            address = BASE
            master.addresses.append((address, 2))
            master.data.extend([(word(BASE), 0xFFFF, port == 0), (word(BASE + WORD), 0xFFFF, 0)])
        case "outstanding":
            reads.todo[port].extend([(address, 1)] * (MAX_OUTSTANDING + 1))
        case "shape":
            reads.size, reads.kind = (SIZE - 1, INCR) if port else (SIZE, 0)
            reads.todo[port].append((address, 1))
    await bench.step(60)
    bits = 1 << VIOLATIONS.index(kind)
    if kind == "outside" and port:
        bits |= 1  # the end of the memory is the end of a page
    assert bench.get("viol") == bits
    assert bench.get("viol_port") == (writer if kind == "wlast" else port)
    if kind != "wlast":
        assert bench.get("viol_addr") == address
    if kind == "outside":
        assert [beat[3] for beat in reads.got[port]] == [DECERR] * len(reads.got[port])
        assert reads.done()


@cocotb.test
@cocotb.parametrize(kind=["page", "outside", "unstable", "data", "outstanding"], port=[0, 1])
async def write_violation_is_seen(dut, kind, port):
    bench = await start(dut, stall_aw=100 * (kind in ("unstable", "data")), stall_w=0)
    master = Writes(bench, port)
    address, bit = BASE + 0x100, {"page": 0, "outside": 1, "unstable": 2, "data": 2, "outstanding": 4}[kind]
    same = [(word(address), 0xFFFF)]
    match kind:
        case "page":
            address = BASE + 0x1FF0
            master.add(address, [(word(address), 0xFFFF), (word(address + WORD), 0xFFFF)])
        case "outside":
            address = BASE + BYTES
            master.add(address, same)
        case "unstable":
            master.add(BASE, same)
            await bench.step(4)
            master.addresses[0] = (address, 1)
        case "data":
            master.add(address, same)
            await bench.step(4)
            master.data[0] = (0, *master.data[0][1:])
        case "outstanding":
            for _ in range(MAX_OUTSTANDING + 1):
                master.add(address, same)
    await bench.step(60)
    assert bench.get("viol") == 1 << bit and bench.get("viol_port") == port
    assert bench.get("viol_addr") == address
    if kind == "outside":
        assert master.responses[0][1] == DECERR
