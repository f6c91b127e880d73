"""A core against the functional simulator's MATMUL: every function of a plain or gated MLP, for tokens and for experts.

What every instruction leaves goes on into the residual memory, and is read there.
"""

import random

import cocotb
import numpy as np
from bench import Bench, Sink, Source
from cocotb.handle import SimHandleBase
from core_programs import CONFIG, HIDDEN, INPUTS, LANES, RESIDUAL, ROWS, TOKENS, Program, begun, norm_of

from moesaic.hw.spec.isa import Function, Memory, Stream

PLAIN = (Function.GELU, Function.RELU, Function.RELU2, Function.SILU, Function.SIGMOID)
GATES = (Function.GELU, Function.RELU, Function.SILU, Function.SIGMOID)


async def check(dut: SimHandleBase, program: Program, *, chance: float, tokens: int = TOKENS) -> None:
    """Run it, and compare the residual memory."""
    rng, bench = random.Random(1), Bench(dut)
    instructions = Source(bench, "i", rng=rng, chance=chance)
    words = Source(bench, "weights", rng=rng, chance=chance)
    Sink(bench, "skip", rng=rng)
    await bench.start(
        i__valid=0,
        i__payload=0,
        weights__valid=0,
        weights__payload=0,
        skip__ready=0,
        result__enable=0,
        result__address=0,
    )
    instructions.items.extend(program.instructions)
    words.items.extend(program.words)

    def done() -> bool:
        assert not bench.get("error"), (bench.get("error_code"), bench.get("error_index"))
        return bench.get("retired") == len(program.instructions)

    await bench.until(done, 400_000)
    assert not words.items
    bench.set("result__enable", 1)
    for word in range(tokens * RESIDUAL):
        bench.set("result__address", word)
        await bench.step(2)
        got = np.array([bench.get("result__data") >> 16 * k & 0xFFFF for k in range(LANES)]).astype(np.uint16)
        wanted = program.machine.residual.words[word].astype(np.uint16)
        assert got.tolist() == wanted.tolist(), (word, got.astype(np.int16), wanted.astype(np.int16))


@cocotb.test()
@cocotb.parametrize(chance=[1.0, 0.4])
async def activations(dut: SimHandleBase, chance: float) -> None:
    program = begun(1 + int(10 * chance))
    for wide in range(1 + CONFIG.wide_operands):
        for function in PLAIN:
            program.layer(function, gated=False, wide=bool(wide), expert={})
    await check(dut, program, chance=chance)


@cocotb.test()
@cocotb.parametrize(chance=[1.0, 0.4])
async def gates(dut: SimHandleBase, chance: float) -> None:
    program = begun(2 + int(10 * chance))
    for wide in range(1 + CONFIG.wide_operands):
        for function in GATES * 2:
            program.layer(function, gated=True, wide=bool(wide), expert={})
    await check(dut, program, chance=chance)


