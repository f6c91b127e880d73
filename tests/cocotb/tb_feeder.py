"""Feeder against the instruction set's definition: every stream, gather, tap, lone operations, waits, back pressure,
queries beside packed keys.
"""

import json
import os
import random

import cocotb
import numpy as np
from bench import Bench, Sink, Source
from cocotb.handle import SimHandleBase
from rigid import pack

from moesaic.golden import numerics
from moesaic.hw.decode.operation import CONTEXTS, context_layout
from moesaic.hw.engine.feeder import QUEUE_DEPTH, Feeder
from moesaic.hw.engine.vectors import vector_layout
from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import Function, Opcode, Stationary, Stream
from moesaic.hw.spec.packing import packs
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.spec.tables import FARTHEST, inverse_of_dim

CONFIG = PRESETS["micro8"].replace(**json.loads(os.environ["CHANGES"]))
ROWS, LANES, GROUPS, TOKENS = CONFIG.rows, CONFIG.lanes, CONFIG.groups, CONFIG.max_tokens
DEPTH = 512  # words of each memory
VECTOR, CONTEXT = vector_layout(CONFIG), context_layout(CONFIG)
Fields = dict[str, int]


class Reference:
    """Memories that do not change, and what a program must send past the array."""

    def __init__(self, rng: np.random.Generator, program: list[tuple[Opcode, Fields]], counts: list[int]) -> None:
        self.activation = rng.integers(0, 256, (DEPTH, LANES))
        self.activation_low = rng.integers(0, 256, (DEPTH, LANES))
        self.residual = rng.integers(-(1 << 15), 1 << 15, (DEPTH, LANES))
        self.maxima = 60 + rng.integers(0, 40, (DEPTH, GROUPS)) ** 2 // 60
        self.state = 4 * self.maxima.max() + rng.integers(0, 100, 2 * TOKENS)
        self.extra = self._extra(rng)
        self.total = rng.integers(-200_000, 200_000, TOKENS)
        self.squares = self.total**2 // 16 + rng.integers(0, 1 << 30, TOKENS)
        self.queue_token = np.stack([rng.permutation(TOKENS) for _ in range(CONFIG.experts)])
        self.queue_score = rng.integers(0, 1 << 16, (CONFIG.experts, TOKENS))
        # Instruction, operation, vector with the extra key's probability behind it.
        self.expected: list[tuple[int, Fields, np.ndarray | None]] = []
        self.taps: list[tuple[int, int, int | None]] = []  # address, word, lower bytes
        self.contexts: list[tuple[int, int, int]] = []
        norm: Fields = {}
        rms = 0
        bank = 0
        for index, (opcode, f) in enumerate(program):
            if opcode is Opcode.NORM:
                norm = {name: f[name] for name in ("dim", "inv_dim", "inv_dim_shift", "scale", "shift", "epsilon")}
                rms = f["rms"]
            if opcode is Opcode.MATMUL:
                count = counts[f["expert"]] if f["expert_valid"] else f["token_count"]
                f = {"lane_low": 0, "lane_count": 0, **f}
                f["packs"] = int(packs(f, CONFIG))
                blocks = -(-f["out_count"] // (ROWS * (1 + f["packs"])))
                self._stream(index, f, norm, rms, count, blocks, bank)
                if count and f["stationary"] == Stationary.WEIGHTS:
                    bank = (bank + blocks) % 2
                bits = CONTEXT.const({name: f.get(name, 0) for name in CONTEXT.members}).as_bits()
                self.contexts.append((bits, int(bool(count) and f["function"] == Function.ROUTE), f.get("mark", 0)))
            else:
                count = 0
                self.contexts.append((-1, 0, f.get("mark", 0)))
            if not count:
                self.expected.append((index, {"vector": 0, "end": 1, "context": index % CONTEXTS}, None))

    def _extra(self, rng: np.random.Generator) -> np.ndarray:
        """Distance and maximum of the extra key of each state, of which some set the level, and some are far below."""
        maximum = self.state // 4 + 1 - rng.integers(0, 16, 2 * TOKENS) ** 2 // 8
        maximum[rng.random(2 * TOKENS) < 0.1] = -128
        code = rng.integers(0, 256, 2 * TOKENS)
        code[4 * maximum > self.state] |= 64  # a distance of 1 or more, so that it weighs 1 or less
        return np.stack([code, maximum], axis=1)

    def _stream(self, index: int, f: Fields, norm: Fields, rms: int, count: int, blocks: int, bank: int) -> None:
        slots = np.arange(count)
        tokens = self.queue_token[f["expert"]][:count] if f["expert_valid"] else f["token_base"] + slots
        rows = tokens if f["expert_valid"] and f["gather"] else slots
        for block in range(blocks):
            stationary_planes = 1 + f.get("wide_stationary", 0)
            for ib in range(f["in_blocks"]):
                # Passes over the inputs: for each plane of the stream one for each plane of the stationary side.
                number, word = divmod(ib, f["shift_block"] or f["in_blocks"])
                plane = number // stationary_planes
                address = f["src_addr"] + rows * f["src_stride"] + word
                if f["stream"] == Stream.ACTIVATION:
                    x = (self.activation_low if plane else self.activation)[address].astype(np.int64)
                    x = x - 256 * (x > 127)
                    if f["packs"]:  # the head's half of the word, twice
                        first = 0 if f["lane_low"] < LANES // 2 else LANES // 2
                        x = np.tile(x[:, first : first + LANES // 2], 2)
                elif f["stream"] == Stream.NORMALISED:
                    sums = self.total[tokens % TOKENS], self.squares[tokens % TOKENS]  # as the rig answers
                    n = numerics.layernorm(self.residual[address], *sums, rms=rms, **norm)
                    x = numerics.norm_planes(n)[plane] if f["wide_stream"] else numerics.norm_streamed(n)
                else:
                    lag = self.state[tokens][:, None, None] - 4 * self.maxima[address][:, :, None]
                    lag[:, ROWS * (word * GROUPS + np.arange(GROUPS)) >= f["key_count"]] = FARTHEST
                    codes = self.activation[address].reshape(count, GROUPS, ROWS)
                    x = numerics.probability(codes, lag, bits=CONFIG.probability_width).reshape(count, LANES)
                of_extra = np.zeros(count, np.int64)
                if f.get("extra") and ib == 0 and f["stream"] == Stream.PROBABILITY:
                    code, maximum = self.extra[tokens].T
                    lag = self.state[tokens] - 4 * maximum
                    of_extra = numerics.probability(code, lag, bits=CONFIG.probability_width)
                for slot in slots.tolist():
                    if f["tap"] and block == 0 and number == 0:
                        place, value = f["tap_addr"] + slot * (f["shift_block"] or f["in_blocks"]) + ib, n[slot]
                        upper = value + 128 >> 8
                        tapped = (
                            (pack(upper, 8), pack(value - 256 * upper, 8))
                            if f.get("wide_result")
                            else (pack(value >> 5, 8), None)
                        )
                        self.taps.append((place, *tapped))
                    last, end = slot == count - 1, ib == f["in_blocks"] - 1
                    operation = {
                        "vector": 1,
                        "end": int(last and end and block == blocks - 1),
                        "context": index % CONTEXTS,
                        "slot": slot,
                        "token": int(tokens[slot]),
                        "block": block,
                        "pass_first": int(slot == 0),
                        "slot_first": int(slot == 0),
                        "slot_last": int(last),
                        "acc_first": int(ib == 0),
                        "acc_last": int(end),
                        "acc_shift": int(number % 2 and word == 0),
                        "block_end": int(last and end),
                        "block_final": int(block == blocks - 1),
                        "weights": int(f["stationary"] == Stationary.WEIGHTS),
                        "attention": int(f["stationary"] != Stationary.WEIGHTS),
                        "attend": int(f["function"] == Function.ATTEND),
                        "extra": int(f.get("extra", 0) and not (ib if f["stationary"] == Stationary.VALUES else block)),
                    }
                    if f["stationary"] == Stationary.WEIGHTS:
                        operation["bank"] = (bank + block) % 2
                    if f["expert_valid"]:
                        operation["score"] = int(self.queue_score[f["expert"]][slot])
                    self.expected.append((index, operation, np.append(x[slot], of_extra[slot])))


class Rig:
    """The feeder between instructions, memories, array and retirement."""

    def __init__(
        self,
        dut: SimHandleBase,
        seed: int,
        program: list[tuple[Opcode, Fields]],
        counts: list[int],
        *,
        take: float = 1.0,
        retire: float = 1.0,
        hold: float = 0.0,
    ) -> None:
        self.rng, self.retire, self.hold, self.program = random.Random(seed), retire, hold, program
        self.held = [0] * (Feeder.RESIDUAL_AT + 1)  # whether the residual must be left alone, now and in time to come
        self.reference = Reference(np.random.default_rng(seed), program, counts)
        self.bench = Bench(dut)
        self.source = Source(self.bench, "i", rng=self.rng)
        self.sink = Sink(self.bench, "o", rng=self.rng, chance=take)
        self.counts = sum(count << 13 * e for e, count in enumerate(counts))
        for index, (opcode, fields) in enumerate(program):
            self.source.items.append(int.from_bytes(isa.encode(opcode, fields), "little") << 24 | index)
        self.copies = sum(opcode is Opcode.COPY for opcode, _ in program)
        self.copied = self.retired = self.ended = self.checked = self.contexts = self.taps = self.tap_due = 0
        self.next: dict[str, int] = {}
        self.asked: int | None = None  # word of maxima, in the cycle before
        self.bench.add(self)

    async def start(self) -> None:
        await self.bench.start(
            i__valid=0,
            i__payload=0,
            o__ready=0,
            retired=0,
            copies=0,
            counts=self.counts,
            hold=0,
            queue__data=0,
            activation__data=0,
            maxima__data=0,
            state__data=0,
            residual__data=0,
            sums__data=0,
            **({"extra__data": 0} if CONFIG.extra_key else {}),
        )

    def drive(self) -> None:
        if self.copied < self.copies and self.rng.random() < 0.05:
            self.copied += 1
        self.bench.set("copies", self.copied % 256)
        if self.retired < self.ended and self.rng.random() < self.retire:
            self.retired += 1
        self.bench.set("retired", self.retired)
        self.held = [*self.held[1:], int(self.rng.random() < self.hold)]
        self.bench.set("hold", self.held[-1])
        for name, value in self.next.items():
            self.bench.set(name, value)

    def observe(self) -> None:
        get, r = self.bench.get, self.reference
        expert, slot = get("queue__address") % 64 % CONFIG.experts, (get("queue__address") >> 6) % TOKENS
        activation, low = get("activation__address") % (1 << 16) % DEPTH, get("activation__address") >> 16
        token = get("sums__address") % TOKENS
        self.next = {
            "queue__data": int(r.queue_token[expert, slot]) | int(r.queue_score[expert, slot]) << 12,
            "state__data": int(r.state[get("state__address") % (2 * TOKENS)]) & 2047,
            "sums__data": int(r.total[token]) & (1 << 28) - 1 | int(r.squares[token]) << 28,
        }
        if CONFIG.extra_key and get("extra__enable"):
            code, maximum = r.extra[get("extra__address") % (2 * TOKENS)].tolist()
            self.next["extra__data"] = code | (maximum & 511) << 8
        earlier, self.asked = self.asked, get("maxima__address") if get("maxima__enable") else None
        if self.asked is not None:
            self.next["maxima__data"] = pack(r.maxima[self.asked % DEPTH], 9)
        assert (earlier is not None) == get("activation__enable"), "maxima are read a cycle earlier"
        if get("activation__enable"):
            assert earlier == get("activation__address") % (1 << 16)
            self.next["activation__data"] = pack((r.activation_low if low else r.activation)[activation], 8)
        if get("residual__enable"):
            assert not self.held[0], "the write-back reads the residual in this cycle"
            self.next["residual__data"] = pack(r.residual[get("residual__address")], 16)
        if get("context__mask"):
            index = self.contexts
            bits, route, mark = r.contexts[index]
            wait = self.program[index][1].get("feed_wait", 0)
            assert not wait or self.retired > index - wait, f"instruction {index} did not wait"
            assert index - self.retired < CONTEXTS and get("context__address") == index % CONTEXTS
            assert bits < 0 or get("context__data") == bits, index
            assert (get("retirement__mask"), get("retirement__address")) == (1, index % CONTEXTS)
            assert get("retirement__data") == route | mark << 1, index
            self.contexts += 1
        assert get("tap__write") == self.tap_due
        self.tap_due = get("tap__due")
        if get("tap__write"):
            address, word, low = r.taps[self.taps]
            assert (get("tap__address"), get("tap__data")) == (address, word), self.taps
            assert low is None or get("tap__low") == low, self.taps
            self.taps += 1
        while self.checked < len(self.sink.got):
            self._check(*r.expected[self.checked])
            self.checked += 1

    def _check(self, index: int, operation: Fields, vector: np.ndarray | None) -> None:
        payload = VECTOR.from_bits(self.sink.got[self.checked][1])
        got = {name: int(payload.op[name]) for name in operation}
        assert got == operation, (index, self.program[index], got, operation)
        assert index < self.contexts, "the context must be there first"
        if vector is not None:
            where = index, self.program[index], got, vector.tolist()
            assert [int(payload.x[lane]) for lane in range(LANES)] == vector[:LANES].tolist(), where
            likely = self.program[index][1]["stream"] == Stream.PROBABILITY
            if likely:
                assert int(payload.total) == vector.sum() % (1 << CONFIG.total_bits), where
            if CONFIG.extra_key and (likely or not operation["extra"]):
                assert int(payload.extra) == vector[LANES], where
        self.ended += operation["end"]

    async def run(self) -> None:
        """To the end; nothing more may come."""
        await self.start()
        limit = 1000 + 100 * len(self.program) + 12 * len(self.reference.expected)
        await self.bench.until(lambda: self.retired == len(self.program), limit)
        await self.bench.step(40)
        assert self.checked == len(self.reference.expected) and self.contexts == len(self.program)
        assert self.taps == len(self.reference.taps)


def random_norm(rng: random.Random) -> Fields:
    scale = rng.randrange(1 << 15, 1 << 16)
    return {
        "dim": 16,
        **dict(zip(("inv_dim", "inv_dim_shift"), inverse_of_dim(16), strict=True)),
        "scale": scale,
        "shift": rng.randrange(8, 14),
        "epsilon": rng.randrange(1, 1 << 20),
        "rms": rng.randrange(2),
    }


def random_head(rng: random.Random) -> Fields:
    """Keys that mostly are in one half of the lanes."""
    low, half = rng.randrange(LANES), LANES // 2
    return {
        "lane_low": low,
        "lane_count": rng.randrange(1, half - low % half + 1 if rng.random() < 0.8 else LANES - low + 1),
        "in_blocks": rng.choice((1, 1, 1, 2)),
        "out_count": rng.choice((1, 2 * ROWS, 2 * ROWS + 1, rng.randrange(1, 6 * ROWS + 1))),
        "stream": rng.choice((Stream.ACTIVATION,) * 5 + (Stream.NORMALISED,)),
    }


def random_program(rng: random.Random, length: int) -> list[tuple[Opcode, Fields]]:
    program: list[tuple[Opcode, Fields]] = [(Opcode.NORM, random_norm(rng))]
    for index in range(1, length):
        wait = rng.choice((0, 0, 0, 1, 2, 6))
        head = {"feed_wait": wait if wait <= index else 0, "mark": rng.randrange(2)}
        more = ("keys",) * 3 * CONFIG.packed_keys
        kind = rng.choice(("norm", "copy", "plain", "plain", "expert", "expert", "keys", "values", *more))
        if kind == "norm":
            program.append((Opcode.NORM, {**head, **random_norm(rng)}))
            continue
        if kind == "copy":
            program.append((Opcode.COPY, {**head, "memory": 0, "addr": 1, "words": 1}))
            continue
        count = rng.choice((1, 2, rng.randrange(1, TOKENS + 1)))
        f = {
            **head,
            "expert_valid": 0,
            "expert": 0,
            "gather": 0,
            "stationary": Stationary.WEIGHTS,
            "function": rng.randrange(3),
            "stream": rng.choice((Stream.ACTIVATION, Stream.NORMALISED)),
            "out_count": rng.randrange(1, 2 * ROWS + 1),
            "in_blocks": rng.randrange(1, 4),
            "token_count": count,
            "token_base": rng.randrange(TOKENS - count + 1),
            "src_addr": rng.randrange(100),
            "src_stride": rng.randrange(5),
            "tap": 0,
            "tap_addr": 0,
            "shift_block": 0,
            "wide_stream": 0,
            "dst_addr": rng.randrange(1 << 16),
            "scalar": rng.randrange(1 << 16),
            "shift": rng.randrange(64),
            "group": rng.randrange(GROUPS),
        }
        if kind == "expert":
            f |= {
                "expert_valid": 1,
                "expert": rng.randrange(CONFIG.experts),
                "gather": rng.randrange(2),
                "token_count": 0,
                "token_base": 0,
            }
        elif kind == "keys":
            f |= {
                "stationary": Stationary.KEYS,
                "function": Function.SOFTMAX,
                "lane_count": LANES,
                "token_base": rng.randrange(2 * TOKENS - count + 1),
                "stream": Stream.ACTIVATION,
            }
            if CONFIG.packed_keys:
                f |= random_head(rng)
        elif kind == "values":
            f |= {
                "stationary": Stationary.VALUES,
                "function": Function.ATTEND,
                "stream": Stream.PROBABILITY,
                "key_count": f["in_blocks"] * LANES - rng.randrange(LANES),
                "token_base": rng.randrange(2 * TOKENS - count + 1),
            }
        elif f["stream"] == Stream.NORMALISED and rng.random() < 0.7:
            f |= {"function": Function.ROUTE, "top_k": 1, "tap": 1, "tap_addr": rng.randrange(1000)}
        split = f["stream"] == Stream.NORMALISED or (CONFIG.wide_operands and f["stream"] == Stream.ACTIVATION)
        wide = {"wide_stream": int(split and rng.random() < 0.5)}
        if CONFIG.wide_operands:
            wide |= {"wide_stationary": rng.randrange(2), "wide_result": int(f["tap"] and rng.randrange(2))}
        if any(wide.values()):
            passes = (1 + wide["wide_stream"]) * (1 + wide.get("wide_stationary", 0))
            f |= {**wide, "shift_block": f["in_blocks"] if passes > 1 else 0, "in_blocks": passes * f["in_blocks"]}
        elif CONFIG.extra_key and kind in ("keys", "values"):
            f["extra"] = rng.randrange(2)
        program.append((Opcode.MATMUL, f))
    return program


@cocotb.test()
@cocotb.parametrize(pace=["fast", "slow array", "slow retirement", "both slow"])
async def random_programs(dut: SimHandleBase, pace: str) -> None:
    chances = {
        "fast": {"hold": 0.2},
        "slow array": {"take": 0.25, "hold": 0.05},
        "slow retirement": {"retire": 0.02, "hold": 0.5},
        "both slow": {"take": 0.5, "retire": 0.05},
    }[pace]
    rng = random.Random(pace)
    counts = [rng.choice((0, 1, 2, rng.randrange(TOKENS + 1))) for _ in range(CONFIG.experts)]
    counts[0] = 0
    rig = Rig(dut, 3, random_program(rng, 70), counts, **chances)
    await rig.run()
    assert rig.taps
    if CONFIG.packed_keys:
        heads = [f for _, f in rig.program if f.get("stationary") == Stationary.KEYS]
        assert len({(packs(f, CONFIG), f["lane_low"] >= LANES // 2) for f in heads}) == 4


@cocotb.test()
async def one_vector_per_cycle(dut: SimHandleBase) -> None:
    """Whatever the stream, and from one block and one instruction to the next after a few cycles."""
    head = {
        "expert_valid": 0,
        "expert": 0,
        "gather": 0,
        "tap": 0,
        "shift_block": 0,
        "wide_stream": 0,
        "stationary": 0,
        "function": 0,
    }
    matmul = {
        **head,
        "out_count": 3 * ROWS,
        "in_blocks": 4,
        "token_count": TOKENS,
        "token_base": 0,
        "src_addr": 0,
        "src_stride": 4,
    }
    kinds = (Stream.ACTIVATION, Stream.NORMALISED, Stream.ACTIVATION)
    program = [
        (Opcode.NORM, random_norm(random.Random(1))),
        *((Opcode.MATMUL, {**matmul, "stream": kind}) for kind in kinds),
    ]
    rig = Rig(dut, 4, program, [0] * CONFIG.experts)
    await rig.run()
    cycles = [cycle for cycle, _ in rig.sink.got][1:]
    each = 12 * TOKENS
    for k in range(3):
        mine = cycles[k * each : (k + 1) * each]
        assert mine == list(range(mine[0], mine[0] + each))
        if k:
            assert mine[0] - cycles[k * each - 1] <= 4


@cocotb.test()
async def the_queue_runs_ahead(dut: SimHandleBase) -> None:
    """An array that does not take vectors stops the reads, not more than a queue ahead."""
    matmul = {
        "expert_valid": 0,
        "expert": 0,
        "gather": 0,
        "tap": 0,
        "shift_block": 0,
        "wide_stream": 0,
        "stationary": 0,
        "function": 0,
        "stream": 0,
        "out_count": 3 * ROWS,
        "in_blocks": 4,
        "token_count": TOKENS,
        "token_base": 0,
        "src_addr": 0,
        "src_stride": 4,
    }
    rig = Rig(dut, 5, [(Opcode.MATMUL, matmul)], [0] * CONFIG.experts, take=0.0)
    await rig.start()
    reads = 0
    for _ in range(4 * QUEUE_DEPTH):
        await rig.bench.step()
        reads += rig.bench.get("activation__enable")
    assert reads == QUEUE_DEPTH
