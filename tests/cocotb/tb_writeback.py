"""WriteBack against the golden arithmetic: every function, instructions that overlap, exact latency."""

import json
import os
from collections.abc import Callable
from functools import partial

import cocotb
import numpy as np
from bench import Bench
from cocotb.handle import SimHandleBase
from rigid import integer, pack

from moesaic.golden import numerics
from moesaic.hw.decode.operation import context_layout, operation_layout
from moesaic.hw.engine.array import array_latency, sum_bits
from moesaic.hw.spec.isa import Function, Memory, Stationary
from moesaic.hw.spec.latency import REUSE_CYCLES
from moesaic.hw.spec.presets import PRESETS

CONFIG = PRESETS["micro8"].replace(**json.loads(os.environ["CHANGES"]))
ROWS, LANES, GROUPS = CONFIG.rows, CONFIG.lanes, CONFIG.groups
LATENCY, HOLD = integer("LATENCY"), integer("HOLD")
EARLY = array_latency(LANES) + 1  # cycles from a vector at the array to its sums here
OPERATION, CONTEXT = operation_layout(), context_layout(CONFIG)
UPPER_BITS = sum_bits(LANES)  # of the sums of the upper lanes, with packed keys
DEPTH, TOKENS = 256, 32
ACTIVATIONS = {
    Function.GELU: ("gelu", False),
    Function.RELU: ("relu", False),
    Function.RELU2: ("relu", True),
    Function.SILU: ("silu", False),
    Function.SIGMOID: ("sigmoid", False),
}
GATED = {f"gated {function.name}": function for function, (_, squared) in ACTIVATIONS.items() if not squared}
UNDEFINED = 999  # lower byte of a result of 8 bits
Fields = dict[str, int]


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


def wrap(values: np.ndarray, bits: int) -> np.ndarray:
    """Two's complement; the compiler proves that no program needs it."""
    half = 1 << bits - 1
    return (values + half) % (2 * half) - half


def unpack(word: int, bits: int, count: int) -> np.ndarray:
    return np.array([signed(word >> bits * k & (1 << bits) - 1, bits) for k in range(count)], np.int64)


