# amaranth: UnusedElaboratable=no
"""Function units on Amaranth's own simulator: seconds, and no Verilator. One vector per cycle, exact cycles."""

import numpy as np
import pytest
from amaranth.hdl import Fragment
from unitrig import CONFIG, COUNT, PACKED, ROWS, companion, packed, run, unpacked, values

from moesaic.golden import numerics
from moesaic.hw.functions.activate import Activate
from moesaic.hw.functions.add import Add
from moesaic.hw.functions.gated import Gated
from moesaic.hw.functions.place import Place, arrival_layout
from moesaic.hw.functions.rescale import Rescale
from moesaic.hw.functions.route import Route
from moesaic.hw.functions.store import Store
from moesaic.hw.spec.functions import FUNCTIONS
from moesaic.hw.spec.isa import Function, Memory, Stationary


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
