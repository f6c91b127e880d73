"""Router against `golden.numerics.route`: queues, scores, order, and the cycle in which it is done."""

import random

import cocotb
import numpy as np
from bench import Bench
from cocotb.handle import SimHandleBase
from rigid import integer, pack

from moesaic.golden.numerics import route


def random_logits(rng: np.random.Generator, tokens: int, experts: int, style: int) -> np.ndarray:
    if style == 0:
        return rng.choice([-32768, -1, 0, 32767], (tokens, experts))
    if style == 1:  # ties
        return rng.integers(-3, 3, (tokens, experts))
    spread = 2.0 ** rng.uniform(4, 15, (tokens, 1))
    return np.clip(rng.normal(size=(tokens, experts)) * spread, -32768, 32767).astype(np.int64)


Queues = list[list[tuple[int, int]]]


async def run(
    bench: Bench,
    rng: np.random.Generator,
    *,
    tokens: int,
    experts: int,
    top_k: int,
    kind: int,
    style: int,
    gaps: float,
    held: Queues | None = None,
) -> Queues:
    """One instruction from the first vector to the comparison of every queue, appended to those `held`; what they hold
    then.
    """
    rows, most = integer("ROWS"), integer("EXPERTS")
    logits = random_logits(rng, tokens, experts, style)
    shift = int(rng.integers(8))
    number = rng.permutation(integer("MAX_TOKENS"))[:tokens]
    groups = -(-experts // rows)
    wide = rng.integers(-32768, 32768, (tokens, groups * rows))  # experts that are not there must not matter
    wide[:, :experts] = logits
    coin = random.Random(int(rng.integers(1 << 30)))
    noise = {"i_experts": most.bit_length(), "i_top_k": integer("MAX_TOP_K").bit_length(), "i_kind": 1, "i_shift": 3}
    noise["i_append"] = 1
    taken = (experts, top_k, kind, shift, int(held is not None))
    started = 0
    for group in range(groups):
        for i in range(tokens):
            while coin.random() < gaps:
                bench.set("i_valid", 0)
                await bench.step()
            first = group == 0 and i == 0
            bench.set("i_valid", 1)
            bench.set("i_logits", pack(wide[i, group * rows : (group + 1) * rows], 16))
            bench.set("i_group", group)
            bench.set("i_slot", i)
            bench.set("i_token", int(number[i]))
            bench.set("i_first", int(first))
            bench.set("i_last_group", int(group == groups - 1))
            bench.set("i_last", int(group == groups - 1 and i == tokens - 1))
            for (port, bits), value in zip(noise.items(), taken, strict=True):
                bench.set(port, value if first else coin.getrandbits(bits))
            if group == groups - 1 and i == 0:
                started = bench.cycle
            await bench.step()
            assert bench.get("o_busy") and not bench.get("o_done")
    bench.set("i_valid", 0)
    ended = bench.cycle
    limit = integer("LATENCY") + top_k * tokens + 1
    await bench.until(lambda: bench.get("o_done") == 1, limit)
    if gaps == 0:
        assert bench.cycle - started == integer("LATENCY") + top_k * tokens
    assert bench.cycle - ended <= integer("LATENCY") + top_k * tokens
    await bench.step()
    assert not bench.get("o_done") and not bench.get("o_busy")

    index, score = route(logits, top_k, renormalise=bool(kind), shift=shift)
    queues: Queues = [[] for _ in range(most)] if held is None else held
    for i in range(tokens):
        for j in range(top_k):
            queues[index[i, j]].append((int(number[i]), int(score[i, j])))
    width = (integer("MAX_TOKENS")).bit_length()
    counts = [bench.get("o_counts") >> width * e & (1 << width) - 1 for e in range(most)]
    assert counts == [len(queue) for queue in queues]
    for expert, queue in enumerate(queues):
        bench.set("q_expert", expert)
        for slot, entry in enumerate(queue):
            bench.set("q_slot", slot)
            await bench.step()
            assert (bench.get("q_token"), bench.get("q_score")) == entry, (expert, slot, entry, logits)
    return queues


async def start(dut: SimHandleBase) -> Bench:
    bench = Bench(dut)
    await bench.start(
        **dict.fromkeys(
            (
                "i_valid",
                "i_logits",
                "i_group",
                "i_slot",
                "i_token",
                "i_first",
                "i_last_group",
                "i_last",
                "i_experts",
                "i_top_k",
                "i_kind",
                "i_shift",
                "i_append",
                "q_expert",
                "q_slot",
            ),
            0,
        )
    )
    await bench.step()
    assert not bench.get("o_busy") and not bench.get("o_counts")
    return bench


@cocotb.test
async def matches_golden(dut):
    bench = await start(dut)
    rng = np.random.default_rng(11)
    most, max_top_k, depth = integer("EXPERTS"), integer("MAX_TOP_K"), integer("MAX_TOKENS")
    cases = 0
    for experts in sorted({max_top_k, integer("ROWS"), most - 1, most}):
        for top_k in range(1, min(experts, max_top_k) + 1):
            for kind in (0, 1):
                short = int(rng.integers(1, depth))
                for style, gaps, tokens in ((0, 0, depth), (1, 0.3, depth), (2, 0, depth), (2, 0.5, short), (2, 0, 1)):
                    await run(
                        bench, rng, tokens=tokens, experts=experts, top_k=top_k, kind=kind, style=style, gaps=gaps
                    )
                    cases += 1
    assert cases >= 40


@cocotb.test
async def appends(dut):
    """Routers of several tasks: each may choose another number of experts; then queues begin anew."""
    bench = await start(dut)
    rng = np.random.default_rng(12)
    most, max_top_k, depth = integer("EXPERTS"), integer("MAX_TOP_K"), integer("MAX_TOKENS")
    for gaps in (0, 0.3):
        held = None
        for tokens in (depth // 3, 1, depth // 3):
            more = {"tokens": tokens, "top_k": int(rng.integers(1, max_top_k + 1)), "kind": int(rng.integers(2))}
            held = await run(bench, rng, experts=most - 1, style=2, gaps=gaps, held=held, **more)
        assert max(map(len, held)) > 1
