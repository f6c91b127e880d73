"""Tests of sim/dram.sv behind sim/ddr.sv: every figure costs the cycles that it stands for, and no others."""

import itertools

import cocotb
from tb_ddr import ALL, BASE, TICKS, WORD, Reads, Writes, start, word


async def beats_of(dut, bursts: list[list[tuple[int, int]]], **settings: int) -> list[list[int]]:
    """Cycle of each beat of every port, from the first address on."""
    bench = await start(dut, **{"bandwidth": 64, **settings})
    reads = Reads(bench)
    for port, mine in enumerate(bursts):
        reads.todo[port].extend(mine)
    await bench.until(reads.done, 20_000)
    assert bench.get("viol") & ~16 == 0  # the master of this bench asks for more than is allowed
    first = min(sent[0] for sent in reads.sent if sent)
    return [[beat[0] - first for beat in got] for got in reads.got]


def gaps(beats: list[int]) -> list[int]:
    """Cycles without a beat, where there are any."""
    return [after - before - 1 for before, after in itertools.pairwise(beats) if after - before > 1]


@cocotb.test
async def dram_keeps_the_latency(dut):
    (beats, *_) = await beats_of(dut, [[(BASE, 16)]], dram_rate=64 * TICKS, latency=30)
    assert beats == list(range(30, 46))


@cocotb.test
@cocotb.parametrize(rate=[8, 20, 40])
async def dram_has_a_bandwidth(dut, rate):
    """Bytes of all ports between two moments of a long stream, to a burst."""
    beats = await beats_of(dut, [[(BASE + 1024 * p, 32)] * 40 for p in ALL], dram_rate=rate * TICKS)
    middle = sorted(itertools.chain(*beats))[200:-200]
    assert abs(WORD * len(middle) / (middle[-1] - middle[0] + 1) - rate) < 0.02 * rate


@cocotb.test
@cocotb.parametrize(recovery=[7, 20])
async def dram_is_refreshed(dut, recovery):
    """Every 200 cycles the only reader waits for as long as a refresh takes, and for nothing else."""
    timing = {"dram_rate": 16 * TICKS, "dram_refresh": 200 * TICKS, "dram_recovery": recovery * TICKS}
    (beats, *_) = await beats_of(dut, [[(BASE, 8)] * 300], **timing)
    found = gaps(beats)
    assert set(found) <= {recovery, recovery + 1} and len(found) in (
        (beats[-1] - 20) // 200,
        (beats[-1] - 20) // 200 + 1,
    )
    assert abs(beats[-1] - beats[0] + 1 - 2400 - recovery * len(found)) <= len(found)


@cocotb.test
async def dram_opens_rows(dut):
    """Rows of one bank cost time, those of others none; a row that is open costs none."""
    timing = {"dram_rate": 16 * TICKS, "dram_row": 9 * TICKS}
    (one, *_) = await beats_of(dut, [[(BASE + 4096 * (k % 2), 8) for k in range(20)]], **timing)
    (same, *_) = await beats_of(dut, [[(BASE + 128 * (k % 8), 8) for k in range(20)]], **timing)
    (others, *_) = await beats_of(dut, [[(BASE + 1024 * k, 8) for k in range(20)]], **timing)
    assert gaps(one) == [9] * 19 and gaps(same) == gaps(others) == []


@cocotb.test
async def dram_serves_open_rows_first(dut):
    """Two ports in rows of one bank: several bursts of a port between two changes, and nobody starves."""
    bursts = [[(BASE + 4096 * port, 8)] * 40 for port in range(2)]
    beats = await beats_of(dut, bursts, dram_rate=16 * TICKS, dram_row=9 * TICKS)
    ends = [mine[-1] for mine in beats[:2]]
    lost = max(ends) - 20 - 640 + 1
    assert max(ends) - min(ends) <= 80 and 9 * 14 <= lost <= 9 * 22


@cocotb.test
@cocotb.parametrize(posted=[64, 512])
async def dram_turns_round(dut, posted):
    """Writes amid reads cost a turn there and back for as many bytes as are collected, and their own time."""
    bench = await start(
        dut, dram_rate=16 * TICKS, dram_to_write=3 * TICKS, dram_to_read=11 * TICKS, dram_posted=posted, bandwidth=64
    )
    reads, master = Reads(bench), Writes(bench)
    reads.todo[0].extend([(BASE, 8)] * 200)
    await bench.step(100)
    for k in range(16):
        master.add(BASE + 4096 + 64 * k, [(word(BASE + 4096 + 64 * k + WORD * n), 0xFFFF) for n in range(4)])
        await bench.step(60)
    await bench.until(lambda: reads.done() and len(master.responses) == 16, 5000)
    beats = [beat[0] for beat in reads.got[0]]
    assert beats[-1] - beats[0] + 1 == 1600 + 64 + (3 + 11) * (1024 // posted)


@cocotb.test
@cocotb.parametrize(posted=[128, 512])
async def dram_collects_writes_of_all_ports(dut, posted):
    """Bursts that two ports end in the same cycle are both written."""
    bench = await start(dut, dram_rate=16 * TICKS, dram_to_write=3 * TICKS, dram_to_read=11 * TICKS, dram_posted=posted)
    reads, masters = Reads(bench), [Writes(bench, port) for port in range(2)]
    reads.todo[0].extend([(BASE, 8)] * 200)
    await bench.step(100)
    for k in range(8):
        for master in masters:
            address = BASE + 4096 + 64 * (2 * k + master.port)
            master.add(address, [(word(address + WORD * n), 0xFFFF) for n in range(4)])
        await bench.step(60)
    await bench.until(lambda: reads.done() and all(len(master.responses) == 8 for master in masters), 5000)
    assert masters[0].last_beats == masters[1].last_beats
    beats = [beat[0] for beat in reads.got[0]]
    assert beats[-1] - beats[0] + 1 == 1600 + 64 + (3 + 11) * (1024 // posted)


@cocotb.test
async def dram_is_deterministic(dut):
    timing = {"dram_rate": 16 * TICKS, "dram_refresh": 200 * TICKS, "dram_recovery": 9 * TICKS}
    times = [await beats_of(dut, [[(BASE, 8)] * 100], seed=seed, **timing) for seed in (1, 1, 2)]
    assert times[0] == times[1] != times[2]


@cocotb.test
@cocotb.parametrize(ahead=[32, 48])
async def dram_runs_ahead_of_a_port(dut, ahead):
    """A bus that is faster than the port hides as much of a refresh as there is between them beyond the latency."""
    timing = {"dram_rate": 64 * TICKS, "dram_refresh": 400 * TICKS, "dram_recovery": 60 * TICKS, "dram_ahead": ahead}
    (beats, *_) = await beats_of(dut, [[(BASE, 8)] * 300], latency=20, **timing)
    found = gaps(beats)
    assert len(found) >= 5 and all(abs(gap - (60 - (ahead - 20))) <= 10 for gap in found), found
