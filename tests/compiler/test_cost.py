"""The estimate respects both limits, and shows what speculation is for."""

import dataclasses
import itertools

import pytest
from quantmodels import random_qmodel

from moesaic.compiler.cost import Cost, _store_cycles, estimate, mean_tokens, part_cycles, pass_loads, stream_words
from moesaic.compiler.ir import Op
from moesaic.compiler.memory import DdrTiming, DramTiming
from moesaic.compiler.pipeline import compile_all
from moesaic.golden.config import network_of, preset
from moesaic.golden.hollow import hollow_model
from moesaic.hw.memory.axi_reader import AxiReader
from moesaic.hw.memory.weight_stream import WeightStream
from moesaic.hw.memory.window import WindowGuard
from moesaic.hw.pipeline_latency import timing
from moesaic.hw.spec import latency as timing_constants
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Opcode, Stationary, Stream
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.stream.buffer import SkidBuffer

CONFIG = PRESETS["zcu102"]


def tiny(speculate: int, unused: frozenset[int] = frozenset(), blocks: int = 4, bits: int = 8) -> list[Cost]:
    model = dataclasses.replace(preset("m3vit-tiny"), depth=blocks)
    compilation = compile_all(random_qmodel(model, 0, bits), CONFIG, tasks=["semseg"], speculate=speculate)

    def tokens(op: Op) -> int:
        return 0 if op.expert in unused else mean_tokens(op)

    return estimate(compilation.scheduled["semseg"], compilation.pieces, CONFIG, tokens, timing=timing(CONFIG))


def test_no_faster_than_array_and_ddr():
    for speculate in (0, 7):
        costs = tiny(speculate)
        end = costs[-1].end
        assert end > sum(c.bytes for c in costs) / CONFIG.stripe_bytes
        assert end > sum(c.array_cycles for c in costs)
        assert all(a.start <= b.start for a, b in itertools.pairwise(costs))


def test_a_dram_delivers_less_than_ports_take():
    dram = DramTiming(
        rate=8.0, refresh=100.0, recovery=5.0, row=9.0, row_bytes=8192, banks=8, to_write=1.0, to_read=7.0, posted=512
    )
    assert DdrTiming(100).bytes_per_cycle(CONFIG) == 64
    assert DdrTiming(100, dram).bytes_per_cycle(CONFIG) == pytest.approx(7.6)
    fast = dataclasses.replace(dram, rate=200.0, recovery=40.0)
    assert DdrTiming(100, fast).bytes_per_cycle(CONFIG) == pytest.approx(64 * (1 - 0.12))  # 28 beats are ahead
    assert DdrTiming(90, fast).bytes_per_cycle(CONFIG) == pytest.approx(64 * (1 - 0.02))
    long = dataclasses.replace(CONFIG, max_burst=64)  # two of them fill a port's FIFO until the first has come and gone
    assert DdrTiming(100, fast).bytes_per_cycle(long) == pytest.approx(64 * 128 / 167)


def test_speculation_closes_the_gap_to_ddr():
    waiting, ahead = tiny(0), tiny(7)
    bound = sum(c.bytes for c in ahead) / CONFIG.stripe_bytes
    assert waiting[-1].end > 1.2 * bound
    assert ahead[-1].end < 1.05 * bound
    assert sum(c.starved_cycles for c in ahead) < sum(c.starved_cycles for c in waiting)


def test_narrow_experts_are_bound_by_the_array():
    """Half the bytes, and blocks that load in half the cycles: DDR and loader are no longer what one waits for."""
    wide, narrow = tiny(16), tiny(16, bits=4)
    matrices = 2 * 16 * 2 * 192 * 384
    assert sum(c.bytes for c in wide) - sum(c.bytes for c in narrow) == matrices // 2
    assert sum(c.array_cycles for c in wide) == sum(c.array_cycles for c in narrow)
    assert narrow[-1].end < 0.8 * wide[-1].end
    assert sum(c.starved_cycles for c in narrow) < 0.1 * sum(c.starved_cycles for c in wide)


def test_unused_experts_cost_their_bytes_only_if_speculated():
    unused = frozenset(range(4))
    fewer, all_used = tiny(0, unused), tiny(0)
    expert = 2 * CONFIG.word_bytes * 6 * (3 * CONFIG.block_words + CONFIG.param_words)
    assert sum(c.bytes for c in all_used) - sum(c.bytes for c in fewer) == pytest.approx(2 * 4 * expert, rel=0.02)
    assert sum(c.bytes for c in tiny(16, unused)) == sum(c.bytes for c in tiny(16))


def test_latencies_are_those_of_the_rtl():
    """What the RTL's latencies add up to."""
    assert timing_constants.ASK_CYCLES == WindowGuard.LATENCY + AxiReader.LATENCY
    assert timing_constants.PORT_CYCLES == 1 + WindowGuard.LATENCY + 1  # address, check, answer
    assert timing_constants.BUS_CYCLES == SkidBuffer.LATENCY + AxiReader.LATENCY + WeightStream.LATENCY


def test_experts_left_out_take_time():
    """Each is an instruction still, and eight of them are on their way at most."""

    def last_block(unused: frozenset[int]) -> float:
        return list(part_cycles(tiny(0, unused, 2)).values())[2]

    alone, pair = last_block(frozenset(range(1, 16))), last_block(frozenset(range(2, 16)))
    fewest = 2 * 14 * (timing(CONFIG).feed + timing(CONFIG).drain) / timing_constants.CONTEXTS
    assert last_block(frozenset(range(16))) > fewest
    assert alone < pair


