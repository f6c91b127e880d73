# amaranth: UnusedElaboratable=no
"""Function units on Amaranth's own simulator: seconds, and no Verilator. One vector per cycle, exact cycles."""

import numpy as np
import pytest
from amaranth.hdl import Fragment, Value
from amaranth.sim import Simulator

from moesaic.golden import numerics
from moesaic.hw.attention.softmax import LoneKey
from moesaic.hw.functions.activate import Activate
from moesaic.hw.functions.add import Add
from moesaic.hw.functions.attend import Attend
from moesaic.hw.functions.companion import companion_layout
from moesaic.hw.functions.gated import Gated
from moesaic.hw.functions.place import Place, arrival_layout
from moesaic.hw.functions.requantise import Requantisation
from moesaic.hw.functions.rescale import Rescale
from moesaic.hw.functions.route import Route
from moesaic.hw.functions.softmax import Softmax
from moesaic.hw.functions.store import Store
from moesaic.hw.spec.functions import FUNCTIONS
from moesaic.hw.spec.isa import Function, Memory, Stationary
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.spec.tables import NO_KEY

CONFIG = PRESETS["micro8"].replace(lanes=16)
PACKED = CONFIG.replace(extra_key=False, packed_keys=True)
ROWS, COUNT = CONFIG.rows, 12
EDGES = (-32768, 32767, -129, -128, 127, 128, 0, -1)


def values(seed: int) -> np.ndarray:
    """[COUNT, ROWS] int16, edges first."""
    rng = np.random.default_rng(seed)
    result = rng.integers(-(1 << 15), 1 << 15, (COUNT, ROWS)) >> rng.integers(0, 12, (COUNT, 1))
    result[0] = EDGES
    return result


def run(unit, companions, given, outputs, *, ahead, cycles, answer=lambda seen: []):
    """What `outputs` were in every cycle; companion k comes in cycle k, its values `ahead` cycles later.

    `given`: values, or pairs of a port and its values.

    `answer`: inputs of the next cycle, from the outputs of this one.
    """
    seen = []
    ports = given if isinstance(given, list) else [(unit.value, given)]

    async def bench(ctx):
        later = []
        for cycle in range(cycles):
            here = cycle < len(companions)
            ctx.set(unit.i.valid, int(here))
            if here:
                ctx.set(unit.i.payload, companions[cycle])
            for port, rows in ports:
                if 0 <= cycle - ahead < len(rows):
                    ctx.set(Value.cast(port), packed(rows[cycle - ahead], 16))
            for signal, value in later:
                ctx.set(Value.cast(signal), value)
            seen.append({name: ctx.get(Value.cast(signal)) for name, signal in outputs.items()})
            later = answer(seen[-1])
            await ctx.tick()

    simulator = Simulator(unit)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def packed(row, bits):
    return sum((int(x) & (1 << bits) - 1) << bits * k for k, x in enumerate(row))


def unpacked(word, bits, count=ROWS):
    parts = [word >> bits * k & (1 << bits) - 1 for k in range(count)]
    return [part - (part >> bits - 1 << bits) for part in parts]


def companion(config=CONFIG, **given):
    """A companion's fields, by the name of the field alone."""
    layout = companion_layout(config)
    result = {part: {} for part in ("place", "op", "context")}
    for name, value in given.items():
        part = next(part for part in result if name in layout[part].shape.members)
        result[part][name] = value
    return result


