# amaranth: UnusedElaboratable=no
"""Function units of attention on Amaranth's own simulator, and packed keys in the requantisation."""

import numpy as np
import pytest
from amaranth.hdl import Value
from amaranth.sim import Simulator
from unitrig import CONFIG, COUNT, PACKED, ROWS, companion, packed, run, unpacked, values

from moesaic.golden import numerics
from moesaic.hw.attention.softmax import LoneKey
from moesaic.hw.functions.attend import Attend
from moesaic.hw.functions.requantise import Requantisation
from moesaic.hw.functions.softmax import Softmax
from moesaic.hw.spec.isa import Function
from moesaic.hw.spec.tables import NO_KEY


def test_requantisation_of_packed_keys():
    """A sum of the upper lanes is multiplied like that of the lower ones, and has no bias, whatever a bank has."""
    unit, count = Requantisation(PACKED, hold=2), COUNT
    rng = np.random.default_rng(12)
    acc, upper = (rng.integers(-(1 << 19), 1 << 19, (count, ROWS)) for _ in range(2))
    upper[0] = [-(1 << 20), (1 << 20) - 1, *range(-3, 3)]
    scalars, shifts = rng.integers(0, 1 << 16, count), rng.integers(10, 24, count)
    seen = []

    async def bench(ctx):
        ctx.set(Value.cast(unit.parameters), (1 << 2 * 48 * ROWS) - 1)
        for cycle in range(count + unit.hold + unit.LATENCY):
            ctx.set(unit.i.valid, int(cycle < count))
            if cycle < count:
                op = {"vector": 1, "attention": 1, "context": cycle % 8}
                ctx.set(unit.i.payload, {"op": op, "acc": acc[cycle].tolist(), "upper": upper[cycle].tolist()})
            held = cycle - unit.hold
            if 0 <= held < count:
                ctx.set(unit.context.data, {"scalar": int(scalars[held]), "shift": int(shifts[held]), "packs": 1})
                assert ctx.get(unit.o.p.context.packs) == 1
            seen.append([ctx.get(Value.cast(value)) for value in (unit.value, unit.upper_value)])
            await ctx.tick()

    simulator = Simulator(unit)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    for k in range(count):
        for sums, got in zip((acc, upper), seen[k + unit.hold + unit.LATENCY], strict=True):
            assert unpacked(got, 16) == list(numerics.requantise(sums[k], int(scalars[k]), int(shifts[k]))), k


