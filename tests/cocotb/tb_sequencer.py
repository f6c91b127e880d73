"""Sequencer: refuses exactly what has no meaning, and hands everything else on, in order."""

import json
import os
import random

import cocotb
from bench import Bench, Sink, Source
from cocotb.handle import SimHandleBase
from meaning import meaningless

from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import INSTRUCTION_BITS, INSTRUCTION_BYTES, Opcode
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.spec.registers import ErrorCode

CONFIG = PRESETS["micro16"].replace(**json.loads(os.environ["CHANGES"]))
# Well-formed; each entry of `refused` breaks one rule.
MATMUL = {
    "stationary": 0,
    "stream": 0,
    "function": 0,
    "out_count": 20,
    "in_blocks": 2,
    "token_count": 3,
    "dst_stride": 2,
}
KEYS = {**MATMUL, "stationary": 1, "function": 3, "lane_low": 4, "lane_count": 8, "out_count": 9}
VALUES = {
    **MATMUL,
    "stationary": 2,
    "stream": 2,
    "function": 4,
    "key_count": 2 * CONFIG.lanes,
    "lane_low": 0,
    "lane_count": CONFIG.lanes,
}
ROUTE = {**MATMUL, "function": 5, "stream": 1, "out_count": CONFIG.experts, "top_k": CONFIG.max_top_k, "tap": 1}
EXPERT = {**MATMUL, "function": 2, "expert_valid": 1, "expert": CONFIG.experts - 1, "token_count": 0}
NORM = {"dim": CONFIG.max_dim, "inv_dim": 1, "scale": 1, "epsilon": 1}
COPY = {"memory": 2, "addr": 5, "words": 1}
FOUR = {"wide_stream": 1, "wide_stationary": 1, "shift_block": 2, "in_blocks": 8}  # planes that meet each other
TWO = {"wide_stationary": 1, "shift_block": 2, "in_blocks": 4}
WIDE = (
    {**MATMUL, **FOUR},
    {**MATMUL, **TWO, "wide_result": 1},
    {**MATMUL, "wide_stream": 1, "shift_block": 1},
    {**KEYS, **FOUR},
    {**VALUES, **TWO, "wide_result": 1},
    {**ROUTE, **FOUR, "wide_result": 1},
    {**EXPERT, **FOUR},
)
GATED = (
    {**MATMUL, "function": 6, "gated": 1, "out_count": CONFIG.rows + 1},
    {**MATMUL, "function": 1, "gated": 1, "out_count": 4 * CONFIG.rows},
)
GOOD = (
    *((Opcode.MATMUL, fields) for fields in WIDE if CONFIG.wide_operands),
    *((Opcode.MATMUL, {**fields, "extra": 1}) for fields in (KEYS, VALUES) if CONFIG.extra_key),
    (Opcode.MATMUL, {**ROUTE, "wide_stream": 1, "shift_block": 1}),
    (Opcode.MATMUL, MATMUL),
    (Opcode.MATMUL, KEYS),
    (Opcode.MATMUL, VALUES),
    (Opcode.MATMUL, ROUTE),
    (Opcode.MATMUL, EXPERT),
    (Opcode.NORM, NORM),
    (Opcode.COPY, COPY),
    (Opcode.COPY, {**COPY, "memory": 0}),
    (Opcode.MATMUL, {**KEYS, "token_base": CONFIG.max_tokens, "token_count": CONFIG.max_tokens}),
    (Opcode.MATMUL, {**VALUES, "key_count": CONFIG.lanes + 1}),
    (Opcode.MATMUL, {**MATMUL, "function": 2, "dst_memory": 2}),
    (Opcode.MATMUL, {**MATMUL, "dst_memory": 1}),
    (Opcode.MATMUL, {**MATMUL, "function": 6}),
    *((Opcode.MATMUL, fields) for fields in GATED if CONFIG.gated_mlp),
    (Opcode.MATMUL, {**MATMUL, "function": 7}),
    *((Opcode.MATMUL, {**MATMUL, "function": f}) for f, offered in ((8, CONFIG.silu), (9, CONFIG.sigmoid)) if offered),
    (Opcode.MATMUL, {**EXPERT, "narrow": int(CONFIG.narrow_weights)}),
    (Opcode.MATMUL, {**MATMUL, "group": CONFIG.groups - 1, "token_base": CONFIG.max_tokens - 3}),
)


