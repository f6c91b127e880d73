"""Loader against the instruction set's definition: blocks, parameters, copies, drops and waits, whatever the timing."""

import json
import os
import random
from collections import deque

import cocotb
import numpy as np
from bench import Bench, Source
from cocotb.handle import SimHandleBase

from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import Memory, Opcode, Stationary, Stream
from moesaic.hw.spec.packing import packs
from moesaic.hw.spec.presets import PRESETS

CONFIG = PRESETS["micro8"].replace(**json.loads(os.environ["CHANGES"]))
ROWS, LANES, LOAD_ROWS, GROUPS = CONFIG.rows, CONFIG.lanes, CONFIG.load_rows, CONFIG.groups
KV_WORDS = 512
Fields = dict[str, int]


class Reference:
    """What a program must do: blocks in order, parameters, words taken, keys read, copies, drops."""

    def __init__(self, rng: np.random.Generator, program: list[tuple[Opcode, Fields]], counts: list[int]) -> None:
        self.rng, self.counts = rng, counts
        self.kv = rng.integers(0, 256, (2, KV_WORDS, LANES)).astype(np.uint8)  # upper and lower bytes
        self.words: list[bytes] = []
        self.word_owner: list[int] = []
        self.dropped: set[int] = set()  # words that only a skip may remove
        self.blocks: list[np.ndarray] = []
        self.block_owner: list[int] = []
        self.extras: dict[int, tuple[int, np.ndarray]] = {}  # by block: as a value, and its bytes
        self.block_ends: list[bool] = []  # the parameters are needed up to this block
        self.parameters: list[int] = []
        self.reads: list[tuple[int, int]] = []  # plane, address
        self.read_owner: list[int] = []
        self.copies: list[tuple[int, int, int]] = []
        self.skips: list[int] = []
        self.left = [0] * len(program)  # events that an instruction still owes
        for index, (opcode, fields) in enumerate(program):
            if opcode is Opcode.COPY:
                self._copy(index, fields)
            elif fields.get("expert_valid") and not counts[fields["expert"]]:
                if fields.get("speculative"):
                    self._drop(index, fields)
            elif fields["stationary"] == Stationary.WEIGHTS:
                self._weights(index, fields)
            else:
                self._attention(index, fields)

    def _take(self, index: int) -> bytes:
        word = self.rng.integers(0, 256, CONFIG.word_bytes).astype(np.uint8).tobytes()
        self.words.append(word)
        self.word_owner.append(index)
        return word

    def _block(self, index: int, block: np.ndarray, ends: bool) -> None:
        self.blocks.append(block)
        self.block_owner.append(index)
        self.block_ends.append(ends)
        self.left[index] += 1

    def _weights(self, index: int, f: Fields) -> None:
        for _ in range(-(-f["out_count"] // ROWS)):
            data = b"".join(self._take(index) for _ in range(CONFIG.param_words))
            self.parameters.append(int.from_bytes(data[: 6 * ROWS], "little"))
            narrow = f.get("narrow", 0)
            for block in range(f["in_blocks"]):
                rows = b"".join(self._take(index) for _ in range(CONFIG.block_words >> narrow))
                block_rows = np.frombuffer(rows, np.uint8).reshape(-1, LANES)
                if narrow:  # load_rows rows of low nibbles, load_rows rows of high nibbles, and so on
                    words = block_rows.reshape(-1, 1, LOAD_ROWS, LANES)
                    pairs = np.concatenate([words % 16, words // 16], axis=1).astype(np.int16)
                    block_rows = np.where(pairs > 7, pairs - 16, pairs).astype(np.int8).view(np.uint8)
                self._block(index, block_rows.reshape(ROWS, LANES), block == f["in_blocks"] - 1)

    def _read(self, index: int, plane: int, address: int) -> np.ndarray:
        self.reads.append((plane, address))
        self.read_owner.append(index)
        return self.kv[plane, address]

    def _attention(self, index: int, f: Fields) -> None:
        lanes = np.arange(LANES)
        inside = (lanes >= f["lane_low"]) & (lanes < f["lane_low"] + f["lane_count"])
        packed = packs(f, CONFIG)
        size = ROWS * (1 + packed)  # outputs of a block
        for ob in range(-(-f["out_count"] // size)):
            for number in range(f["in_blocks"]):
                plane, ib = divmod(number, f.get("shift_block", 0) or f["in_blocks"])
                plane = plane % 2 if f.get("wide_stationary") else 0
                block = np.zeros((ROWS, LANES), np.uint8)
                keys = f["stationary"] == Stationary.KEYS
                if f.get("extra") and (ob == 0 if keys else number == 0):
                    self._extra(index, f, ob, ib, inside)
                if keys:
                    for k in range(min(size, f["out_count"] - ob * size)):
                        word = self._read(index, plane, f["kv_addr"] + (ob * size + k) * f["kv_stride"] + ib)
                        if packed:  # two keys in a row, whichever half of their words the head is in
                            half = np.where(inside, word, 0).reshape(2, -1).max(axis=0)
                            block[k // 2].reshape(2, -1)[k % 2] = half
                        else:
                            block[k] = np.where(inside, word, 0)
                else:
                    word_number, part = divmod(f["group"] + ob, GROUPS)
                    for lane in range(min(LANES, f["key_count"] - ib * LANES)):
                        address = f["kv_addr"] + (ib * LANES + lane) * f["kv_stride"] + word_number
                        word = self._read(index, plane, address)
                        block[:, lane] = word[part * ROWS : (part + 1) * ROWS]
                self._block(index, block, ends=False)

    def _extra(self, index: int, f: Fields, ob: int, ib: int, inside: np.ndarray) -> None:
        """The key behind the others, before the first of them."""
        if f["stationary"] == Stationary.KEYS:
            word = self._read(index, 0, f["kv_addr"] + f["out_count"] * f["kv_stride"] + ib)
            self.extras[len(self.blocks)] = 0, np.where(inside, word, 0)
        else:
            word_number, part = divmod(f["group"] + ob, GROUPS)
            word = self._read(index, 0, f["kv_addr"] + f["key_count"] * f["kv_stride"] + word_number)
            self.extras[len(self.blocks)] = 1, word[part * ROWS : (part + 1) * ROWS]

    def _copy(self, index: int, f: Fields) -> None:
        size = LANES * (2 if f["memory"] == Memory.RESIDUAL else 1)
        data = b"".join(self._take(index) for _ in range(f["words"]))
        for k in range(len(data) // size):
            value = int.from_bytes(data[k * size : (k + 1) * size], "little")
            self.copies.append((f["memory"], f["addr"] + k, value))
        self.left[index] += len(data) // size

    def _drop(self, index: int, f: Fields) -> None:
        count = -(-f["out_count"] // ROWS) * (
            CONFIG.param_words + f["in_blocks"] * (CONFIG.block_words >> f.get("narrow", 0))
        )
        for _ in range(count):
            self.dropped.add(len(self.words))
            self._take(index)
        self.skips.append(count)
        self.left[index] += 1


class Rig:
    """Everything around the loader: weight stream, key/value memory, array, write-back, retirement."""

    def __init__(
        self,
        dut: SimHandleBase,
        seed: int,
        program: list[tuple[Opcode, Fields]],
        *,
        give: float = 1.0,
        swap: float = 1.0,
        release: float = 1.0,
        retire: float = 1.0,
        copy: float = 1.0,
        empty: tuple[int, ...] = (),
    ) -> None:
        self.rng = random.Random(seed)
        self.give, self.swap, self.release, self.retire, self.copy = give, swap, release, retire, copy
        counts = [0 if e in empty else 1 + self.rng.randrange(9) for e in range(CONFIG.experts)]
        self.program, self.reference = program, Reference(np.random.default_rng(seed), program, counts)
        self.bench = Bench(dut)
        self.source = Source(self.bench, "i", rng=self.rng, chance=max(give, 0.3))
        for index, (opcode, fields) in enumerate(program):
            word = int.from_bytes(isa.encode(opcode, fields), "little")
            self.source.items.append(word << 24 | index)
        self.bench.add(self)
        self.counts = sum(count << 13 * e for e, count in enumerate(counts))
        self.shadow = np.zeros((ROWS, LANES), np.uint8)
        self.extra: tuple[int, np.ndarray] | None = None  # loaded since the last exchange
        self.position = self.retired = self.blocks = self.reads = self.copied = self.skips = self.banks = self.freed = 0
        self.taking = self.complete = False  # the array takes the block; every row of it has been loaded
        self.valid = self.swapping = self.releasing = self.skip_ready = self.copy_ready = False
        self.pending: tuple[int, int] | None = None
        self.finished: deque[int] = deque()  # output blocks whose parameters may be released
        self.swaps: list[int] = []

    async def start(self) -> None:
        await self.bench.start(
            i__valid=0,
            i__payload=0,
            retired=0,
            counts=self.counts,
            weights__valid=0,
            weights__payload=0,
            skip__ready=0,
            kv__data=0,
            swap=0,
            release=0,
            copy__ready=0,
        )

    def drive(self) -> None:
        bench, rng = self.bench, self.rng
        skipping = bool(bench.get("skip__valid"))
        if skipping:
            self.valid = False
        elif not self.valid:
            self.valid = self.position < len(self.reference.words) and rng.random() < self.give
        bench.set("weights__valid", int(self.valid))
        noise = rng.getrandbits(8 * CONFIG.word_bytes)
        bench.set(
            "weights__payload", int.from_bytes(self.reference.words[self.position], "little") if self.valid else noise
        )
        self.skip_ready = skipping and rng.random() < self.give
        bench.set("skip__ready", int(self.skip_ready))
        data = noise if self.pending is None else int.from_bytes(self.reference.kv[self.pending].tobytes(), "little")
        bench.set("kv__data", data & (1 << 8 * LANES) - 1)
        # The array takes the block in this cycle, and says so in the next.
        self.swapping = self.taking
        self.taking = bool(bench.get("full")) and not self.swapping and rng.random() < self.swap
        bench.set("swap", int(self.swapping))
        self.releasing = bool(self.finished) and rng.random() < self.release
        bench.set("release", int(self.releasing))
        self.copy_ready = rng.random() < self.copy
        bench.set("copy__ready", int(self.copy_ready))
        while self.retired < len(self.program) and not self.reference.left[self.retired] and rng.random() < self.retire:
            self.retired += 1
        bench.set("retired", self.retired)

    def may_load(self, index: int) -> None:
        """Nothing of an instruction may be loaded before its wait is over."""
        wait = self.program[index][1].get("load_wait", 0)
        assert not wait or self.retired > index - wait, f"instruction {index} did not wait"

    def observe(self) -> None:
        get, reference = self.bench.get, self.reference
        assert get("busy") + get("starved") + get("blocked") <= 1
        if self.swapping:
            expected = reference.blocks[self.blocks]
            assert np.array_equal(self.shadow, expected), (self.blocks, self.shadow.tolist(), expected.tolist())
            wanted, got = reference.extras.get(self.blocks), self.extra
            assert (got is None) == (wanted is None), self.blocks
            assert wanted is None or (got[0] == wanted[0] and np.array_equal(got[1], wanted[1])), (got, wanted)
            self.extra = None
            owner = reference.block_owner[self.blocks]
            reference.left[owner] -= 1
            if reference.block_ends[self.blocks]:
                self.finished.append(self.banks)
                self.banks += 1
            self.blocks += 1
            self.swaps.append(self.bench.cycle)
        if self.releasing:
            number = self.finished.popleft()
            bits = 48 * ROWS
            assert get("parameters") >> number % 2 * bits & (1 << bits) - 1 == reference.parameters[number], number
            self.freed += 1
        self._fill()
        if CONFIG.extra_key and get("extra__load"):
            assert self.extra is None and (self.swapping or not self.complete), "an extra key was overwritten"
            name, size = ("column", ROWS) if get("extra__values") else ("key", LANES)
            data = np.frombuffer(get(f"extra__{name}").to_bytes(size, "little"), np.uint8)
            self.extra = get("extra__values"), data
        self.complete = bool(get("full")) and not self.swapping
        self.pending = None
        if get("kv__enable"):
            self.pending = get("kv__address") >> 16, get("kv__address") % (1 << 16)
            assert self.pending == reference.reads[self.reads], (self.reads, self.pending)
            self.may_load(reference.read_owner[self.reads])
            self.reads += 1
        if get("copy__valid") and self.copy_ready:
            memory, address, value = reference.copies[self.copied]
            mask = (1 << (16 if memory == Memory.RESIDUAL else 8) * LANES) - 1
            payload = get("copy__payload")
            wanted = memory | address << 2 | value << 19
            assert payload & ((1 << 19) - 1 | mask << 19) == wanted, (self.copied, hex(payload))
            self.may_load(reference.word_owner[self.position])
            reference.left[reference.word_owner[self.position]] -= 1
            self.copied += 1
        if self.valid and get("weights__ready"):
            assert self.position not in reference.dropped, "this word was to be dropped"
            self.may_load(reference.word_owner[self.position])
            self.position += 1
            self.valid = False
        if self.skip_ready and get("skip__valid"):
            count = reference.skips[self.skips]
            assert get("skip__payload") == count and self.position in reference.dropped
            self.may_load(reference.word_owner[self.position])
            reference.left[reference.word_owner[self.position]] -= 1
            self.position += count
            self.skips += 1

    def _fill(self) -> None:
        """The shadow block as the array keeps it."""
        get = self.bench.get
        word_load, key_load, lane_load, clear = (
            get("fill__word_load"),
            get("fill__key_load"),
            get("fill__lane_load"),
            get("fill__clear"),
        )
        assert bool(word_load) + bool(key_load) + lane_load + clear <= 1
        goes = bool(key_load or lane_load)
        if CONFIG.packed_keys and not goes:  # the first key of a row waits for the second
            goes = bool(get("fill__key_valid"))
        assert get("fill__key_valid") == goes, "a key on offer goes somewhere"
        if not (word_load or key_load or lane_load or clear):
            return
        assert self.swapping or not self.complete, "a complete block was overwritten"
        self.shadow = self.shadow.copy()
        if word_load:
            rows = np.frombuffer(get("fill__word").to_bytes(CONFIG.word_bytes, "little"), np.uint8).reshape(
                LOAD_ROWS, LANES
            )
            places = [place for place in range(ROWS // LOAD_ROWS) if word_load >> place & 1]
            assert len(places) == 1 + get("fill__narrow") and places[-1] - places[0] == get("fill__narrow")
            for place in places:
                if get("fill__narrow"):  # even places take low nibbles, odd ones high nibbles
                    nibbles = (rows.view(np.int8) >> 4 if place % 2 else rows.view(np.int8) << 4 >> 4).view(np.uint8)
                self.shadow[place * LOAD_ROWS : (place + 1) * LOAD_ROWS] = nibbles if get("fill__narrow") else rows
        elif key_load:
            assert key_load & (key_load - 1) == 0
            self.shadow[key_load.bit_length() - 1] = np.frombuffer(get("fill__key").to_bytes(LANES, "little"), np.uint8)
        elif lane_load:
            self.shadow[:, get("fill__lane")] = np.frombuffer(get("fill__column").to_bytes(ROWS, "little"), np.uint8)
        else:
            self.shadow[:] = 0

    def done(self) -> bool:
        return (
            self.retired == len(self.program) and self.freed == len(self.reference.parameters) and not self.source.items
        )

    async def run(self) -> None:
        """To the end; nothing may be left, and nothing more may happen."""
        reference = self.reference
        await self.start()
        limit = 500 + 60 * (len(reference.words) + len(reference.reads) + len(self.program))
        await self.bench.until(self.done, limit)
        await self.bench.step(20)
        assert self.blocks == len(reference.blocks) and self.reads == len(reference.reads)
        assert self.copied == len(reference.copies) and self.skips == len(reference.skips)
        assert self.position == len(reference.words)
        wanted = sum(opcode is Opcode.COPY for opcode, _ in self.program)
        assert self.bench.get("copies") == wanted % 256


def random_program(rng: random.Random, length: int) -> list[tuple[Opcode, Fields]]:
    """Instructions of all kinds; blocks that are not full, heads that do not fill a word, waits."""
    program: list[tuple[Opcode, Fields]] = []
    for index in range(length):
        wait = rng.choice((0, 0, 1, 2, 5))
        head = {"load_wait": wait if wait <= index else 0}
        more = ("keys",) * 5 * CONFIG.packed_keys
        kind = rng.choice(("weights", "weights", "keys", "values", "copy", "expert", "expert", *more))
        if kind == "copy":
            memory = rng.choice((Memory.ACTIVATION, Memory.RESIDUAL))
            program.append(
                (Opcode.COPY, {**head, "memory": memory, "addr": rng.randrange(500), "words": rng.randrange(1, 6)})
            )
            continue
        fields = {
            **head,
            "stationary": Stationary.WEIGHTS,
            "out_count": rng.randrange(1, 3 * ROWS + 1),
            "in_blocks": rng.randrange(1, 4),
        }
        if CONFIG.narrow_weights and kind in ("weights", "expert"):
            fields["narrow"] = rng.randrange(2)
        if kind == "expert":
            fields |= {"expert_valid": 1, "expert": rng.randrange(CONFIG.experts), "speculative": rng.randrange(2)}
        elif kind in ("keys", "values"):
            low = rng.randrange(LANES)
            fields |= {
                "lane_low": low,
                "lane_count": rng.randrange(1, LANES - low + 1),
                "kv_addr": rng.randrange(100),
                "kv_stride": rng.randrange(4),
            }
            if kind == "keys":
                fields |= {"stationary": Stationary.KEYS}
                if CONFIG.packed_keys:
                    fields |= {
                        "stream": rng.choice((Stream.ACTIVATION,) * 5 + (Stream.NORMALISED,)),
                        "in_blocks": rng.choice((1, 1, 1, 2)),
                        "out_count": rng.choice((1, 2, 2 * ROWS, 2 * ROWS + 1, rng.randrange(1, 6 * ROWS + 1))),
                        "group": rng.randrange(GROUPS),
                    }
                    half = LANES // 2
                    if rng.random() < 0.8:
                        fields |= {"lane_low": low, "lane_count": rng.randrange(1, half - low % half + 1)}
            else:
                keys = rng.randrange(1, 3 * LANES + 1)
                fields |= {
                    "stationary": Stationary.VALUES,
                    "key_count": keys,
                    "in_blocks": -(-keys // LANES),
                    "group": rng.randrange(GROUPS),
                }
            if CONFIG.extra_key and rng.random() < 0.5:
                fields |= {"extra": 1}
            elif CONFIG.wide_operands and rng.random() < 0.7:
                both = kind == "keys" and rng.randrange(2)
                blocks = fields["in_blocks"]
                fields |= {
                    "shift_block": blocks,
                    "in_blocks": (4 if both else 2) * blocks,
                    "wide_stationary": 1,
                    "wide_stream": both,
                }
        program.append((Opcode.MATMUL, fields))
    return program


@cocotb.test()
@cocotb.parametrize(pace=["fast", "slow weights", "slow array", "slow retirement", "all slow"])
async def random_programs(dut: SimHandleBase, pace: str) -> None:
    chances = {
        "fast": {},
        "slow weights": {"give": 0.2},
        "slow array": {"swap": 0.1, "release": 0.1, "copy": 0.2},
        "slow retirement": {"retire": 0.03},
        "all slow": {"give": 0.4, "swap": 0.3, "release": 0.2, "retire": 0.3, "copy": 0.5},
    }[pace]
    rng = random.Random(pace)
    program = random_program(rng, 60)
    dropped = {
        "stationary": Stationary.WEIGHTS,
        "out_count": 2 * ROWS,
        "in_blocks": 3,
        "expert_valid": 1,
        "expert": 3,
        "speculative": 1,
    }
    program += [(Opcode.MATMUL, {**dropped, "narrow": narrow}) for narrow in range(1 + CONFIG.narrow_weights)]
    rig = Rig(dut, 7, program, empty=(1, 3, 4), **chances)
    await rig.run()
    assert rig.skips and rig.copied and rig.reads
    if CONFIG.packed_keys:
        heads = [f for _, f in program if f.get("stationary") == Stationary.KEYS]
        seen = {(f["lane_low"] >= LANES // 2, f["out_count"] % 2) for f in heads if packs(f, CONFIG)}
        assert len(seen) == 4, "heads in both halves, odd and even numbers of keys"


@cocotb.test()
@cocotb.parametrize(narrow=[0, 1] if CONFIG.narrow_weights else [0])
async def blocks_without_a_gap(dut: SimHandleBase, narrow: int) -> None:
    """Words at hand and an array that takes each block at once: a word per cycle, over all boundaries."""
    fields = {"stationary": Stationary.WEIGHTS, "out_count": 3 * ROWS, "in_blocks": 6, "narrow": narrow}
    rig = Rig(dut, 8, [(Opcode.MATMUL, fields)])
    await rig.run()
    steps = [after - before for before, after in zip(rig.swaps, rig.swaps[1:], strict=False)]
    block, parameters = CONFIG.block_words >> narrow, CONFIG.param_words
    # The answer of the array takes a cycle, which a block of one word has to wait for.
    assert steps == [max(2, block + (parameters if k % 6 == 5 else 0)) for k in range(17)], steps


@cocotb.test()
@cocotb.parametrize(packed=[0, 1] if CONFIG.packed_keys else [0])
async def keys_at_one_per_cycle(dut: SimHandleBase, packed: int) -> None:
    """Whether a row has one of them or two."""
    fields = {
        "stationary": Stationary.KEYS,
        "stream": Stream.ACTIVATION,
        "out_count": 8 * ROWS,
        "in_blocks": 2 - packed,
        "kv_addr": 3,
        "kv_stride": 2,
        "lane_low": 0,
        "lane_count": LANES >> packed,
    }
    rig = Rig(dut, 9, [(Opcode.MATMUL, fields)])
    await rig.run()
    steps = [after - before for before, after in zip(rig.swaps, rig.swaps[1:], strict=False)]
    assert steps == ([2 * ROWS + 2] * 3 if packed else [ROWS + 2] * 15), steps
