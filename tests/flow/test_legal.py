"""Random legal programs: equal on RTL, and what they have found."""

import random
from dataclasses import replace

import numpy as np
import pytest

from moesaic.flow.verify import legal
from moesaic.flow.verify.legal_programs import LegalProgram, Weights, draw_program
from moesaic.flow.verify.rare_programs import rare_programs
from moesaic.flow.verify.tried import CONFIG
from moesaic.golden.layers.norm import QuantNorm
from moesaic.hw.spec import isa
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory, Opcode, Stationary, Stream
from moesaic.hw.spec.packing import packs
from moesaic.sim.functional import ProgramError
from moesaic.sim.rtl import RtlResult, RtlSimulator


def drawn(count: int, first: int = 0, config: AcceleratorConfig = CONFIG) -> legal.Programs:
    weights = Weights(config)
    programs = [draw_program(random.Random(f"test {first + k}"), weights) for k in range(count)]
    return legal.collect(programs, weights)


def changed(programs: legal.Programs, task: str, index: int, **fields: int) -> legal.Programs:
    """With other fields in a compute instruction."""
    program = programs.programs[task]
    opcode, values = isa.decode(program.compute[index])
    data = isa.encode(opcode, {**values, **fields})
    memory = bytearray(programs.image.memory)
    low = programs.image.task(task)["compute"]["address"] - programs.image.address + index * isa.INSTRUCTION_BYTES
    memory[low : low + isa.INSTRUCTION_BYTES] = data
    return replace(programs, image=replace(programs.image, memory=bytes(memory)))


def find(program: LegalProgram, **fields: int) -> int:
    """Index of the first compute instruction with these fields."""
    for index, data in enumerate(program.compute):
        opcode, values = isa.decode(data)
        if fields.items() <= {**values, "opcode": opcode}.items():
            return index
    raise KeyError(f"no instruction has {fields}")


def test_equal_on_rtl() -> None:
    chunk = legal.run_programs(drawn(12), 0, 0)
    assert chunk.failures == () and chunk.endings == {legal.EQUAL: 12}


def test_rare_programs_are_equal_on_rtl() -> None:
    programs = rare_programs()
    chunk = legal.run_programs(programs, 0, 0)
    assert chunk.failures == () and chunk.endings == {legal.EQUAL: len(programs.programs)}
    keys, queue = programs.programs.values()
    assert find(keys, function=Function.ATTEND, key_count=255 * CONFIG.lanes)
    last = find(queue, function=Function.INT8, out_count=100 * CONFIG.rows)
    assert find(queue, expert_valid=1) == last + 1


def test_what_programs_use() -> None:
    """Every function, stream and option that `micro8` has, in sixty of them; the simulator refuses none."""
    programs = drawn(60)
    seen: set[tuple[str, int]] = set()
    for task, program in programs.programs.items():
        legal.wanted(programs, task)
        for data in program.compute:
            _, values = isa.decode(data)
            seen |= {(name, value) for name, value in values.items() if name in ("function", "stream", "stationary")}
            seen |= {(name, 1) for name, value in values.items() if value}
    assert {("function", int(function)) for function in Function} <= seen
    assert {("stream", int(stream)) for stream in Stream} <= seen
    wide = {"wide_stationary", "wide_result"}
    options = {f.name for f in isa.FORMATS[Opcode.MATMUL].fields if f.bits == 1} - wide
    assert {(name, 1) for name in options} <= seen


PACKED = CONFIG.replace(extra_key=False, packed_keys=True, rows=4)


