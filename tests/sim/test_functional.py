"""The functional simulator against the integer golden model, and against malformed programs."""

import dataclasses
from functools import cache
from typing import NoReturn

import numpy as np
import pytest
from quantmodels import random_image, random_qmodel, rms_norms

from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.golden.config import M3ViTConfig, preset
from moesaic.golden.m3vit_int import IntM3ViT, force_experts
from moesaic.golden.qmodel import QuantModel
from moesaic.hw.spec import isa
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import INSTRUCTION_BYTES, Function, Opcode
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.compare import compare
from moesaic.sim.functional import FunctionalRun, FunctionalSimulator, ProgramError
from moesaic.sim.machine import Machine, Tracked, WeightQueue
from moesaic.sim.matmul import Matmul

ODD = {
    # Nothing divides anything: padded heads, words and blocks; no class token; softmax over the chosen experts.
    "a": M3ViTConfig(
        name="a",
        image_size=(32, 48),
        patch_size=8,
        dim=40,
        heads=2,
        depth=2,
        mlp_ratio=3,
        experts=5,
        expert_hidden=44,
        top_k=3,
        gate_kind="noisy",
        class_token=False,
    ),
    "b": M3ViTConfig(
        name="b",
        image_size=(32, 48),
        patch_size=8,
        dim=72,
        heads=3,
        depth=2,
        mlp_ratio=2,
        experts=9,
        expert_hidden=60,
        tasks=("x", "y", "z"),
    ),
    "c": M3ViTConfig(
        name="c",
        image_size=(16, 40),
        patch_size=8,
        dim=48,
        heads=6,
        depth=2,
        mlp_ratio=2,
        experts=8,
        expert_hidden=50,
        top_k=1,
        moe_every=1,
        tasks=("x",),
    ),
}


def check(qmodel: QuantModel, config: AcceleratorConfig, seed: int = 1, **options: object) -> dict[str, FunctionalRun]:
    """Every marked tensor and the result of every task must equal the golden model's."""
    program, pixels, runs = compile_model(qmodel, config, **options), random_image(qmodel.network, seed), {}
    for task in program.tasks:
        simulator = FunctionalSimulator(config, seed=seed)
        simulator.load(program)
        run = runs[task] = simulator.run(task, pixels)
        expected = IntM3ViT.of(qmodel, config).run(pixels, task, blocks=program.manifest["blocks"])
        assert len(run.marks) == len(expected) + 1
        for position, tensor in enumerate(expected, start=1):
            entry = program.manifest["tensors"][position]
            assert compare(entry["name"], simulator.tensor(run, position), tensor, entry["step"]) is None
        assert compare("result", program.unpack_result(run.result), expected[-1]) is None
    return runs


@pytest.mark.parametrize("name", ["micro8", "micro16"])
def test_micro(name):
    check(random_qmodel(preset("m3vit-micro"), 0), PRESETS[name])


@pytest.mark.parametrize("model", ODD)
@pytest.mark.parametrize(
    ("rows", "lanes", "load_rows", "ports", "bits"),
    [
        (4, 8, 2, 1, 64),
        (4, 16, 4, 2, 64),
        (8, 16, 2, 1, 128),
        (8, 32, 2, 1, 64),
        (8, 64, 2, 4, 128),
        (16, 64, 4, 2, 64),
        (64, 64, 2, 4, 64),
        (16, 128, 2, 1, 128),
    ],
)
@pytest.mark.parametrize("room", ["whole", "chunks"])
def test_shapes(model, rows, lanes, load_rows, ports, bits, room):
    words = 4096 if room == "whole" else 700 if lanes <= 16 else 300
    config = AcceleratorConfig(
        name="t",
        rows=rows,
        lanes=lanes,
        load_rows=load_rows,
        ports=ports,
        port_bits=bits,
        max_tokens=64,
        max_dim=128,
        prefetch_words=1024,
        activation_words=words,
        narrow_weights=load_rows < rows,
    )
    bits = 4 if config.narrow_weights and room == "whole" else 8
    check(random_qmodel(ODD[model], 1, bits), config, speculate=3)