def test_place():
    unit, cases = Place(CONFIG), []
    for k in range(COUNT):
        context = {"dst_addr": 100, "dst_stride": 3, "group": k % 2, "out_count": 19, "function": Function.INT8}
        cases.append({"op": {"slot": k, "token": 40, "block": k % 3}, "context": context})
    cases[3]["context"] |= {"function": Function.ADD, "expert_valid": 1}
    cases[4]["context"] |= {"stationary": Stationary.VALUES, "lane_low": 5, "lane_count": 6}
    cases[5]["context"] |= {"gated": 1}  # block 2, the gate of the second pair
    assert arrival_layout(CONFIG) == unit.i.p.shape()
    seen = run(unit, cases, [], {"o": unit.o}, ahead=0, cycles=COUNT + Place.LATENCY)
    for k, case in enumerate(cases):
        context, block = case["context"], k % 3
        group = context["group"] + (block // 2 if k == 5 else block)
        position = 40 if k == 3 else k
        valid = [block * ROWS + r < 19 for r in range(ROWS)]
        if k == 4:
            valid = [5 <= group % 2 * ROWS + r < 11 for r in range(ROWS)]
        wanted = 100 + 3 * position + group // 2 | group % 2 << 16 | packed(valid, 1) << 17
        assert seen[k + Place.LATENCY]["o"] == wanted, k


@pytest.mark.parametrize("rows", [8, 4])
def test_place_of_packed_keys(rows):
    """Two groups for each block, from an even one on; between them instructions that do not pack."""
    config, cases = PACKED.replace(rows=rows), []
    unit, groups = Place(config), config.groups
    counts = [1, 2, rows, rows + 1, 2 * rows - 1, 2 * rows, 2 * rows + 1, 4 * rows - 3, 4 * rows, 5 * rows]
    for k in range(3 * len(counts)):
        context = {"dst_addr": 100, "dst_stride": 3, "group": k % groups, "out_count": counts[k // 3]}
        context |= {"function": Function.SOFTMAX, "stationary": Stationary.KEYS, "packs": int(k % 4 != 1)}
        cases.append({"op": {"slot": k, "token": 40, "block": k % 3}, "context": context})
    seen = run(unit, cases, [], {"o": unit.o}, ahead=0, cycles=len(cases) + Place.LATENCY)
    for k, case in enumerate(cases):
        packs, count, size = case["context"]["packs"], counts[k // 3], rows * (1 + case["context"]["packs"])
        group = (k % groups - k % groups % 2 + 2 * (k % 3)) if packs else k % groups + k % 3
        exist = [k % 3 * size + key < count for key in range(2 * rows)]
        mask = packed(exist[:rows], 1) | (packed(exist[rows:], 1) << rows if packs else 0)
        group_bits = (groups - 1).bit_length()
        wanted = 100 + 3 * k + group // groups | group % groups << 16 | mask << 16 + group_bits
        assert seen[k + Place.LATENCY]["o"] == wanted, k


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


ACTIVATIONS = [function for function, use in FUNCTIONS.items() if use.activation]


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_activations(function):
    """Each is the golden function, any other instruction's values pass, in the same cycle."""
    given, unit = values(1), Activate(CONFIG)
    runs = [k % 3 != 1 for k in range(COUNT)]
    cases = [companion(function=function if r else Function.INT8) for r in runs]
    at = Activate.AHEAD + Activate.LATENCY
    seen = run(unit, cases, given, {"o": unit.o}, ahead=Activate.AHEAD, cycles=COUNT + at)
    curve = FUNCTIONS[function].activation
    for k, row in enumerate(given):
        assert unpacked(seen[k + at]["o"], 16) == list(numerics.activation(curve, row) if runs[k] else row), k


def test_a_curve_that_is_left_out_has_no_table():
    for changes, tables in ({"silu": False}, 5), ({"silu": False, "sigmoid": False}, 1):
        unit = Activate(CONFIG.replace(**changes))
        Fragment.get(unit, None)
        assert unit.curves.tables == tables


def test_gated():
    """A gate of each slot is kept, and is there with the value of the next pass."""
    given, unit = values(8), Gated(CONFIG)
    half = COUNT // 2
    cases = [companion(function=Function.SILU, gated=1, block=4 + (k >= half), slot=k % half) for k in range(COUNT)]
    at = Gated.AHEAD
    seen = run(unit, cases, given, {"o": unit.o}, ahead=at, cycles=COUNT + at)
    for k in range(half):
        assert unpacked(seen[half + k + at]["o"], 16) == list(given[k]), k


@pytest.mark.parametrize("changes", [{"gated": 0}, {"block": 1}])
def test_what_is_not_a_gate_is_not_kept(changes):
    given, unit = values(9), Gated(CONFIG)
    block = {"function": Function.SILU, "gated": 1, "block": 0, "slot": 5}
    cases = [companion(**block), companion(**(block | changes))]
    cases += [companion(**(block | {"slot": k})) for k in range(5)] + [companion(**(block | {"block": 1}))]
    at = Gated.AHEAD
    seen = run(unit, cases, given, {"o": unit.o}, ahead=at, cycles=COUNT + at)
    assert unpacked(seen[len(cases) - 1 + at]["o"], 16) == list(given[0])


def test_the_values_of_a_gate_pass_as_they_are():
    given, unit = values(10), Activate(CONFIG)
    cases = [companion(function=Function.SIGMOID, gated=1, block=k) for k in range(COUNT)]
    at = Activate.AHEAD + Activate.LATENCY
    seen = run(unit, cases, given, {"o": unit.o}, ahead=Activate.AHEAD, cycles=COUNT + at)
    for k, row in enumerate(given):
        assert unpacked(seen[k + at]["o"], 16) == list(row if k % 2 else numerics.activation("sigmoid", row)), k


def test_rescale():
    given, gates, unit = values(2), values(11), Rescale(CONFIG)
    scored = {"function": Function.ADD, "expert_valid": 1}
    kinds = [{"function": Function.GELU}, scored, {"function": Function.ADD}, {"function": Function.RELU2}]
    kinds += [{"function": Function.GELU, "gated": 1, "block": 3}]
    cases = [companion(**kinds[k % 5], score=3000 + k, scalar=50_000 - k, post_shift=14) for k in range(COUNT)]
    at = Rescale.AHEAD + Rescale.LATENCY
    ports = [(unit.value, given), (unit.gate, gates)]
    seen = run(unit, cases, ports, {"o": unit.o}, ahead=Rescale.AHEAD, cycles=COUNT + at)
    for k, row in enumerate(given):
        multiplier = (50_000 - k, 3000 + k, None, row, gates[k])[k % 5]
        wanted = row if multiplier is None else numerics.rescale(row, multiplier, 14)
        assert unpacked(seen[k + at]["o"], 16) == list(wanted), k


@pytest.mark.parametrize("commit", [1, 4])
def test_store(commit):
    given, unit = values(3), Store(CONFIG, commit=commit)
    functions = [Function.INT8, Function.SILU, Function.ATTEND, Function.ADD, Function.SOFTMAX, Function.ROUTE]
    cases = [
        companion(function=functions[k % 6], dst_memory=Memory.KV if k % 4 == 1 else Memory.ACTIVATION, address=k)
        for k in range(COUNT)
    ]
    cases[1]["context"] |= {"gated": 1}  # a gate
    cases[7]["context"] |= {"gated": 1}  # values
    cases[7]["op"] |= {"block": 1}
    o = unit.result
    outputs = {"due": o.activation_due, "write": o.write, "memory": o.memory, "place": o.place, "data": o.data}
    at = Store.AHEAD + commit
    seen = run(unit, cases, given, outputs, ahead=Store.AHEAD, cycles=COUNT + at)
    for k, row in enumerate(given):
        written, memory = k % 6 < 3 and k != 1, Memory.KV if k % 4 == 1 else Memory.ACTIVATION
        assert seen[k + at]["write"] == written
        assert seen[k + at - 1]["due"] == (written and memory is Memory.ACTIVATION)
        if written:
            assert (seen[k + at]["memory"], seen[k + at]["place"]) == (memory, k)
            assert unpacked(seen[k + at]["data"], 8) == list(numerics.int8(row))


def test_route():
    given, unit = values(4), Route(CONFIG)
    cases = [companion(function=Function.ROUTE if k % 2 else Function.INT8, slot=k) for k in range(COUNT)]
    outputs = {"valid": unit.o.valid, "slot": unit.o.p.op.slot, "logits": unit.o.p.logits}
    seen = run(unit, cases, given, outputs, ahead=Route.AHEAD, cycles=COUNT + Route.AHEAD)
    for k, row in enumerate(given):
        now = seen[k + Route.AHEAD]
        assert now["valid"] == k % 2
        assert not k % 2 or (now["slot"], unpacked(now["logits"], 16)) == (k, list(row))


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
    outputs = {"due": unit.packs_due, "packs": unit.packs, "data": unit.result.data, "beyond": unit.beyond}
    outputs |= {"maximum": unit.maxima.data, "maxima": unit.maxima.mask, "state": unit.state.data}
    at, state_at = Softmax.AHEAD + commit, Softmax.AHEAD + unit.state_at
    ports = [(unit.value, given), (unit.upper_value, above)]
    seen = run(unit, cases, ports, outputs, ahead=Softmax.AHEAD, cycles=COUNT + max(at, state_at))
    for k in range(COUNT):
        scores = np.stack([given[k], above[k]], axis=1).ravel() if packs[k] else given[k]
        codes, maximum, level = numerics.softmax_block(scores[None, : counts[k]], None, bits=PACKED.probability_width)
        wanted = np.concatenate([codes[0], np.full(2 * ROWS - counts[k], NO_KEY)])
        now = seen[k + at]
        assert (now["packs"], seen[k + at - 1]["due"]) == (packs[k], packs[k]), k
        assert now["maxima"] == (3 if packs[k] else 1 << k % 2), k
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


@pytest.mark.parametrize("behind", [0, 5, -COUNT])
def test_add(behind):
    """The residual, then the sums of its token; from an old residual `behind` words elsewhere, sums begin anew."""
    given, unit = values(6) // 2, Add(CONFIG, commit=2)
    rng = np.random.default_rng(7)
    words = rng.integers(-(1 << 15), 1 << 15, (COUNT, CONFIG.lanes))
    sums = list(
        zip(rng.integers(-999, 999, COUNT).tolist(), rng.integers(1 << 36, 1 << 37, COUNT).tolist(), strict=True)
    )
    elsewhere = {"scalar": behind % (1 << 16), "fresh": int(bool(behind))}
    cases = [
        companion(
            function=Function.ADD,
            token=k,
            address=(k - behind) % (1 << 16),
            group=k % 2,
            mask=0xFF >> k % 3,
            residual_shift=k % 4,
            **elsewhere,
        )
        for k in range(COUNT)
    ]
    outputs = {"read": unit.old.enable, "from": unit.old.address, "of": unit.old_sums.address}
    outputs |= {"mask": unit.residual.mask, "to": unit.residual.address, "word": unit.residual.data}
    outputs |= {"sums": unit.sums.data, "token": unit.sums.address, "summed": unit.sums.mask}

    def answer(seen):
        total, squares = sums[seen["of"] % COUNT]
        word = packed(words[seen["from"]], 16) if seen["read"] else 0
        return [(unit.old.data, word), (unit.old_sums.data, total & (1 << 28) - 1 | squares << 28)]

    at = Add.AHEAD + 2
    last = at + Add.sums_latency(ROWS)
    seen = run(unit, cases, given, outputs, ahead=Add.AHEAD, cycles=COUNT + last, answer=answer)
    for k, row in enumerate(given):
        group, mask = k % 2, 0xFF >> k % 3
        old = words[k, group * ROWS : (group + 1) * ROWS]
        new = numerics.int16(numerics.round_shift(old, k % 4) + row)
        now = seen[k + at]
        assert (now["mask"], now["to"]) == (mask << group * ROWS, (k - behind) % (1 << 16))
        assert unpacked(now["word"], 16, CONFIG.lanes) == [*new, *new]
        valid = [r for r in range(ROWS) if mask >> r & 1]
        total, squares = sum(int(new[r]) for r in valid), sum(int(new[r]) ** 2 for r in valid)
        if not behind:
            total += sums[k][0] - sum(int(old[r]) for r in valid)
            squares += sums[k][1] - sum(int(old[r]) ** 2 for r in valid)
        now = seen[k + last - 1]
        assert (now["summed"], now["token"]) == (1, k), k
        assert now["sums"] == total & (1 << 28) - 1 | (squares & (1 << 42) - 1) << 28, k