@pytest.mark.parametrize(
    ("stationary", "fields", "loads"),
    [
        # Rows of keys, a cycle each and two to begin; the extra key with each block of inputs of the first ones.
        (Stationary.KEYS, {"out_count": 100, "in_blocks": 2, "extra": 0}, [66, 66, 38, 38]),
        (Stationary.KEYS, {"out_count": 100, "in_blocks": 2, "extra": 1}, [67, 67, 38, 38]),
        # Lanes of values; the extra one with the first block of inputs of each block of outputs.
        (Stationary.VALUES, {"out_count": 128, "in_blocks": 3, "key_count": 140, "extra": 0}, [66, 66, 14] * 2),
        (Stationary.VALUES, {"out_count": 128, "in_blocks": 3, "key_count": 140, "extra": 1}, [67, 66, 14] * 2),
    ],
)
def test_cycles_to_load_keys_and_values(stationary, fields, loads):
    op = attention_op({"lane_low": 0, "lane_count": 64, **fields, "stationary": stationary})
    assert list(pass_loads(op, CONFIG)) == [(0, cycles) for cycles in loads]


def attention_op(fields: dict[str, int]) -> Op:
    return Op(name="x", opcode=Opcode.MATMUL, block=0, stage="", role="", tokens=1, fields=fields)


@pytest.mark.parametrize(
    ("fields", "loads"),
    [
        ({"out_count": 100}, [66, 38]),  # blocks of 64 keys, in 32 rows
        ({"out_count": 1}, [3]),
        ({"out_count": 128, "lane_low": 32}, [66, 66]),
        ({"out_count": 100, "lane_count": 33}, [34, 34, 34, 6]),
        ({"out_count": 100, "in_blocks": 2}, [34, 34, 34, 34, 34, 34, 6, 6]),
    ],
)
def test_cycles_to_load_packed_keys(fields: dict[str, int], loads: list[int]) -> None:
    config = PRESETS["zcu104-small"]
    where = {"stationary": Stationary.KEYS, "stream": Stream.ACTIVATION, "in_blocks": 1}
    head = where | {"lane_low": 0, "lane_count": 32}
    op = attention_op(head | fields)
    assert list(pass_loads(op, config)) == [(0, cycles) for cycles in loads]
    assert op.block_outputs(config) == (32 if len(loads) > 2 else 64)
    assert op.block_outputs(config.replace(packed_keys=False)) == 32


@pytest.mark.parametrize(("preset_name", "bits"), [("micro8", 4), ("micro16", 8), ("micro8-wide", 16)])
def test_words_of_the_stream_are_those_of_the_pieces(preset_name: str, bits: int) -> None:
    """Known before anything is packed; chunks of an image have all of its words together."""
    config = PRESETS[preset_name].replace(activation_words=900)
    model = dataclasses.replace(preset("m3vit-micro"), depth=2)
    compilation = compile_all(hollow_model(network_of(model), bits), config, tasks=["depth"])
    graph, pieces = compilation.scheduled["depth"], compilation.pieces
    parts = [op for op in graph.ops if op.weights is not None and op.weight_words is not None]
    assert parts and sum(stream_words(graph, op, config) for op in parts) == pieces["image"].words
    wholes = [op for op in graph.ops if op.weights is not None and op.weight_words is None]
    assert {op.opcode for op in wholes} == {Opcode.COPY, Opcode.MATMUL}
    for op in wholes:
        assert stream_words(graph, op, config) == pieces[op.weights].words, op.name
    assert {stream_words(graph, op, config) for op in graph.ops if op.weights is None} == {0}


@pytest.mark.parametrize(
    ("lanes", "ports", "bits", "words", "beats"),
    [(64, 4, 128, 1, 8), (64, 4, 128, 4, 8), (64, 4, 128, 5, 16), (64, 4, 128, 100, 200), (128, 1, 128, 3, 48)],
)
@pytest.mark.parametrize("latency", [0, 1000])
def test_cycles_of_a_result(lanes: int, ports: int, bits: int, words: int, beats: int, latency: int) -> None:
    """Ports share the words, of two bytes a lane; of each so many bursts of 16 beats are on their way at most."""
    config = AcceleratorConfig(name="t", rows=16, lanes=lanes, ports=ports, port_bits=bits, max_burst=16)
    bursts, rounds = beats / 16, (16 + latency + 4) / timing_constants.WRITES_IN_FLIGHT
    sent = max(beats, bursts * rounds)
    fixed = latency + timing_constants.STORE_CYCLES + ports * timing_constants.SHARE_CYCLES
    assert (sent > beats) == (latency == 1000)
    assert _store_cycles(words, config, latency) == pytest.approx(sent + fixed)


def test_cycles_of_each_part() -> None:
    """From the retirement of the part before: operations of parts may overlap."""
    ends = [("embed", 5.0), ("embed", 9.0), ("blocks.0", 7.0), ("blocks.0", 20.0), ("embed", 10.0), ("result", 31.5)]
    costs = [Cost(str(number), part, 0.0, end, 0, 0.0, 0.0, 0) for number, (part, end) in enumerate(ends)]
    assert part_cycles(costs) == {"embed": 10.0, "blocks.0": 10.0, "result": 11.5}


@pytest.mark.parametrize(
    ("expert", "tokens", "routed", "mean"),
    [(None, 10, (1, 1), 10), (3, 100, (2, 8), 25), (3, 99, (2, 8), 24), (0, 3, (1, 8), 1), (0, 16, (4, 4), 16)],
)
def test_tokens_of_an_expert(expert: int | None, tokens: int, routed: tuple[int, int], mean: int) -> None:
    op = dataclasses.replace(attention_op({}), expert=expert, tokens=tokens, routed=routed)
    assert mean_tokens(op) == mean