class State:
    """Contents of every memory that results go to."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.vectors = rng.integers(-128, 128, (2, DEPTH, LANES))  # activation, key/value
        self.lower = rng.integers(-128, 128, (2, DEPTH, LANES))  # bytes of 16-bit results
        self.maxima = rng.integers(-128, 128, (DEPTH, GROUPS))
        self.residual = rng.integers(-(1 << 15), 1 << 15, (DEPTH, LANES))
        self.softmax = rng.integers(-512, 512, TOKENS)
        self.extra = np.stack([rng.integers(0, 256, TOKENS), rng.integers(-128, 128, TOKENS)], axis=1)
        self.sums = np.stack(
            [rng.integers(-(1 << 20), 1 << 20, TOKENS), rng.integers(1 << 30, 1 << 35, TOKENS)], axis=1
        )
        self.routed: list[tuple[int, tuple[int, ...]]] = []

    def copy(self) -> "State":
        other = object.__new__(State)
        other.__dict__ = {name: value.copy() for name, value in self.__dict__.items()}
        return other

    def differs(self, other: "State") -> str:
        """Where two states first differ."""
        for name, value in self.__dict__.items():
            wanted = other.__dict__[name]
            if name == "routed":
                if value != wanted:
                    return f"routed: {value[:2]} ... must be {wanted[:2]} ..."
                continue
            if name == "lower":
                value = np.where(wanted == UNDEFINED, UNDEFINED, value)
            if not np.array_equal(value, wanted):
                place = tuple(int(k) for k in np.argwhere(value != wanted)[0])
                return f"{name}{place}: must be {wanted[place]}, not {value[place]}"
        return ""


class Instruction:
    """One instruction's fields and sums, what enters the unit, and what it must leave in the memories."""

    def __init__(
        self,
        rng: np.random.Generator,
        number: int,
        context: Fields,
        *,
        tokens: np.ndarray,
        scores: np.ndarray | None = None,
        bank: int = 0,
        extra: bool = False,
    ) -> None:
        self.rng, self.number, self.f, self.tokens, self.bank = rng, number, context, tokens, bank
        self.packs = bool(context.get("packs"))
        self.size = ROWS * (1 + self.packs)  # outputs of a block
        self.count, self.blocks = len(tokens), -(-context["out_count"] // self.size)
        pairs = self.blocks // 2 if context.get("gated") else 0
        self.outputs = context["out_count"] - pairs * ROWS
        self.scores = rng.integers(0, 1 << 16, self.count) if scores is None else scores
        self.weights = context["stationary"] == Stationary.WEIGHTS
        width = int(rng.integers(8, CONFIG.acc_bits))
        limit = (1 << width - 1) - 1
        self.acc = rng.integers(-limit, limit + 1, (self.count, self.blocks * self.size))
        self.narrow_upper()
        # The extra key's sums: noise, but for the first block of an instruction that has it, and there often near the
        # highest of the other keys.
        self.extra = extra
        self.extra_acc = rng.integers(-limit, limit + 1, (self.count, self.blocks))
        near = self.acc[:, : context["out_count"]].max(axis=1) + rng.integers(-limit // 8, limit // 8 + 1, self.count)
        self.extra_acc[:, 0] = np.where(
            rng.random(self.count) < 0.5, self.extra_acc[:, 0], np.clip(near, -limit, limit)
        )
        # In front of 16-bit weights, in units of 2^8.
        self.upper = 8 if CONFIG.wide_operands and self.weights and context.get("wide_stationary") else 0
        most = min(limit // 2 >> self.upper, (1 << 31) - 1)
        self.bias = rng.integers(-most, most + 1, self.blocks * ROWS)
        self.mult = rng.integers(0, 1 << 16, self.blocks * ROWS)
        # Sums of the probabilities of two blocks of keys.
        self.totals = rng.integers(1, 1 << CONFIG.total_bits, (2, self.count))

    def narrow_upper(self) -> None:
        """Of packed keys every second one's sum is narrower: it does not come from an accumulator."""
        if self.packs:
            self.acc[:, 1::2] = np.clip(self.acc[:, 1::2], -1 << UPPER_BITS - 1, (1 << UPPER_BITS - 1) - 1)

    def operation(self, block: int, slot: int) -> Fields:
        last = slot == self.count - 1
        final = block == self.blocks - 1
        return {
            "vector": 1,
            "end": int(last and final),
            "context": self.number % 8,
            "slot": slot,
            "token": int(self.tokens[slot]),
            "block": block,
            "pass_first": int(slot == 0),
            "slot_first": int(slot == 0),
            "slot_last": int(last),
            "acc_first": 1,
            "acc_last": 1,
            "block_end": int(last),
            "block_final": int(final),
            "weights": int(self.weights),
            "attention": int(not self.weights),
            "attend": int(self.f["function"] == Function.ATTEND),
            "bank": (self.bank + block) % 2,
            "extra": int(self.extra and (block == 0 or self.f["function"] == Function.ATTEND)),
            "score": int(self.scores[slot]),
        }

    def sums(self, block: int, slot: int) -> int:
        """Sums of the rows, and of the extra key, or of the upper lanes, behind them."""
        rows = self.acc[slot, block * self.size : (block + 1) * self.size]
        if CONFIG.packed_keys:
            lower, upper = rows.reshape(-1, 2).T if self.packs else (rows, self.rng.integers(-99, 99, ROWS))
            return pack(lower, CONFIG.acc_bits) | pack(upper, UPPER_BITS) << CONFIG.acc_bits * ROWS
        extra = self.extra_acc[slot, block : block + CONFIG.extra_key]
        return pack(np.concatenate([rows, extra]), CONFIG.acc_bits)

    def parameters(self, block: int) -> int:
        rows = slice(block * ROWS, (block + 1) * ROWS)
        return sum(
            (int(b) & 0xFFFF_FFFF | int(s) << 32) << 48 * r
            for r, (b, s) in enumerate(zip(self.bias[rows], self.mult[rows], strict=True))
        )

    def apply(self, state: State) -> None:
        """The definition, on whole tensors."""
        f, function = self.f, Function(self.f["function"])
        if function is Function.ATTEND:
            r, e = numerics.reciprocal(self.totals.sum(axis=0))
            mult = (r * f["scalar"] + (1 << 15)) >> 16
            return self._store(state, numerics.round_shift(self.acc * mult[:, None], (f["shift"] + e)[:, None]))
        bias, mult = (self.bias << self.upper, self.mult) if self.weights else (0, f["scalar"])
        v = numerics.requantise(wrap(self.acc + bias, CONFIG.acc_bits), mult, f["shift"])
        if function is Function.INT8:
            self._store(state, v)
        elif f.get("gated"):
            pairs = v.reshape(self.count, -1, 2, ROWS)
            gates = numerics.activation(ACTIVATIONS[function][0], pairs[:, :, 0])
            product = numerics.round_shift(gates * pairs[:, :, 1], f["post_shift"])
            self._store(state, product.reshape(self.count, -1))
        elif function in ACTIVATIONS:
            curve, squared = ACTIVATIONS[function]
            active = numerics.activation(curve, v)
            self._store(state, numerics.round_shift(active * (active if squared else f["scalar"]), f["post_shift"]))
        elif function is Function.ADD:
            self._add(state, v)
        elif function is Function.SOFTMAX:
            self._softmax(state, v)
        else:
            for block in range(self.blocks):
                for slot in range(self.count):
                    row = tuple(int(x) for x in v[slot, block * ROWS : (block + 1) * ROWS])
                    state.routed.append((OPERATION.const(self.operation(block, slot)).as_bits(), row))

    def _place(self, slot: int, channel: int) -> tuple[int, int]:
        """Word and lane of a result."""
        f = self.f
        scattered = f["function"] == Function.ADD and f["expert_valid"]
        row = int(self.tokens[slot]) if scattered else slot
        group = f["group"] // (1 + self.packs) * (1 + self.packs) + channel // ROWS  # packed: from an even one on
        return f["dst_addr"] + row * f["dst_stride"] + group // GROUPS, group % GROUPS * ROWS + channel % ROWS

    def _valid(self, channel: int) -> bool:
        if self.f["stationary"] == Stationary.VALUES:
            lane = (self.f["group"] * ROWS + channel) % LANES
            return self.f["lane_low"] <= lane < self.f["lane_low"] + self.f["lane_count"]
        return channel < self.outputs

    def _store(self, state: State, values: np.ndarray) -> None:
        upper, lower = numerics.int8(values), np.full_like(values, UNDEFINED)
        if self.f.get("wide_result"):
            values = numerics.digits(values)
            upper = values + 128 >> 8
            lower = values - 256 * upper
        self._write(state.vectors[self.f["dst_memory"]], upper)
        self._write(state.lower[self.f["dst_memory"]], lower)

    def _write(self, memory: np.ndarray, values: np.ndarray) -> None:
        for slot, channel in np.ndindex(values.shape):
            if self._valid(channel):
                memory[self._place(slot, channel)] = values[slot, channel]

    def _add(self, state: State, v: np.ndarray) -> None:
        f = self.f
        delta = numerics.round_shift(v * self.scores[:, None], f["post_shift"]) if f["expert_valid"] else v
        delta = numerics.int16(delta)
        for slot in range(self.count):
            total, squares = (0, 0) if f["fresh"] else state.sums[self.tokens[slot]]
            for channel in filter(self._valid, range(self.blocks * ROWS)):
                place = self._place(slot, channel)
                old = int(state.residual[place])
                new = int(
                    numerics.int16(numerics.round_shift(np.array(old), f["residual_shift"]) + delta[slot, channel])
                )
                state.residual[place] = new
                before = 0 if f["fresh"] else old
                total, squares = total + new - before, squares + new * new - before * before
            state.sums[self.tokens[slot]] = wrap(total, 28), squares & (1 << 42) - 1

    def _softmax(self, state: State, v: np.ndarray) -> None:
        level = None
        for block in range(self.blocks):
            first, stop = block * self.size, min((block + 1) * self.size, self.f["out_count"])
            codes, maximum, level = numerics.softmax_block(v[:, first:stop], level, bits=CONFIG.probability_width)
            for slot in range(self.count):
                word, lane = self._place(slot, first)
                state.vectors[0][word, lane : lane + self.size] = np.int8(-1)  # no key
                state.lower[0][word, lane : lane + self.size] = UNDEFINED
                state.vectors[0][word, lane : lane + stop - first] = codes[slot].astype(np.int8)
                state.maxima[word, lane // ROWS : (lane + self.size) // ROWS] = maximum[slot]
        if self.extra:
            scores = numerics.requantise(self.extra_acc[:, :1], self.f["scalar"], self.f["shift"])
            codes, maximum, asked = numerics.softmax_block(scores, None, bits=CONFIG.probability_width)
            state.extra[self.tokens] = np.stack([codes[:, 0], maximum], axis=1)
            level = np.maximum(level, asked)
        state.softmax[self.tokens] = level


class Rig:
    """The unit with its memories; inputs are planned per cycle, ahead of time."""

    def __init__(self, dut: SimHandleBase, seed: int) -> None:
        self.bench, self.rng = Bench(dut), np.random.default_rng(seed)
        self.now, self.wanted = State(self.rng), State(self.rng)
        self.wanted = self.now.copy()
        self.plan: dict[int, list[tuple[str, int]]] = {}
        self.releases: set[int] = set()
        self.ends: set[int] = set()
        self.next: dict[str, int] = {}
        self.due = (False, False)
        self.free = 0  # first cycle in which a vector may enter the array
        self.banks = [0, 0]
        self.issued = 0
        self.bench.drivers.append(self.drive)
        self.bench.observers.append(self.observe)

    async def start(self) -> None:
        await self.bench.start(
            early__valid=0,
            early__payload=0,
            early_context__data=0,
            i__valid=0,
            i__payload=0,
            context__data=0,
            parameters=0,
            total=0,
            old_state__data=0,
            old_residual__data=0,
            old_sums__data=0,
        )
        await self.bench.step(LATENCY)

    def at(self, cycle: int, name: str, value: int) -> None:
        self.plan.setdefault(cycle, []).append((name, value))

    def issue(self, item: Instruction, *, gaps: float = 0.0) -> None:
        """Plan an instruction as the core sends it: no token comes again within ``REUSE_CYCLES``, in whichever pass the
        gaps are.
        """
        cycle = max(self.free, self.bench.cycle + 1)
        context = CONTEXT.const(item.f).as_bits()
        last: dict[int, int] = {}  # cycle of each slot's vector
        for block in range(item.blocks):
            if not item.weights:
                cycle = self._earlier(item, block, cycle)
            first = cycle
            for slot in range(item.count):
                while self.rng.random() < gaps or cycle <= last.get(slot, -REUSE_CYCLES) + REUSE_CYCLES:
                    cycle += 1
                last[slot] = cycle
                operation = item.operation(block, slot)
                early = operation | {"acc_first": int(item.weights)}
                bits = OPERATION.const(operation).as_bits()
                arrive = cycle + EARLY
                self.at(cycle, "early__valid", 1)
                self.at(cycle, "early__payload", OPERATION.const(early).as_bits())
                self.at(cycle, "total", int(item.totals[1, slot]))
                self.at(cycle, "early_context__data", context)
                self.at(arrive, "i__valid", 1)
                self.at(arrive, "i__payload", bits | item.sums(block, slot) << OPERATION.size)
                self.at(arrive + HOLD, "context__data", context)
                if item.weights:
                    self.at(arrive + HOLD, f"bank {operation['bank']}", item.parameters(block))
                    if operation["block_end"]:
                        self.releases.add(arrive + HOLD)
                if operation["end"]:
                    self.ends.add(arrive + LATENCY)
                cycle += 1
            cycle = max(cycle, first + REUSE_CYCLES + 1)
        self.free = cycle
        self.issued += 1
        item.apply(self.wanted)

    def _earlier(self, item: Instruction, block: int, cycle: int) -> int:
        """The block of keys before the last one, of which only the sum of probabilities is seen here."""
        for slot in range(item.count):
            early = item.operation(block, slot) | {"acc_last": 0}
            self.at(cycle + slot, "early__valid", 1)
            self.at(cycle + slot, "early__payload", OPERATION.const(early).as_bits())
            self.at(cycle + slot, "total", int(item.totals[0, slot]))
        return cycle + max(item.count, REUSE_CYCLES)

    def lone(self) -> None:
        """An instruction without vectors."""
        arrive = max(self.free, self.bench.cycle + 1) + EARLY
        self.at(arrive, "i__valid", 1)
        self.at(arrive, "i__payload", OPERATION.const({"end": 1, "context": self.issued % 8}).as_bits())
        self.ends.add(arrive + LATENCY)
        self.free = arrive - EARLY + 1
        self.issued += 1

    async def drain(self) -> None:
        await self.bench.step(self.free + EARLY + LATENCY + 2 - self.bench.cycle)

    def drive(self) -> None:
        bench, rng = self.bench, self.rng
        inputs = {
            "early__valid": 0,
            "i__valid": 0,
            "early__payload": 0,
            "total": int(rng.integers(1 << CONFIG.total_bits)),
            "i__payload": int(rng.integers(1 << 60)),
            "context__data": int(rng.integers(1 << 60)),
        }
        for name, value in self.plan.pop(bench.cycle, ()):
            if name.startswith("bank"):
                self.banks[int(name[-1])] = value
            else:
                inputs[name] = value
        inputs["parameters"] = self.banks[0] | self.banks[1] << 48 * ROWS
        for name, value in (inputs | self.next).items():
            bench.set(name, value)

    def observe(self) -> None:
        get, now, cycle = self.bench.get, self.now, self.bench.cycle
        assert get("release") == (cycle in self.releases), cycle
        assert get("ended") == (cycle in self.ends), cycle
        residual = (
            now.residual[get("old_residual__address") % DEPTH]
            if get("old_residual__enable")
            else self.rng.integers(-99, 99, LANES)
        )
        total, squares = (int(x) for x in now.sums[get("old_sums__address") % TOKENS])
        self.next = {
            "old_state__data": int(now.softmax[get("old_state__address") % TOKENS]) & 2047,
            "old_residual__data": pack(residual, 16),
            "old_sums__data": total & (1 << 28) - 1 | (squares & (1 << 42) - 1) << 28,
        }
        to_activation = get("words__write") and get("words__memory") == Memory.ACTIVATION
        assert (bool(to_activation), get("residual__mask") != 0) == self.due, cycle
        self.due = bool(get("words__activation_due")), bool(get("residual_due"))
        if get("words__write"):
            mask = unpack(get("words__mask"), 1, LANES) != 0
            for memory, name in ((now.vectors, "words__data"), (now.lower, "words__low")):
                memory[get("words__memory")][get("words__address")][mask] = unpack(get(name), 8, LANES)[mask]
        if get("maxima__mask"):
            assert to_activation and get("maxima__address") == get("words__address")
            mask = unpack(get("maxima__mask"), 1, GROUPS) != 0
            now.maxima[get("maxima__address")][mask] = unpack(get("maxima__data"), 9, GROUPS)[mask]
        if get("state__mask"):
            now.softmax[get("state__address")] = signed(get("state__data"), 11)
        if CONFIG.extra_key and get("extra__mask"):
            kept = get("extra__data")
            now.extra[get("extra__address")] = kept & 255, signed(kept >> 8, 9)
        if get("residual__mask"):
            mask = unpack(get("residual__mask"), 1, LANES) != 0
            now.residual[get("residual__address")][mask] = unpack(get("residual__data"), 16, LANES)[mask]
        if get("sums__mask"):
            sums = get("sums__data")
            now.sums[get("sums__address")] = signed(sums & (1 << 28) - 1, 28), sums >> 28
        if get("logits__valid"):
            payload = get("logits__payload")
            logits = unpack(payload >> OPERATION.size + CONTEXT.size, 16, ROWS)
            operation = payload & (1 << OPERATION.size) - 1
            now.routed.append((operation, tuple(int(x) for x in logits)))


class Maker:
    """Random instructions of one function."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.number, self.bank = rng, 0, 0

    def base(self, function: Function, **changes: int) -> Fields:
        rng = self.rng
        words = 4
        fields = {
            "function": int(function),
            "stationary": int(Stationary.WEIGHTS),
            "out_count": int(rng.integers(1, 2 * LANES + 1)),
            "dst_stride": words,
            "dst_addr": int(rng.integers(DEPTH - 4 * TOKENS)),
            "group": int(rng.integers(GROUPS)),
            "shift": int(rng.integers(8, 30)),
            "scalar": int(rng.integers(1 << 16)),
            "post_shift": int(rng.integers(10, 20)),
            # for VALUES alone
            "lane_low": int(rng.integers(LANES)),
            "lane_count": int(rng.integers(1, LANES + 1)),
        }
        if CONFIG.wide_operands:
            written = function in (Function.INT8, Function.ATTEND, *ACTIVATIONS)
            fields |= {"wide_stationary": int(rng.integers(2)), "wide_result": int(written and rng.random() < 0.7)}
            fields["shift"] += int(rng.integers(0, 16))
        return fields | changes

    def make(self, fields: Fields, tokens: np.ndarray | None = None) -> Instruction:
        if tokens is None:
            count = int(self.rng.choice([1, 2, 5, 12]))
            tokens = int(self.rng.integers(TOKENS - count + 1)) + np.arange(count)
        heads = fields["stationary"] != Stationary.WEIGHTS
        extra = bool(CONFIG.extra_key and heads and self.rng.integers(2))
        item = Instruction(self.rng, self.number, fields, tokens=tokens, bank=self.bank, extra=extra)
        self.number += 1
        if item.weights:
            self.bank = (self.bank + item.blocks) % 2
        return item

    def plain(self, function: Function) -> Instruction:
        return self.make(self.base(function, dst_memory=int(self.rng.choice([Memory.ACTIVATION, Memory.KV]))))

    def gated(self, function: Function) -> Instruction:
        pairs, last = int(self.rng.integers(1, 2 * GROUPS + 1)), int(self.rng.integers(1, ROWS + 1))
        fields = self.base(
            function,
            dst_memory=int(self.rng.choice([Memory.ACTIVATION, Memory.KV])),
            gated=1,
            out_count=(2 * pairs - 1) * ROWS + last,
        )
        return self.make(fields)

    def add(self, expert: bool, fresh: bool) -> Instruction:
        fields = self.base(
            Function.ADD,
            expert_valid=int(expert),
            fresh=int(fresh),
            residual_shift=int(self.rng.choice([0, 0, 1, 3, 7])),
            scalar=0,  # the old residual lies where the new one goes; elsewhere: tb_core
        )
        count = int(self.rng.choice([1, 2, 5, 12]))
        tokens = (
            np.sort(self.rng.permutation(TOKENS)[:count])
            if expert
            else int(self.rng.integers(TOKENS - count + 1)) + np.arange(count)
        )
        return self.make(fields, tokens)

    def softmax(self) -> Instruction:
        fields = self.base(
            Function.SOFTMAX,
            stationary=int(Stationary.KEYS),
            out_count=int(self.rng.integers(1, 3 * ROWS + 1)),
            shift=int(self.rng.integers(14, 28)),
        )
        if CONFIG.packed_keys and self.rng.random() < 0.7:
            most = self.rng.choice([1, ROWS, 2 * ROWS, 6 * ROWS])
            fields |= {"packs": 1, "out_count": int(self.rng.integers(1, most + 1))}
        return self.make(fields)

    def attend(self) -> Instruction:
        low = int(self.rng.integers(LANES))
        return self.make(
            self.base(
                Function.ATTEND,
                stationary=int(Stationary.VALUES),
                lane_low=low,
                lane_count=int(self.rng.integers(1, LANES - low + 1)),
                shift=int(self.rng.integers(4, 20)),
                dst_memory=int(self.rng.integers(2)),
            )
        )

    def route(self) -> Instruction:
        return self.make(self.base(Function.ROUTE, out_count=int(self.rng.integers(1, CONFIG.experts + 1)), group=0))


async def check(rig: Rig, makers: list[Callable[[], Instruction]], *, drain: bool, gaps: float) -> None:
    """Instructions one after the other; `drain`: each waits until the one before has retired."""
    for make in makers:
        rig.issue(make(), gaps=gaps)
        if rig.rng.random() < 0.2:
            rig.lone()
        if drain:
            await rig.drain()
            problem = rig.now.differs(rig.wanted)
            assert not problem, problem
    await rig.drain()
    problem = rig.now.differs(rig.wanted)
    assert not problem, problem


@cocotb.test()
@cocotb.parametrize(
    name=["INT8", "ADD", "scatter", "SOFTMAX", "ATTEND", "ROUTE", *(f.name for f in ACTIVATIONS), *GATED],
    gaps=[0.0, 0.4],
)
async def one_function(dut: SimHandleBase, name: str, gaps: float) -> None:
    rig = Rig(dut, len(name) + int(10 * gaps))
    await rig.start()
    maker = Maker(rig.rng)
    kinds = {
        "INT8": lambda: maker.plain(Function.INT8),
        "ADD": lambda: maker.add(False, bool(rig.rng.integers(2))),
        "scatter": lambda: maker.add(True, False),
        "SOFTMAX": maker.softmax,
        "ATTEND": maker.attend,
        "ROUTE": maker.route,
        **{function.name: partial(maker.plain, function) for function in ACTIVATIONS},
        **{name: partial(maker.gated, function) for name, function in GATED.items()},
    }
    often = 3 if CONFIG.packed_keys and name == "SOFTMAX" else 1
    await check(rig, [kinds[name]] * 7 * often, drain=True, gaps=gaps)


@cocotb.test()
async def functions_overlap(dut: SimHandleBase) -> None:
    """Instructions that do not depend on each other, with no cycle between them."""
    rig = Rig(dut, 5)
    await rig.start()
    maker = Maker(rig.rng)
    for _ in range(8):
        # Only the last two read what instructions write.
        kinds = [partial(maker.plain, function) for function in (Function.INT8, *ACTIVATIONS)]
        kinds += [partial(maker.gated, function) for function in GATED.values()]
        kinds += [maker.route, *3 * [maker.softmax]]
        batch = [kinds[int(k)] for k in rig.rng.integers(0, len(kinds), 6)]
        batch.insert(0, rig.rng.choice([maker.attend, lambda: maker.add(False, True), lambda: maker.add(True, False)]))
        await check(rig, batch, drain=False, gaps=0.0)


@cocotb.test()
async def extremes(dut: SimHandleBase) -> None:
    """Everything at its limits: saturation in every step."""
    rig = Rig(dut, 6)
    await rig.start()
    maker = Maker(rig.rng)
    limit = (1 << CONFIG.acc_bits - 1) - 1
    for kind in (
        *(partial(maker.plain, function) for function in (Function.INT8, *ACTIVATIONS)),
        *(partial(maker.gated, function) for function in GATED.values()),
        lambda: maker.add(False, True),
        lambda: maker.add(True, False),
        maker.softmax,
    ):
        for _ in range(3):
            item = kind()
            for sums in (item.acc, item.extra_acc):
                sums[:] = rig.rng.choice([-limit - 1, limit, 0, 1, -1], sums.shape)
            item.narrow_upper()
            item.bias[:] = rig.rng.choice([-(1 << 31), (1 << 31) - 1, 0], item.bias.shape)
            item.mult[:] = rig.rng.choice([0, 1, 0xFFFF], item.mult.shape)
            item.f["shift"] = int(rig.rng.choice([0, 1, 16, 40, 62]))
            rig.issue(item)
            await rig.drain()
            problem = rig.now.differs(rig.wanted)
            assert not problem, (item.f, problem)