def test_hidden_units_behind_the_activations():
    """Queries in chunks, hidden units in both memories, and every weight read once."""
    qmodel = random_qmodel(dataclasses.replace(preset("m3vit-micro"), depth=2), 0)
    roomy = PRESETS["micro8"].replace(extra_key=False)
    tight = roomy.replace(activation_words=1600, kv_words=1040, joint_memories=True)
    whole, runs = check(qmodel, roomy), check(qmodel, tight)
    for task, run in runs.items():
        assert run.counters["WEIGHT_BYTES"] == whole[task].counters["WEIGHT_BYTES"]
        assert run.counters["INSTRUCTIONS_RETIRED"] > whole[task].counters["INSTRUCTIONS_RETIRED"]


def test_rms_norms():
    """Integers of the golden model with RMSNorm are those of its program, and not those with LayerNorm."""
    qmodel, config = random_qmodel(ODD["b"], 1), AcceleratorConfig(name="t", rows=8, lanes=16, max_tokens=64)
    runs, others = check(rms_norms(qmodel), config), check(qmodel, config)
    assert all(runs[task].result != others[task].result for task in runs)


@pytest.mark.parametrize("speculate", [0, 8])
def test_narrow_experts_take_half_the_bytes(speculate):
    """All else equal: matrices of experts at 4 bits, their parameters as before; what is dropped shrinks alike."""
    model, config = dataclasses.replace(preset("m3vit-micro"), depth=2), PRESETS["micro8"]
    run, wide = (
        check(force_experts(random_qmodel(model, 0, bits), [1, 2]), config, tasks=["depth"], speculate=speculate)[
            "depth"
        ]
        for bits in (4, 8)
    )
    assert run.routings[0].lengths[1] and not run.routings[0].lengths[0]
    used = sum(n > 0 for n in run.routings[0].lengths)
    matrices, parameters = 2 * 64 * 128, (64 + 128) // config.rows * config.param_words * config.word_bytes
    dropped = 0 if not speculate else (8 - used) * (matrices // 2 + parameters)
    assert run.counters["SPECULATED_BYTES_DROPPED"] == dropped
    fetched = 8 if speculate else used
    assert wide.counters["WEIGHT_BYTES"] - run.counters["WEIGHT_BYTES"] == fetched * matrices // 2


def test_chunks_are_exercised():
    config = AcceleratorConfig(
        name="t", rows=8, lanes=16, port_bits=64, max_tokens=64, max_dim=128, activation_words=200
    )
    qmodel = random_qmodel(ODD["b"], 1)
    runs = check(qmodel, config)
    assert len(runs["x"].routings) > 1  # the mixture is routed once per chunk
    whole = check(qmodel, config.replace(activation_words=4096))
    assert len(whole["x"].routings) == 1
    assert runs["x"].counters["MACS"] == whole["x"].counters["MACS"]
    assert runs["x"].counters["WEIGHT_BYTES"] > whole["x"].counters["WEIGHT_BYTES"]


def test_tiny_whole():
    check(random_qmodel(preset("m3vit-tiny"), 0), PRESETS["zcu102"])


def test_deit_tiny():
    check(random_qmodel(dataclasses.replace(preset("deit-tiny"), depth=2), 0), PRESETS["zcu102"], tasks=["semseg"])


def test_small_even_and_odd_block():
    check(
        random_qmodel(dataclasses.replace(preset("m3vit-small"), depth=2), 0), PRESETS["zcu102-small"], tasks=["semseg"]
    )


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_stop_after_blocks(blocks):
    runs = check(random_qmodel(preset("m3vit-micro"), 0), PRESETS["micro16"], blocks=blocks)
    assert [len(run.marks) for run in runs.values()] == [blocks + 1] * 2


def expert_bytes(qmodel: QuantModel, config: AcceleratorConfig, task: str, run: FunctionalRun) -> int:
    """Bytes of the experts that have tokens, once per mixture."""
    program = compile_model(qmodel, config, speculate=0)
    ranges = list(program.manifest["experts"].values())
    return sum(
        ranges[i][str(e)]["bytes"] for i, routing in enumerate(run.routings) for e, n in enumerate(routing.lengths) if n
    )


@pytest.mark.parametrize("speculate", [0, 1, 3, 8])
def test_experts_without_tokens_cost_nothing(speculate):
    qmodel, config = force_experts(random_qmodel(preset("m3vit-micro"), 0), [1, 2, 5, 6]), PRESETS["micro8"]
    program = compile_model(qmodel, config, speculate=speculate)
    runs = check(qmodel, config, speculate=speculate)
    for task, run in runs.items():
        assert all(not n for r in run.routings for e, n in enumerate(r.lengths) if e not in (1, 2, 5, 6))
        # Position and image come over the same ports; gates of other tasks do not.
        fixed = sum(t["weight_bytes"] for t in program.manifest["tensors"]) - sum(
            e["bytes"] for block in program.manifest["experts"].values() for e in block.values()
        )
        fixed += next(p["bytes"] for p in program.manifest["pieces"] if p["name"] == "position")
        fixed += sum(r["bytes"] for r in program.manifest["regions"] if r["name"].startswith("image."))
        dropped = run.counters["SPECULATED_BYTES_DROPPED"]
        assert run.counters["WEIGHT_BYTES"] == fixed + expert_bytes(qmodel, config, task, run) + dropped
        guesses = [[e for e in block.layers[1].order[task][:speculate]] for block in qmodel.blocks[1::2]]
        wrong = sum(
            program.manifest["experts"][f"blocks.{2 * i + 1}"][str(e)]["bytes"]
            for i, guess in enumerate(guesses)
            for e in guess
            if not run.routings[i].lengths[e]
        )
        assert dropped == wrong


def test_nothing_depends_on_what_memories_hold_at_first():
    program, pixels = micro()
    results = []
    for seed in (3, 4):
        simulator = FunctionalSimulator(PRESETS["micro16"], seed=seed)
        simulator.load(program)
        results.append(simulator.run("depth", pixels).result)
    assert results[0] == results[1]


def test_tasks_one_after_the_other():
    program, pixels = micro()
    simulator = FunctionalSimulator(PRESETS["micro16"])
    simulator.load(program)
    a, b, a_again = (simulator.run(task, pixels).result for task in ("semseg", "depth", "semseg"))
    assert a == a_again != b


# Malformed programs: each change is made in the bytes of the image.


@cache
def micro() -> tuple[ProgramImage, np.ndarray]:
    model = dataclasses.replace(preset("m3vit-micro"), depth=2)
    return compile_model(random_qmodel(model, 0), PRESETS["micro16"]), random_image(model, 1)


def instructions(stream: str) -> list[tuple[Opcode, dict[str, int]]]:
    program, _ = micro()
    entry = program.task("depth")[stream]
    low = entry["address"] - program.address
    return [
        isa.decode(program.memory[low + i * INSTRUCTION_BYTES :][:INSTRUCTION_BYTES]) for i in range(entry["count"])
    ]


def execute(stream: str, index: int, data: bytes) -> FunctionalRun:
    program, pixels = micro()
    simulator = FunctionalSimulator(PRESETS["micro16"])
    simulator.load(program)
    simulator.write(program.task("depth")[stream]["address"] + index * INSTRUCTION_BYTES, data)
    return simulator.run("depth", pixels)


def altered(stream: str, index: int, changes: dict[str, int]) -> bytes:
    opcode, fields = instructions(stream)[index]
    return isa.encode(opcode, fields | changes)


def find(stream: str, **wanted: int) -> int:
    return next(i for i, (_, f) in enumerate(instructions(stream)) if all(f.get(k) == v for k, v in wanted.items()))


@pytest.mark.parametrize(
    ("stream", "wanted", "changes", "message"),
    [
        (
            "compute",
            {"function": Function.SOFTMAX},
            {"src_addr": 65000},
            "activation address must be below 2048, not 65",
        ),
        ("compute", {"function": Function.SOFTMAX}, {"kv_addr": 65000}, "key/value address must be below 1024, not 65"),
        (
            "compute",
            {"function": Function.SOFTMAX},
            {"stationary": 0},
            "with function SOFTMAX, stationary must be KEYS, not WEIGHTS",
        ),
        (
            "compute",
            {"function": Function.SOFTMAX},
            {"lane_count": 40},
            r"lane_low \+ lane_count must be at most 16, not 40",
        ),
        (
            "compute",
            {"function": Function.ATTEND},
            {"key_count": 900},
            "key_count must be between \\(in_blocks - 1\\) \\* lanes \\+ 1 = 65 and in_blocks \\* lanes = 80, not 900",
        ),
        (
            "compute",
            {"function": Function.ATTEND},
            {"stream": 0},
            "with stationary VALUES, stream must be PROBABILITY, not ACTIVATION",
        ),
        (
            "compute",
            {"function": Function.GELU},
            {"dst_memory": 2},
            "dst_memory must be ACTIVATION or KV, not RESIDUAL",
        ),
        ("compute", {"function": Function.GELU}, {"dst_stride": 1}, "dst_stride must be at least 16 words, not 1"),
        ("compute", {"function": Function.GELU}, {"token_count": 0}, "token_count must be between 1 and 72, not 0"),
        (
            "compute",
            {"function": Function.GELU},
            {"token_base": 9},
            r"token_base \+ token_count must be at most 72, not 74",
        ),
        ("compute", {"function": Function.GELU}, {"out_count": 0}, "out_count must be positive, not 0"),
        ("compute", {"function": Function.GELU}, {"out_count": 100}, "accumulator plus bias must fit"),
        ("compute", {"function": Function.GELU}, {"out_count": 4096, "dst_stride": 255}, "the weight stream holds"),
        ("compute", {"function": Function.ROUTE}, {"top_k": 0}, "top_k must be between 1 and 2, not 0"),
        ("compute", {"function": Function.ROUTE}, {"out_count": 9}, "out_count must be between 1 and 8, not 9"),
        ("compute", {"function": Function.ADD}, {"group": 3}, "group must be at most 0, not 3"),
        ("compute", {"function": Function.ADD}, {"feed_wait": 40}, "feed_wait must be at most 2, not 40"),
        ("compute", {"function": Function.GELU}, {"narrow": 1}, "accumulator plus bias must fit"),
        (
            "compute",
            {"function": Function.ROUTE},
            {"in_blocks": 3},
            "wide_stationary 0, in_blocks must be 2 \\* shift_block = \\d, not 3",
        ),
        (
            "compute",
            {"function": Function.GELU},
            {"shift_block": 2},
            "with wide_stream 0 and wide_stationary 0, shift_block must be 0, not 2",
        ),
        (
            "compute",
            {"function": Function.GELU},
            {"wide_result": 1},
            "wide_result must be 0 on a configuration without wide_operands, not 1",
        ),
        (
            "compute",
            {"function": Function.SOFTMAX},
            {"wide_result": 1},
            "with wide_result 1, function must be INT8, GELU, ATTEND, ROUTE, RELU, RELU2, SILU or SIGMOID, not SOFTMAX",
        ),
        (
            "compute",
            {"function": Function.SOFTMAX},
            {"narrow": 1},
            "with narrow 1, stationary must be WEIGHTS, not KEYS",
        ),
        ("compute", {"opcode": 2}, {"dim": 0}, "dim must be between 1 and 128, not 0"),
        ("compute", {"opcode": 2}, {"dim": 200}, "dim must be between 1 and 128, not 200"),
        ("compute", {"opcode": 3}, {"memory": 1}, "memory must be ACTIVATION or RESIDUAL, not KV"),
        ("compute", {"opcode": 3}, {"addr": 511}, "residual address must be below 512"),
        ("load", {}, {"beats": 1}, "beats must be a multiple of 2, not 1"),
        ("load", {}, {"offset": 1 << 30}, "must lie in the window"),
        (
            "load",
            {},
            {"wait": 1},
            "deadlock: the weight stream holds 0 words of the 260 needed, and load instruction 0 waits for 1",
        ),
        ("load", {"expert_valid": 1}, {"expert": 63}, "with expert_valid 1, expert must be at most 7, not 63"),
        ("store", {}, {"wait": 3}, "hazard: reads residual words"),
        ("store", {}, {"wait": 0}, "hazard: reads residual words that instruction"),  # read, and written afterwards
        ("store", {}, {"wait": 9999}, "deadlock: waits for 9999 retired compute instructions of"),
        ("store", {}, {"offset": 1 << 39}, "must lie in the window"),
        ("store", {}, {"offset": 8}, "offset must be a multiple of 16, not 8"),
        ("store", {}, {"offset": 16}, r"bytes 0x10 to 0x208f must lie in the result of 0x2080 bytes"),
        ("store", {}, {"words": 261}, "must lie in the result of 0x2080 bytes"),
        ("store", {}, {"src_addr": 500}, r"src_addr \+ words must be at most 512, not"),
    ],
)
def test_malformed_programs_are_refused(stream, wanted, changes, message):
    index = find(stream, **wanted)
    with pytest.raises(ProgramError, match=message) as caught:
        execute(stream, index, altered(stream, index, changes))
    if not any(text in message for text in ("left over", "deadlock: the", "plus bias")):
        assert f"{stream} instruction {index}:" in str(caught.value)


@pytest.mark.parametrize("stream", ["load", "compute", "store"])
def test_bad_opcodes_are_refused(stream):
    with pytest.raises(ProgramError, match=f"{stream} instruction 0: opcode must be one of"):
        execute(stream, 0, bytes(32))
    other = Opcode.NORM if stream != "compute" else Opcode.STORE
    with pytest.raises(
        ProgramError, match=f"{stream} instruction 0: opcode must be of the {stream} stream, not {other.name}"
    ):
        execute(stream, 0, isa.encode(other, {"mark": 1} if other is Opcode.NORM else {}))


def test_every_wait_is_needed():
    """Without any one wait, or with one that names the instruction before, the simulator finds a hazard."""
    lengths = execute("store", 0, altered("store", 0, {})).routings[0].lengths
    for index, (_, fields) in enumerate(instructions("compute")):
        if fields.get("expert_valid") and not lengths[fields["expert"]]:
            continue  # skipped: reads nothing
        for wait in ("feed_wait", "load_wait"):
            if not fields[wait]:
                continue
            with pytest.raises(ProgramError, match=f"compute instruction {index}: hazard"):
                execute("compute", index, altered("compute", index, {wait: 0}))
            # Two experts need not share a token, so that between them a shorter wait may do.
            if fields[wait] < min(index, 63) and not fields.get("expert_valid"):
                with pytest.raises(ProgramError, match=f"compute instruction {index}: hazard"):
                    execute("compute", index, altered("compute", index, {wait: fields[wait] + 1}))


def test_a_bias_that_leaves_the_accumulator_is_refused():
    """The hardware wraps the sum of accumulator and bias; a program in which that matters is malformed."""
    program, pixels = micro()
    config, simulator = PRESETS["micro16"], FunctionalSimulator(PRESETS["micro16"])
    for bias, fits in (((1 << 26) - 1, True), (1 << 26, False), (-(1 << 27), False), ((1 << 31) - 1, False)):
        simulator.load(program)
        piece = next(p for p in program.manifest["pieces"] if "fc1" in p["name"])
        at = program.region("weights.0").address + piece["offset"]
        simulator.write(
            at, bias.to_bytes(4, "little", signed=True) + bytes(2)
        )  # multiplier 0: the value itself is small
        block = config.param_words * config.word_bytes
        matrix = program.network.dim // config.lanes * config.block_words * config.word_bytes
        simulator.write(at + block, bytes(matrix))
        if fits:
            simulator.run("depth", pixels)
            continue
        with pytest.raises(ProgramError, match=f"accumulator plus bias must fit acc_bits = 27, not {abs(bias)}"):
            simulator.run("depth", pixels)


def test_probabilities_of_another_softmax_are_refused():
    """The hardware would shift them by a lag that means nothing."""
    compute = instructions("compute")
    scores = [i for i, (_, f) in enumerate(compute) if f.get("function") == Function.SOFTMAX]
    attends = [i for i, (_, f) in enumerate(compute) if f.get("function") == Function.ATTEND]
    assert len(scores) == len(attends) == 4 and scores[1] < attends[0]
    for index, (score, softmax) in zip(attends, ((i, compute[i][1]) for i in scores), strict=True):
        cases = [(score, {"out_count": softmax["out_count"] - 16})]  # too few keys: the others are left from before
        if index == attends[1]:
            before = compute[index][1]["src_addr"] - softmax["dst_stride"]  # the probabilities of the query before
            cases += [(index, {"src_addr": compute[scores[0]][1]["dst_addr"]}), (index, {"src_addr": before})]
        for changed, changes in cases:
            with pytest.raises(ProgramError, match=f"compute instruction {index}: hazard: streams probabilities"):
                execute("compute", changed, altered("compute", changed, changes))


def test_an_extra_key_of_another_softmax_is_refused():
    """What an earlier one kept for the query belongs to another level."""
    model = dataclasses.replace(preset("m3vit-micro"), depth=1)
    program, config = compile_model(random_qmodel(model, 0), PRESETS["micro8"]), PRESETS["micro8"]
    entry = program.task("depth")["compute"]
    low = entry["address"] - program.address
    words = (program.memory[low + i * INSTRUCTION_BYTES :][:INSTRUCTION_BYTES] for i in range(entry["count"]))
    decoded = [isa.decode(word) for word in words]
    scores = [i for i, (_, f) in enumerate(decoded) if f.get("function") == Function.SOFTMAX]
    attends = [i for i, (_, f) in enumerate(decoded) if f.get("function") == Function.ATTEND]
    for changed, refused in zip(scores, attends, strict=True):
        opcode, fields = decoded[changed]
        assert fields["extra"] == 1 and fields["out_count"] == 64
        simulator = FunctionalSimulator(config)
        simulator.load(program)
        data = isa.encode(opcode, fields | {"extra": 0})
        simulator.write(entry["address"] + changed * INSTRUCTION_BYTES, data)
        with pytest.raises(ProgramError, match=f"compute instruction {refused}: hazard: streams probabilities"):
            simulator.run("depth", random_image(model, 1))


def test_wrong_configuration_is_refused():
    with pytest.raises(
        ValueError, match=r"program image must be for configuration \w+ \('micro8'\), not \w+ \('micro16'\)"
    ):
        FunctionalSimulator(PRESETS["micro8"]).load(micro()[0])
    with pytest.raises(ValueError, match="a program image must be loaded before run"):
        FunctionalSimulator(PRESETS["micro8"]).run("depth")


def test_early_writes_wait_for_readers_and_writers():
    def fail(reason: str) -> NoReturn:
        raise ProgramError("compute", 7, reason)

    memory = Tracked("activation", np.zeros((4, 8), np.uint8))
    where, word = np.array([2]), np.ones((1, 8), np.uint8)
    memory.write(where, word, 3, fail)
    memory.read(where, 5, 3, fail)
    memory.write_early(where, word, 7, 3, fail, after_reads=True)
    memory = Tracked("activation", np.zeros((4, 8), np.uint8))
    memory.read(where, 5, 3, fail)
    with pytest.raises(ProgramError, match="overwrites activation words that instruction 5 uses, but waits only for 4"):
        memory.write_early(where, word, 7, 4, fail, after_reads=False)
    memory.write_early(where, word, 7, 5, fail, after_reads=False)
    with pytest.raises(ProgramError, match="overwrites activation words that instruction 7 uses"):
        memory.write_early(where, word, 8, 6, fail, after_reads=True)
    with pytest.raises(ProgramError, match="reads activation words that instruction 7 writes, but waits only for 6"):
        memory.read(where, 8, 6, fail)


def test_joint_memories_are_one():
    """A word behind the activations is one of keys and values, with who wrote it; probabilities may not lie there."""

    def refuse(reason: str) -> NoReturn:
        raise ProgramError("compute", 5, reason)

    config = PRESETS["micro16"].replace(joint_memories=True, wide_operands=True, acc_bits=40)
    machine = Machine(config)
    where = config.activation_words + np.arange(2)
    for memory, behind in ((machine.activation, machine.kv), (machine.activation_low, machine.kv_low)):
        memory.write(where, np.full((2, config.lanes), memory.words.dtype.type(7)), 5, refuse)
        assert (behind.words[:2] == 7).all() and list(behind.writer[:2]) == [5, 5]
        assert len(memory.words) == config.activation_words + config.kv_words
    scores = find("compute", function=Function.SOFTMAX)
    fields = {**instructions("compute")[scores][1], "dst_addr": config.activation_words}
    with pytest.raises(ProgramError, match=f"address of probabilities must be below {config.activation_words}, not"):
        Matmul(machine, scores, fields, loaded=scores, fed=scores).run(np.zeros(0, np.uint8))


def test_words_of_the_weight_stream() -> None:
    """In order, across fetches or none at all; what is left is counted."""
    queue, words = WeightQueue(4), np.arange(24, dtype=np.uint8)
    for part in (words[:12], words[12:20], words[20:]):
        queue.put(part)
    taken = [(queue.take(count).tolist(), queue.words) for count in (1, 0, 3, 1, 0, 1)]
    assert [left for _, left in taken] == [5, 5, 2, 1, 1, 0]
    assert [len(part) for part, _ in taken] == [4, 0, 12, 4, 0, 4]
    assert [value for part, _ in taken for value in part] == words.tolist()