def refused() -> list[tuple[Opcode, dict[str, int]]]:
    """One instruction for every way a field can be wrong."""
    lanes, tokens = CONFIG.lanes, CONFIG.max_tokens
    matmul = [
        {**MATMUL, **change}
        for change in (
            {"stationary": 3},
            {"stationary": 1},
            {"stationary": 2},
            {"stream": 3},
            {"stream": 2},
            {"function": 10},
            {"gated": 1, "out_count": 2 * CONFIG.rows},
            {"gated": 1, "function": 7, "out_count": 2 * CONFIG.rows},
            {"gated": 1, "function": 6, "out_count": CONFIG.rows},
            {"gated": 1, "function": 6, "out_count": 2 * CONFIG.rows + 1},
            *([] if CONFIG.gated_mlp else [{"gated": 1, "function": 6, "out_count": 2 * CONFIG.rows}]),
            {"function": 15},
            *({"function": f} for f, offered in ((8, CONFIG.silu), (9, CONFIG.sigmoid)) if not offered),
            {"function": 3},
            {"function": 4},
            {"dst_memory": 2},
            {"dst_memory": 3},
            {"out_count": 0},
            {"in_blocks": 0},
            {"group": CONFIG.groups},
            {"token_count": 0},
            {"token_count": tokens + 1},
            {"token_base": tokens - 2},
            {"tap": 1},
            {"tap": 1, "stream": 1},
            {"tap": 1, "dst_memory": 1},
            {"stream": 1, "shift_block": 1, "in_blocks": 2},
            {"stream": 1, "wide_stream": 1, "shift_block": 1, "in_blocks": 1},
            {"stream": 1, "wide_stream": 1, "shift_block": 128, "in_blocks": 1},
            {"stream": 1, "wide_stream": 1, "shift_block": 128, "in_blocks": 0},
            {"stream": 1, "wide_stream": 1, "shift_block": 2, "in_blocks": 5},
            {"stream": 1, "wide_stream": 1, "shift_block": 0},
            {**FOUR, "in_blocks": 4},
            {**TWO, "in_blocks": 8},
            {**TWO, "narrow": 1},
            {**TWO, "shift_block": 1},
            {"function": 2, "wide_result": 1},
            {"feed_wait": 1},
            {"load_wait": 1},
            {"extra": 1},
            {"extra": 1, "function": 2},
            *([] if CONFIG.narrow_weights else [{"narrow": 1}]),
        )
    ]
    matmul += [
        {**KEYS, **change}
        for change in (
            {"lane_count": 0},
            {"lane_low": lanes - 7},
            {"narrow": 1},
            {"lane_low": 127, "lane_count": 255},
            {"stream": 2},
            {"token_base": 2 * tokens - 2},
            {"token_count": tokens + 1},
            {"expert_valid": 1},
        )
    ]
    matmul += [] if CONFIG.wide_operands else list(WIDE)
    matmul += [{**KEYS, **FOUR, "extra": 1}, {**VALUES, **TWO, "extra": 1}]
    matmul += [{**KEYS, "stream": 1, "wide_stream": 1, "shift_block": 1, "extra": 1}]
    matmul += [] if CONFIG.extra_key else [{**KEYS, "extra": 1}, {**VALUES, "extra": 1}]
    matmul += [{**KEYS, "wide_result": 1}]
    matmul += [
        {**VALUES, **change}
        for change in (
            {"key_count": 0},
            {"key_count": 2 * lanes + 1},
            {"key_count": lanes},
            {"in_blocks": 255},
            {**TWO, "in_blocks": 2},
            {**FOUR},
            {"stream": 0},
            {"lane_count": 0},
            {"lane_count": lanes + 1},
            {"dst_memory": 2},
            {"expert_valid": 1},
        )
    ]
    matmul += [
        {**ROUTE, **change}
        for change in (
            {"top_k": 0},
            {"top_k": CONFIG.max_top_k + 1},
            {"out_count": CONFIG.experts + 1},
            {"out_count": 1},
            {"expert_valid": 1},
            {"stream": 0},
        )
    ]
    matmul += [{**EXPERT, **change} for change in ({"expert": CONFIG.experts}, {"expert": 63}, {"stream": 2})]
    norm = [
        {**NORM, **change}
        for change in ({"dim": 0}, {"dim": CONFIG.max_dim + 1}, {"epsilon": 0}, {"feed_wait": 63}, {"load_wait": 1})
    ]
    copy = [
        {**COPY, **change}
        for change in ({"words": 0}, {"memory": 1}, {"memory": 3}, {"feed_wait": 1}, {"load_wait": 1})
    ]
    return [
        (opcode, fields)
        for opcode, group in ((Opcode.MATMUL, matmul), (Opcode.NORM, norm), (Opcode.COPY, copy))
        for fields in group
    ]


def refusable(opcode: Opcode, fields: dict[str, int], index: int) -> bool:
    """Whether compute instruction `index` must be refused."""
    try:
        decoded, values = isa.decode(isa.encode(opcode, fields))
    except ValueError:
        return True
    return values["feed_wait"] > index or values["load_wait"] > index or meaningless(decoded, values, CONFIG)