@pytest.mark.parametrize("extra_key", [False, True])
def test_softmax(extra_key):
    """One block of each query; the state of the queries stays where it is, of one it is the first. With the first block
    of some queries comes an extra key, near the block's maximum; it is not kept of other functions.
    """
    commit = Softmax.latency(CONFIG) + 2
    given, unit = values(5), Softmax(CONFIG.replace(extra_key=extra_key), commit=commit)
    lone = np.clip(given.max(axis=1) + np.resize([700, 0, 900, 0, -90, 0], COUNT), -32768, 32767)
    cases = [
        companion(function=Function.SOFTMAX, token=k, block=k % 2, mask=(1 << ROWS - k % 3) - 1, group=k % 2, address=k)
        for k in range(COUNT)
    ]
    if extra_key:
        for k in range(0, COUNT, 4):
            cases[k]["op"]["extra"] = 1
        cases.append(companion(function=Function.ATTEND, extra=1))
    # Levels below and above what the blocks ask for.
    levels = [int(4 * (-(-row.max() // 256)) + (k // 2 % 3 - 1) * 9) for k, row in enumerate(given)]
    outputs = {"old": unit.old.address, "state": unit.state.data, "token": unit.state.address, "write": unit.state.mask}
    outputs |= {"data": unit.result.data, "maximum": unit.maxima.data, "maxima": unit.maxima.mask}
    outputs |= {"result": unit.result.write}
    at, state_at, extra_at = Softmax.AHEAD + commit, Softmax.AHEAD + unit.state_at, Softmax.AHEAD + LoneKey.CODE_AT
    ports = [(unit.value, given)]
    if extra_key:
        ports += [(unit.extra_value, lone[:, None])]
        outputs |= {"kept": unit.extra.data, "of": unit.extra.address, "keeps": unit.extra.mask}
    seen = run(
        unit,
        cases,
        ports,
        outputs,
        ahead=Softmax.AHEAD,
        cycles=COUNT + max(at, state_at),
        answer=lambda now: [(unit.old.data, levels[now["old"] % COUNT])],
    )
    for k, row in enumerate(given):
        keys = ROWS - k % 3
        before = np.array([levels[k]]) if k % 2 else None
        codes, maximum, level = numerics.softmax_block(row[None, :keys], before, bits=CONFIG.probability_width)
        now, then = seen[k + at], seen[k + state_at]
        if cases[k]["op"].get("extra"):
            code, bound, level = numerics.softmax_block(lone[k].reshape(1, 1), level, bits=CONFIG.probability_width)
            wanted = 1, k, int(code[0, 0]) | int(bound[0] & 511) << 8
            assert tuple(seen[k + extra_at][name] for name in ("keeps", "of", "kept")) == wanted, k
        assert (now["result"], now["maxima"]) == (1, 1 << k % 2)
        assert now["maximum"] == packed([maximum[0]] * CONFIG.groups, 9)
        assert now["data"] == packed([*codes[0], *[NO_KEY] * (ROWS - keys)], 8), k
        assert (then["write"], then["token"], then["state"]) == (1, k, int(level[0])), k
    assert sum(now.get("keeps", 0) for now in seen) == (COUNT // 4 if extra_key else 0)


def test_softmax_of_packed_keys():
    """Blocks of twice the keys, of which each row has two; between them blocks of other instructions."""
    commit = Softmax.latency(PACKED) + 1
    given, above, unit = values(5), values(13), Softmax(PACKED, commit=commit)
    above[1::2] = np.clip(given[1::2] + values(14)[1::2] // 64, -32768, 32767)
    packs = [k % 3 != 1 for k in range(COUNT)]
    counts = [
        [1, 2, ROWS, ROWS + 1, 2 * ROWS - 1, 2 * ROWS][k // 2 % 6] if packs[k] else ROWS - k % 3 for k in range(COUNT)
    ]
    cases = []
    for k in range(COUNT):
        exist = (1 << counts[k]) - 1
        where = {"mask": exist % (1 << ROWS), "beyond": exist >> ROWS, "group": 0 if packs[k] else k % 2, "address": k}
        fields = {"function": Function.SOFTMAX, "packs": int(packs[k]), "token": k}
        cases.append(companion(PACKED, **where, **fields))
    outputs = {"due": unit.beyond_due, "groups": unit.groups, "data": unit.result.data, "beyond": unit.beyond}
    outputs |= {"maximum": unit.maxima.data, "maxima": unit.maxima.mask, "state": unit.state.data}
    at, state_at = Softmax.AHEAD + commit, Softmax.AHEAD + unit.state_at
    ports = [(unit.value, given), (unit.upper_value, above)]
    seen = run(unit, cases, ports, outputs, ahead=Softmax.AHEAD, cycles=COUNT + max(at, state_at))
    for k in range(COUNT):
        scores = np.stack([given[k], above[k]], axis=1).ravel() if packs[k] else given[k]
        codes, maximum, level = numerics.softmax_block(scores[None, : counts[k]], None, bits=PACKED.probability_width)
        wanted = np.concatenate([codes[0], np.full(2 * ROWS - counts[k], NO_KEY)])
        now = seen[k + at]
        assert seen[k + at - 1]["due"] == packs[k], k
        assert now["groups"] == now["maxima"] == (3 if packs[k] else 1 << k % 2), k
        assert now["maximum"] == packed([maximum[0]] * PACKED.groups, 9), k
        assert now["data"] == packed(wanted[:ROWS], 8), k
        assert not packs[k] or now["beyond"] == packed(wanted[ROWS:], 8), k
        assert seen[k + state_at]["state"] == int(level[0]), k


def test_attend():
    """Sums of a query over blocks of keys, counted once where they pass twice; other vectors between them."""
    unit = Attend(CONFIG, delay=2)
    rng = np.random.default_rng(8)
    scalars = [int(x) for x in rng.integers(1 << 15, 1 << 16, 8)]
    ops, sums = [], []
    for part in range(4):  # blocks of keys, of which the third begins a second plane
        for slot in range(5):
            flags = {"acc_first": part == 0, "acc_shift": part == 2, "acc_last": part == 3}
            ops.append({"vector": 1, "attention": 1, "slot": slot, "context": slot, **flags})
            sums.append(int(rng.integers(1, 1 << CONFIG.total_bits)))
    ops.insert(15, {"vector": 1, "slot": 4, "acc_first": 1})  # not of attention: nobody's sum
    sums.insert(15, 77)
    seen = []

    async def bench(ctx):
        for cycle in range(len(ops) + Attend.LATENCY + 2):
            here = cycle < len(ops)
            ctx.set(unit.i.valid, int(here))
            if here:
                ctx.set(unit.i.payload, ops[cycle])
                ctx.set(unit.total, sums[cycle])
                ctx.set(unit.context.data, {"scalar": scalars[ctx.get(unit.context.address)]})
            seen.append((ctx.get(unit.factor), ctx.get(unit.exponent)))
            await ctx.tick()

    simulator = Simulator(unit)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    for cycle, op in enumerate(ops):
        if op.get("acc_last"):
            whole = sum(x for x, other in zip(sums[10:], ops[10:], strict=True) if other["slot"] == op["slot"])
            whole -= 77 * (op["slot"] == 4)
            r, e = numerics.reciprocal(np.array([whole]))
            wanted = (int(r[0]) * scalars[op["slot"]] + (1 << 15)) >> 16, int(e[0])
            assert seen[cycle + Attend.LATENCY + 2] == wanted, cycle