@pytest.mark.parametrize("config", [PACKED, PACKED.replace(rows=8, lanes=32)], ids=["4x8", "8x32"])
def test_heads_that_pack(config: AcceleratorConfig) -> None:
    """In either half of the lanes, from either group, even and odd numbers of keys; and heads that do not pack."""
    programs, seen = drawn(60, config=config), set()
    for task, program in programs.programs.items():
        legal.wanted(programs, task)
        for _, values in map(isa.decode, program.compute):
            if values.get("stationary") == Stationary.KEYS:
                if not packs(values, config):
                    seen.add("whole")
                    assert values["group"] == 0
                    continue
                seen |= {("upper", values["lane_low"] >= config.lanes // 2), ("group", values["group"])}
                seen |= {("odd", values["out_count"] % 2), ("blocks", min(-(-values["out_count"] // config.rows), 3))}
    pairs = {(name, value) for name in ("upper", "group", "odd") for value in (0, 1)}
    assert seen == pairs | {"whole"} | {("blocks", blocks) for blocks in (1, 2, 3)}


def test_heads_that_pack_on_rtl() -> None:
    chunk = legal.run_programs(drawn(24, config=PACKED), 0, 0)
    assert chunk.failures == () and chunk.endings == {legal.EQUAL: 24}


def test_a_wait_that_is_missing_is_refused() -> None:
    """The simulator would take none of the programs without their waits: they are no longer than they must be."""
    programs, refused = drawn(12), 0
    for task, program in programs.programs.items():
        index = find(program, opcode=Opcode.MATMUL)  # the keys, which read what was copied before
        assert isa.decode(program.compute[index])[1]["feed_wait"]
        with pytest.raises(ProgramError, match="hazard"):
            legal.wanted(changed(programs, task, index, feed_wait=0), task)
        refused += 1
    assert refused == 12


Steps = list[tuple[Opcode, dict[str, int]]]
VECTORS = {"token_count": 16, "in_blocks": 1, "src_stride": 1}
BEGIN: Steps = [
    (Opcode.COPY, {"memory": Memory.RESIDUAL, "words": 48}),
    (Opcode.COPY, {"memory": Memory.ACTIVATION, "words": 80}),
]


def written(*steps: tuple[Opcode, dict[str, int]], outputs: int) -> legal.Programs:
    """A program by hand, with weights of zeros for so many blocks of outputs of one block of inputs."""
    weights, words = Weights(CONFIG), 48 + 80 + 7 * outputs
    weights.add(bytes(words * CONFIG.word_bytes))
    compute = [
        isa.encode(opcode, {**fields, "mark": int(index in (2, 3))})
        for index, (opcode, fields) in enumerate([*BEGIN, *steps])
    ]
    store = isa.encode(Opcode.STORE, {"words": 48, "wait": len(compute)})
    program = LegalProgram([isa.encode(Opcode.FETCH, {"beats": words})], compute, [store], [2, 3])
    return legal.collect([program], weights)


def tapped(wait: int) -> legal.Programs:
    """Results for the activation memory, and a router's copy of what it streams right behind them."""
    add = {"function": Function.ADD, "out_count": 8, "fresh": 1, "dst_stride": 1, "feed_wait": 1}
    route = {"function": Function.ROUTE, "out_count": 8, "top_k": 1, "tap": 1, "tap_addr": 20, "feed_wait": wait}
    return written(
        (Opcode.MATMUL, add | VECTORS),
        (Opcode.MATMUL, {"out_count": 24, "dst_addr": 60, "dst_stride": 3} | VECTORS),
        (Opcode.NORM, QuantNorm("norm", 8, 40000, 5, 1, 1.0).fields),
        (Opcode.MATMUL, route | {"stream": Stream.NORMALISED} | VECTORS),
        outputs=5,
    )


def attended(address: int) -> legal.Programs:
    """Scores at word 100, results of something else, and the probabilities times values."""
    head = {"lane_count": 8, "kv_stride": 1, "scalar": 1000, "shift": 8}
    values = {"stationary": Stationary.VALUES, "stream": Stream.PROBABILITY, "function": Function.ATTEND}
    keys = {"stationary": Stationary.KEYS, "function": Function.SOFTMAX, "out_count": 8, "load_wait": 1}
    return written(
        (Opcode.MATMUL, {"out_count": 8, "dst_memory": Memory.KV, "dst_stride": 1, "feed_wait": 1} | VECTORS),
        (Opcode.MATMUL, keys | head | {"dst_addr": 100, "dst_stride": 1} | VECTORS),
        (Opcode.MATMUL, {"out_count": 8, "dst_addr": address, "dst_stride": 1, "src_addr": 30} | VECTORS),
        (
            Opcode.MATMUL,
            values
            | head
            | {"out_count": 8, "key_count": 8, "dst_stride": 1, "feed_wait": 1}
            | VECTORS
            | {"src_addr": 100},
        ),
        outputs=2,
    )


def test_scores_that_were_overwritten_are_no_probabilities() -> None:
    """Found by `legal`: RTL and functional simulator made different numbers of them."""
    legal.wanted(attended(116), "p0")
    with pytest.raises(ProgramError, match="streams probabilities that are not those of softmax state 15"):
        legal.wanted(attended(115), "p0")


def test_a_tap_waits_for_results_on_their_way_to_its_memory() -> None:
    """Found by `legal`: HAZARD on RTL, where the functional simulator saw nothing wrong."""
    legal.wanted(tapped(2), "p0")
    with pytest.raises(ProgramError, match="where instruction 3 writes results, but waits only for 2"):
        legal.wanted(tapped(3), "p0")


def test_what_must_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value, a counter, a program that the functional simulator refuses."""
    programs = drawn(3)
    right = {task: legal.wanted(programs, task) for task in programs.programs}

    def results(_: object, runs: list[object], *__: object) -> list[RtlResult]:
        outputs = [right[run.task] for run in runs]
        counters = [dict(want.counters) for want in outputs]
        values = [want.output.copy() for want in outputs]
        values[0][5, 3] += 1
        counters[1]["macs"] += 1
        return [
            RtlResult(
                output=value, marks=[], counters=counter, mark_counters=[], trace={}, error=None, violations={"mask": 0}
            )
            for value, counter in zip(values, counters, strict=True)
        ]

    monkeypatch.setattr(legal, "_simulate", results)
    first, second = legal.run_programs(programs, 4, 2).failures
    assert first.case == 120 and first.found.startswith("seed 4, case 120: result: token 5, channel 3 must be ")
    assert "counters, and what they must be: {'macs': (" in second.found
    monkeypatch.undo()
    monkeypatch.setattr(RtlSimulator, "run", lambda *_, **__: [])
    store = changed(programs, "p0", find(programs.programs["p0"], opcode=Opcode.COPY), words=47)
    (failure,) = legal.run_programs(legal.Programs(store.image, {"p0": programs.programs["p0"]}), 4, 2).failures
    assert "compute instruction" in failure.found


def test_a_program_is_the_same_by_itself() -> None:
    one, other = (drawn(1, first).programs["p0"] for first in (7, 8))
    assert drawn(1, 7).programs["p0"] == one != other
    assert np.array_equal(legal.wanted(drawn(1, 7), "p0").output, legal.wanted(drawn(1, 7), "p0").output)