class Rig:
    """The sequencer between a source and two sinks."""

    def __init__(self, dut: SimHandleBase, seed: int, *, give: float = 1.0, take: float = 1.0) -> None:
        self.rng = random.Random(seed)
        self.bench = Bench(dut)
        self.source = Source(self.bench, "i", rng=self.rng, chance=give)
        self.loader = Sink(self.bench, "loader", rng=self.rng, chance=take)
        self.feeder = Sink(self.bench, "feeder", rng=self.rng, chance=take)

    async def start(self) -> None:
        await self.bench.start(i__valid=0, i__payload=0, loader__ready=0, feeder__ready=0)

    async def reset(self) -> None:
        """As between runs; whatever waits is forgotten."""
        self.source.items.clear()
        self.source.valid = False
        self.bench.set("rst", 1)
        await self.bench.step()
        self.bench.set("rst", 0)
        self.loader.got.clear()
        self.feeder.got.clear()

    async def verdict(self, words: list[int], limit: int = 20) -> tuple[int, int] | None:
        """Send instructions; (code, index) of the error if there is one."""
        self.source.items.extend(words)
        for _ in range(limit * len(words)):
            await self.bench.step()
            if self.bench.get("error"):
                return self.bench.get("error_code"), self.bench.get("error_index")
            if len(self.feeder.got) == len(words):
                break
        return None


def number(opcode: Opcode, fields: dict[str, int]) -> int:
    return int.from_bytes(isa.encode(opcode, fields), "little")


@cocotb.test()
async def every_refused_field(dut: SimHandleBase) -> None:
    rig = Rig(dut, 1)
    await rig.start()
    good = number(*GOOD[0])
    for opcode, fields in GOOD:
        assert not refusable(opcode, fields, 0), fields
        assert await rig.verdict([number(opcode, fields)]) is None, (opcode.name, fields)
        await rig.reset()
    for opcode, fields in refused():
        assert refusable(opcode, fields, 0), (opcode.name, fields)
        assert await rig.verdict([number(opcode, fields), good]) == (ErrorCode.BAD_FIELD, 0), (opcode.name, fields)
        await rig.bench.step(10)
        assert rig.bench.get("error") and not rig.feeder.got and not rig.loader.got
        await rig.reset()
    for opcode in Opcode:
        layout = isa.FORMATS[opcode]
        for bit in range(layout.bits, INSTRUCTION_BITS):
            if layout.stream == "compute" and (bit == layout.bits or bit == INSTRUCTION_BITS - 1):
                fields = next(f for o, f in GOOD if o is opcode)
                verdict = await rig.verdict([good, number(opcode, fields) | 1 << bit])
                assert verdict == (ErrorCode.BAD_FIELD, 1), (opcode, bit)
                await rig.reset()
    for code in range(16):
        if code not in (Opcode.MATMUL, Opcode.NORM, Opcode.COPY):
            assert await rig.verdict([good, good, code]) == (ErrorCode.BAD_OPCODE, 2)
            await rig.reset()


@cocotb.test()
async def random_fields(dut: SimHandleBase) -> None:
    """Changes of a few fields at random: the verdict is that of the prose."""
    rig = Rig(dut, 2)
    rng = rig.rng
    await rig.start()
    bad = 0
    for _ in range(1500):
        opcode, fields = rng.choice(GOOD)
        fields = dict(fields)
        for field in rng.sample(isa.FORMATS[opcode].fields[1:], rng.choice((1, 1, 2, 3))):
            limit = (1 << field.bits) - 1
            fields[field.name] = rng.choice((0, 1, limit, rng.randrange(limit + 1), fields.get(field.name, 0) ^ 1))
        wanted = refusable(opcode, fields, 0)
        bad += wanted
        verdict = await rig.verdict([number(opcode, fields)])
        assert (verdict is not None) == wanted, (opcode.name, fields, verdict)
        await rig.reset()
    assert 300 < bad < 1200, bad


@cocotb.test()
@cocotb.parametrize(give=[1.0, 0.3], take=[1.0, 0.2])
async def order(dut: SimHandleBase, give: float, take: float) -> None:
    """Feeder gets everything, loader all but NORM, with their positions; then an error stops both."""
    rig = Rig(dut, 3, give=give, take=take)
    await rig.start()
    chosen = [rig.rng.choice(GOOD) for _ in range(200)]
    words = [number(opcode, {**fields, "mark": rig.rng.randrange(2)}) for opcode, fields in chosen]
    rig.source.items.extend([*words, 0, words[0]])
    first = rig.bench.cycle
    await rig.bench.until(lambda: bool(rig.bench.get("error")), limit=20_000)
    if give == take == 1.0:
        assert rig.bench.cycle - first <= 3 * len(words) + 4
    await rig.bench.until(lambda: len(rig.feeder.got) == len(words), limit=1000)
    await rig.bench.step(50)
    assert (rig.bench.get("error_code"), rig.bench.get("error_index")) == (ErrorCode.BAD_OPCODE, len(words))
    payload = [(word << 24) | index for index, word in enumerate(words)]
    assert [value for _, value in rig.feeder.got] == payload
    needed = [value for value, (opcode, _) in zip(payload, chosen, strict=True) if opcode is not Opcode.NORM]
    assert [value for _, value in rig.loader.got] == needed
    assert INSTRUCTION_BYTES * 8 == INSTRUCTION_BITS
