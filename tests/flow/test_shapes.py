"""Accelerators and networks in which nothing divides anything, whole on the RTL, bit for bit."""

from pathlib import Path

import pytest
from quantmodels import random_image, random_qmodel
from watch import Watch

from moesaic.compiler.pipeline import compile_model
from moesaic.golden.config import M3ViTConfig
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.sim.compare import compare
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlRun, RtlSimulator

MEMORY_BYTES = 1 << 19
STALLS = [f"+stall_{channel}=30" for channel in ("ar", "r", "aw", "w", "b")]

# Padded heads, words and blocks; no class token; softmax over the chosen experts.
PADDED = M3ViTConfig(
    name="padded",
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
)
HEADS = M3ViTConfig(
    name="heads",
    image_size=(32, 48),
    patch_size=8,
    dim=72,
    heads=3,
    depth=2,
    mlp_ratio=2,
    experts=9,
    expert_hidden=60,
    tasks=("x", "y", "z"),
)

# Four groups to a word; two ports, four beats to a word; so few activation words that queries go in chunks, which share
# their matrices, and experts' hidden units reach into the key/value memory.
NARROW = AcceleratorConfig(
    name="narrow",
    rows=4,
    lanes=16,
    load_rows=4,
    narrow_weights=False,
    ports=2,
    port_bits=64,
    prefetch_words=64,
    max_tokens=64,
    max_dim=128,
    activation_words=300,
    kv_words=400,
    joint_memories=True,
    max_burst=16,
)
# Four groups, four narrow ports, blocks much wider than the network.
PORTS = AcceleratorConfig(
    name="ports",
    rows=4,
    lanes=16,
    load_rows=2,
    ports=4,
    port_bits=32,
    prefetch_words=64,
    max_tokens=64,
    max_dim=128,
    max_burst=16,
)


@pytest.mark.parametrize("config", [NARROW, PORTS], ids=lambda config: config.name)
def test_bit_exact(tmp_path: Path, config: AcceleratorConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, model in enumerate((PADDED, HEADS)):
        qmodel = random_qmodel(model, seed, 4 if config.narrow_weights and model is HEADS else 8)
        program, image = compile_model(qmodel, config, speculate=2), random_image(model, seed)
        assert len(program.memory) <= MEMORY_BYTES
        simulator = RtlSimulator(config, memory_bytes=MEMORY_BYTES, base=program.address)
        functional, watch, toggles = FunctionalSimulator(config), Watch(config), []
        functional.load(program)
        for task in program.tasks:
            with watch.watching(monkeypatch):
                functional.run(task, image)
            toggles.append(sum(watch.toggles[f"port {port}"] for port in range(config.ports)))
        for name, plusargs in (("still", []), ("stalls", STALLS)):
            runs = [RtlRun(task, image=image) for task in program.tasks]
            results = simulator.run(
                program, runs, work_dir=tmp_path / f"{model.name}_{name}", plusargs=plusargs, limit=2_000_000
            )
            for task, result in zip(program.tasks, results, strict=True):
                assert result.error is None and result.violations["mask"] == 0
                expected = IntM3ViT.of(qmodel, config).run(image, task)
                for number, (mark, wanted) in enumerate(zip(result.marks[1:], expected, strict=True)):
                    assert compare(f"{task}: blocks.{number}", mark, wanted) is None
                assert compare(f"{task}: output", result.output, expected[-1]) is None
            assert [result.mark_counters[-1]["beat_toggles"] for result in results] == toggles


def test_any_port_of_results_may_fail(tmp_path: Path) -> None:
    """A port that never answers a write, or with an error, ends the run; the next one is good."""
    qmodel, image = random_qmodel(PADDED, 0, 4 if PORTS.narrow_weights else 8), random_image(PADDED, 0)
    program = compile_model(qmodel, PORTS, speculate=2)
    task, result = program.tasks[0], program.region("result")
    simulator = RtlSimulator(PORTS, memory_bytes=MEMORY_BYTES, base=program.address)
    good, runs = RtlRun(task, image=image), []
    for port in range(PORTS.ports):
        memory = {"dead_write_port": port, "dead_writes_after": 0}
        silent = RtlRun(task, image=image, memory=memory, memory_after={"dead_writes_after": -1}, watchdog=5000)
        place = result.address + result.bytes * port // PORTS.ports & -4
        memory = {"err_addr": place, "err_resp": 2}
        runs += [silent, good, RtlRun(task, image=image, memory=memory, memory_after={"err_resp": 0}), good]
    results = simulator.run(program, runs, work_dir=tmp_path, limit=2_000_000)
    wanted = IntM3ViT.of(qmodel, PORTS).run(image, task)[-1]
    codes = [None if result.error is None else result.error["code"] for result in results]
    assert codes == ["WATCHDOG", None, "WRITE_SLVERR", None] * PORTS.ports
    assert not any(result.violations["mask"] for result in results)
    assert all(compare("output", result.output, wanted) is None for result in results[1::2])
