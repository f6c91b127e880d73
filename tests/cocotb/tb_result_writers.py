"""ResultWriters: every port writes what it is given, errors of several ports, one slow port holds up the end alone."""

import random

import cocotb
from axi_slaves import Pace, WriteSlave
from bench import Bench, Source
from cocotb.handle import SimHandleBase

PORTS, ADDR_BITS, DATA_BITS, MAX_BURST = 3, 16, 32, 16  # as in test_result_writers.py
STEP = DATA_BITS // 8


class Rig:
    """The writers with their slaves."""

    def __init__(self, dut: SimHandleBase, paces: list[Pace]) -> None:
        rng = self.rng = random.Random(5)
        bench = self.bench = Bench(dut)
        self.cmd = [Source(bench, f"cmd__{p}", rng=rng) for p in range(PORTS)]
        self.input = [Source(bench, f"i__{p}", rng=rng) for p in range(PORTS)]
        bench.add(self)  # sees a transfer before the slaves forget it
        sizes = {"addr_bits": ADDR_BITS, "data_bits": DATA_BITS, "max_burst": MAX_BURST, "rng": rng}
        self.slaves = [WriteSlave(bench, f"axi__{p}", pace=paces[p], **sizes) for p in range(PORTS)]
        self.errors: list[tuple[int, int]] = []

    def drive(self) -> None:
        return

    def observe(self) -> None:
        moved = any(
            (slave.w_ready and self.bench.get(f"axi__{p}__w__valid"))
            or (slave.valid and self.bench.get(f"axi__{p}__b__ready"))
            for p, slave in enumerate(self.slaves)
        )
        assert self.bench.get("moves") == moved
        if self.bench.get("error"):
            self.errors.append((self.bench.get("error_addr"), self.bench.get("error_resp")))

    async def start(self) -> None:
        idle = {"cmd": ("valid", "payload"), "i": ("valid", "payload"), "axi": ("aw__ready", "w__ready", "b__valid")}
        names = [f"{stream}__{p}__{name}" for stream, names in idle.items() for name in names for p in range(PORTS)]
        names += [f"axi__{p}__b__payload" for p in range(PORTS)]
        await self.bench.start(**dict.fromkeys(names, 0), abort=0, clear=0)

    def send(self, port: int, addr: int, beats: int) -> dict[int, int]:
        """Queue a command and its data; returns what it must leave in memory."""
        self.cmd[port].items.append(addr | beats << ADDR_BITS)
        written = {addr + STEP * k: self.rng.getrandbits(DATA_BITS) for k in range(beats)}
        self.input[port].items.extend(written.values())
        return written

    def done(self) -> bool:
        return not any(cmd.items for cmd in self.cmd) and bool(self.bench.get("idle"))


@cocotb.test()
async def ports_by_themselves(dut: SimHandleBase) -> None:
    rig = Rig(dut, [Pace(), Pace(address=0.3, data=0.4, latency=9), Pace(response=0.1)])
    await rig.start()
    expected: list[dict[int, int]] = [{} for _ in range(PORTS)]
    for number in range(12):
        port, beats = number % PORTS, rig.rng.randrange(1, 70)
        expected[port] |= rig.send(port, 0x1000 * (number // PORTS) + 0x400 * port, beats)
    await rig.bench.until(rig.done, limit=5000)
    assert [slave.memory for slave in rig.slaves] == expected and not rig.errors


@cocotb.test()
@cocotb.parametrize(slow=range(PORTS))
async def idle_is_the_last_of_them(dut: SimHandleBase, slow: int) -> None:
    rig = Rig(dut, [Pace(response=0.0 if port == slow else 1.0) for port in range(PORTS)])
    await rig.start()
    for port in range(PORTS):
        rig.send(port, 0x1000, 20)
    await rig.bench.step(200)
    assert not rig.bench.get("idle"), "one response is missing"
    rig.slaves[slow].pace.response = 1.0
    await rig.bench.until(rig.done, limit=20)


@cocotb.test()
async def lowest_of_several_errors(dut: SimHandleBase) -> None:
    rig = Rig(dut, [Pace(), Pace(errors={0x2000: 3}), Pace(errors={0x3000: 2})])
    await rig.start()
    for port in range(PORTS):
        rig.send(port, 0x1000 * (port + 1), 8)
    await rig.bench.until(rig.done, limit=100)
    await rig.bench.step(2)
    assert rig.errors == [(0x2000, 3)], "both in one cycle"
    rig.slaves[1].pace.errors = {}
    for port in range(PORTS):
        rig.send(port, 0x1000 * (port + 1), 8)
    await rig.bench.until(rig.done, limit=100)
    await rig.bench.step(2)
    assert rig.errors[1:] == [(0x3000, 2)]


@cocotb.test()
async def abort_and_clear_reach_all(dut: SimHandleBase) -> None:
    rig = Rig(dut, [Pace(data=0.3, latency=5) for _ in range(PORTS)])
    await rig.start()
    for port in range(PORTS):
        rig.send(port, 0x1000, 200)
    await rig.bench.step(60)
    asked = [len(slave.bursts) for slave in rig.slaves]
    for source in (*rig.cmd, *rig.input):
        source.items.clear()
        source.valid = False
    rig.bench.set("abort", 1)
    await rig.bench.step(2)
    await rig.bench.until(rig.done, limit=1000)
    for slave, before in zip(rig.slaves, asked, strict=True):
        assert len(slave.bursts) <= before + 2 and slave.blank and not slave.filling and not slave.answers
    rig.bench.set("abort", 0)
    rig.bench.set("clear", 1)
    await rig.bench.step()
    rig.bench.set("clear", 0)
    for slave in rig.slaves:
        slave.memory = {}
    expected = [rig.send(port, 0x2000, 9) for port in range(PORTS)]
    await rig.bench.until(rig.done, limit=500)
    assert [slave.memory for slave in rig.slaves] == expected