@cocotb.test()
@cocotb.parametrize(rms=[0, 1])
async def norms(dut: SimHandleBase, rms: int) -> None:
    """A residual with a mean far from 0, its sums made by ADD, read through the norm.

    The second ADD has passes of three tokens, and each of them leaves results.
    """
    program = begun(4 + rms)
    channels = RESIDUAL * LANES
    offset = np.full(channels, 9000)
    tokens = {"token_count": TOKENS, "in_blocks": INPUTS, "src_stride": INPUTS}
    weights = program.rng.integers(-128, 128, (channels, INPUTS * LANES))
    mult = np.full(channels, 1 << 15)
    fields = {"function": Function.ADD, "out_count": channels, "dst_stride": RESIDUAL, "fresh": 1, "residual_shift": 7}
    program.matmul(fields | tokens | {"shift": 18}, weights, 8 * offset, mult)
    few = {"token_count": 3, "in_blocks": 1, "src_stride": INPUTS, "shift": 18, "fresh": 0, "residual_shift": 0}
    program.matmul(fields | few, weights[:, :LANES], 8 * offset // 3, mult)
    program.norm({**norm_of(channels), "rms": rms})
    fields = {
        "function": Function.SILU,
        "stream": Stream.NORMALISED,
        "out_count": channels,
        "token_count": TOKENS,
        "in_blocks": RESIDUAL,
        "src_stride": RESIDUAL,
        "dst_addr": HIDDEN,
        "dst_stride": RESIDUAL,
        "shift": 16,
        "scalar": 1 << 15,
        "post_shift": 20,
    }
    weights = program.rng.integers(-128, 128, (channels, channels))
    program.matmul(fields, weights, np.zeros(channels, int), np.full(channels, 1 << 15))
    hidden = program.machine.activation.words[HIDDEN : HIDDEN + TOKENS * RESIDUAL].view(np.int8)
    assert 5 < np.abs(hidden.astype(int)).mean() < 100
    program.identity(0, channels, False, {}, {"token_count": TOKENS})
    await check(dut, program, chance=0.7)


@cocotb.test()
async def short_passes(dut: SimHandleBase) -> None:
    """Passes of one or two tokens, whose blocks are loaded in two cycles: the array waits for the accumulators."""
    program = begun(6)
    for count in (1, 2):
        fields = {
            "function": Function.INT8,
            "stream": Stream.ACTIVATION,
            "token_count": count,
            "out_count": RESIDUAL * LANES,
            "in_blocks": INPUTS,
            "src_stride": INPUTS,
            "dst_memory": Memory.ACTIVATION,
            "dst_addr": HIDDEN,
            "dst_stride": RESIDUAL,
            "shift": 18,
            "narrow": 1,
        }
        weights = program.rng.integers(-8, 8, (RESIDUAL * LANES, INPUTS * LANES))
        mult = np.full(len(weights), 1 << 14)
        program.matmul(fields, weights, program.rng.integers(-3000, 3000, len(weights)), mult)
        program.identity(0, RESIDUAL * LANES, False, {}, {"token_count": count})
    await check(dut, program, chance=1.0)


@cocotb.test()
async def attention(dut: SimHandleBase) -> None:
    """Whole blocks of keys and parts of one, with and without an extra key."""
    tokens = 2 * LANES + 1
    program = begun(8, tokens)
    for keys in (1, ROWS - 1, LANES, LANES + 3, 2 * LANES):
        for extra in range(1 + CONFIG.extra_key):
            program.attention(keys, extra)
            context = program.machine.activation.words[HIDDEN : HIDDEN + TOKENS * RESIDUAL : RESIDUAL].view(np.int8)
            assert 5 < np.abs(context.astype(int)).mean() < 100
    await check(dut, program, chance=0.7, tokens=tokens)


@cocotb.test()
@cocotb.parametrize(chance=[1.0, 0.5])
async def heads(dut: SimHandleBase, chance: float) -> None:
    """Heads of less than a word: in one half of the lanes, which may be packed, and in both, in turn."""
    half, few = LANES // 2, LANES // 4
    tokens = 2 * LANES + 1
    program = begun(9, tokens)
    halves, across, whole = ((0, half), (half, half)), ((0, few), (few, half), (half + few, few)), ((0, LANES),)
    for keys in (1, 2, 3, ROWS, 2 * ROWS - 1, 2 * ROWS, 2 * ROWS + 1, 2 * LANES - ROWS, 2 * LANES - 1, 2 * LANES):
        for lanes, count in ((halves, TOKENS), (across, 2), (whole, 1), (across, TOKENS)):
            program.heads(keys, lanes, tokens=count)
            context = program.machine.activation.words[HIDDEN : HIDDEN + count * RESIDUAL : RESIDUAL].view(np.int8)
            assert 5 < np.abs(context.astype(int)).mean() < 100
    program.attention(2 * ROWS + 1, 0)
    await check(dut, program, chance=chance, tokens=tokens)


@cocotb.test()
async def experts(dut: SimHandleBase) -> None:
    program = begun(3)
    program.route()
    functions = [(function, False) for function in PLAIN] + [(function, True) for function in GATES]
    for wide in range(1 + CONFIG.wide_operands):
        for number, (function, gated) in enumerate(functions):
            queues = [e for e in range(CONFIG.experts) if len(program.machine.queue_tokens[e])]
            expert = {"expert_valid": 1, "expert": queues[number % len(queues)]}
            program.layer(function, gated=gated, wide=bool(wide), expert=expert)
    await check(dut, program, chance=0.7)


@cocotb.test()
async def two_tasks(dut: SimHandleBase) -> None:
    """Residuals are copied by an ADD that reads them elsewhere, and read through the norm; two routers fill the queues,
    which give their tokens to experts.
    """
    program = begun(7, 2 * TOKENS)
    channels, second = RESIDUAL * LANES, TOKENS * RESIDUAL
    weights = program.rng.integers(-128, 128, (channels, INPUTS * LANES))
    add = {"function": Function.ADD, "out_count": channels, "dst_stride": RESIDUAL, "fresh": 1, "residual_shift": 1}
    add |= {"token_count": TOKENS, "in_blocks": INPUTS, "src_stride": INPUTS, "shift": 18}
    copied = {"token_base": TOKENS, "dst_addr": second, "scalar": -second % (1 << 16)}
    for where in (copied, {}):
        program.matmul(add | where, weights, np.zeros(channels, int), np.full(channels, 1 << 15))
    program.norm(norm_of(channels))
    read = {"function": Function.INT8, "stream": Stream.NORMALISED, "token_count": 2 * TOKENS, "in_blocks": RESIDUAL}
    read |= {"out_count": INPUTS * LANES, "src_stride": RESIDUAL, "dst_stride": INPUTS, "shift": 20}
    square = program.rng.integers(-128, 128, (INPUTS * LANES, channels))
    program.matmul(read, square, np.zeros(len(square), int), np.full(len(square), 1 << 15))
    program.route()
    program.route(TOKENS)
    queues = program.machine.queue_tokens
    assert any(min(queue) < TOKENS <= max(queue) for queue in queues if len(queue))
    for number in (e for e in range(CONFIG.experts) if len(queues[e])):
        program.layer(Function.GELU, gated=False, wide=False, expert={"expert_valid": 1, "expert": number})
    await check(dut, program, chance=0.7, tokens=2 * TOKENS)


@cocotb.test()
async def one_read_port(dut: SimHandleBase) -> None:
    """Tokens are read through the norm while results are added to others: both want the residual in one cycle."""
    program = begun(6)
    channels = RESIDUAL * LANES
    weights = program.rng.integers(-128, 128, (channels, INPUTS * LANES))
    add = {"function": Function.ADD, "out_count": channels, "dst_stride": RESIDUAL, "fresh": 1, "residual_shift": 7}
    add |= {"token_count": TOKENS, "in_blocks": INPUTS, "src_stride": INPUTS, "shift": 18}
    norm = {"function": Function.SILU, "stream": Stream.NORMALISED, "token_count": TOKENS, "in_blocks": RESIDUAL}
    norm |= {"out_count": channels, "src_stride": RESIDUAL, "dst_addr": HIDDEN, "dst_stride": RESIDUAL}
    norm |= {"shift": 16, "scalar": 1 << 15, "post_shift": 20}
    square, none = program.rng.integers(-128, 128, (channels, channels)), np.zeros(channels, int)
    program.matmul(add, weights, none, np.full(channels, 1 << 15))
    program.norm(norm_of(channels))
    for first in range(TOKENS, 5 * TOKENS, TOKENS):
        others = {"token_base": first, "dst_addr": first * RESIDUAL}
        program.matmul(add | others, weights, none, np.full(channels, 1 << 15), wait=False)
        program.matmul(norm, square, none, np.full(channels, 1 << 15), wait=False)
    program.identity(0, channels, False, {}, {"token_count": TOKENS})
    await check(dut, program, chance=1.0)
