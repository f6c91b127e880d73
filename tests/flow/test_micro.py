"""m3vit-micro whole on the RTL of an 8 x 8 accelerator: every byte of every block, whatever the memory does."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from modelcosts import image_costs

from moesaic import job
from moesaic.boards.board import load_board
from moesaic.compiler.cost import part_cycles
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.memory import IDEAL, DdrTiming
from moesaic.compiler.pipeline import compile_model
from moesaic.flow.program import make_program
from moesaic.flow.request import make_request
from moesaic.flow.run import Options
from moesaic.flow.stages import Stages
from moesaic.golden.layers.moe import QuantMoE
from moesaic.golden.m3vit_int import force_experts
from moesaic.golden.qmodel import QuantModel
from moesaic.sim.ddr import memory_plusargs
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlRun

STALLS = ("stall_ar", "stall_r", "stall_aw", "stall_w", "stall_b")


def paused(percent: int) -> list[str]:
    return [f"+{name}={percent}" for name in STALLS]


def test_tasks_in_any_order(rig, micro: QuantModel, micro_program: ProgramImage, scene: np.ndarray) -> None:
    """Bit exact, and switching tasks costs no cycle: A, B, A, B takes what A, A, B, B takes."""
    a, b = micro_program.tasks
    order = [a, b, a, b, a, a, b, b]
    results = rig.run(micro_program, [RtlRun(task, image=scene) for task in order])
    for task, result in zip(order, results, strict=True):
        rig.check(micro, result, scene, task)
    cycles = [result.counters["cycles"] for result in results]
    mixed, sorted_ = sum(cycles[:4]), sum(cycles[4:])
    assert abs(mixed - sorted_) <= 0.001 * sorted_, cycles


@pytest.mark.parametrize(
    ("seed", "percent", "latency", "bandwidth"), [(1, 20, 100, 64), (2, 50, 37, 64), (3, 80, 3, 9)]
)
def test_stalls_on_every_channel(
    rig,
    micro: QuantModel,
    micro_program: ProgramImage,
    scene: np.ndarray,
    seed: int,
    percent: int,
    latency: int,
    bandwidth: int,
) -> None:
    tasks = micro_program.tasks
    results = rig.run(
        micro_program,
        [RtlRun(task, image=scene) for task in tasks],
        seed=seed,
        plusargs=[*paused(percent), f"+latency={latency}", f"+bandwidth={bandwidth}"],
    )
    for task, result in zip(tasks, results, strict=True):
        rig.check(micro, result, scene, task)


def test_a_dram_that_is_slower_than_the_port(
    rig, micro: QuantModel, micro_program: ProgramImage, scene: np.ndarray
) -> None:
    """Every value as ever, more cycles, and the model knows how many."""
    task, functional = micro_program.tasks[0], FunctionalSimulator(rig.config)
    timing = load_board("zcu102").memory.timing(300.0)
    assert timing is not None
    ddr = DdrTiming(100, dataclasses.replace(timing, rate=4.0))
    (result,) = rig.run(micro_program, [RtlRun(task, image=scene)], plusargs=memory_plusargs(ddr, rig.config))
    rig.check(micro, result, scene, task)
    functional.load(micro_program)
    mixtures = [f"blocks.{k}" for k, block in enumerate(micro.blocks) if isinstance(block.layers[1], QuantMoE)]
    experts = {name: r.lengths for name, r in zip(mixtures, functional.run(task, scene).routings, strict=True)}
    ideal, slow = (
        sum(part_cycles(image_costs(micro_program, micro, task, experts, ddr=d)).values()) for d in (IDEAL, ddr)
    )
    cycles = result.counters["cycles"]
    assert cycles > 1.03 * ideal and abs(slow / cycles - 1) < 0.005, (ideal, slow, cycles)


def test_every_image_of_a_run_counts(rig, micro: QuantModel, micro_program: ProgramImage, scene: np.ndarray) -> None:
    """Nothing of one image is left in the next."""
    task = micro_program.tasks[0]
    images = [scene, np.zeros_like(scene), np.full_like(scene, 255), scene[:, ::-1].copy()]
    results = rig.run(micro_program, [RtlRun(task, image=image) for image in images])
    for image, result in zip(images, results, strict=True):
        rig.check(micro, result, image, task)


@pytest.mark.parametrize("speculate", [0, 6])
def test_experts_without_tokens_cost_nothing(rig, micro: QuantModel, scene: np.ndarray, speculate: int) -> None:
    """Routers that can only choose four experts: the other four are not read, or counted as guessed wrongly."""
    chosen = {1, 2, 4, 7}
    forced = force_experts(micro, chosen)
    program = compile_model(forced, rig.config, speculate=speculate)
    results = rig.run(program, [RtlRun(task, image=scene) for task in program.tasks])
    functional = FunctionalSimulator(rig.config)
    functional.load(program)
    everything = set(range(micro.network.most_experts))
    for task, result in zip(program.tasks, results, strict=True):
        rig.check(forced, result, scene, task)
        expected = functional.run(task, scene)
        lengths = [routing.lengths for routing in expected.routings]
        assert all(length == 0 for queue in lengths for e, length in enumerate(queue) if e not in chosen)
        assert any(all(queue[e] for e in chosen) for queue in lengths)
        used = [{e for e, length in enumerate(queue) if length} for queue in lengths]
        mixtures = list(program.manifest["experts"].values())
        assert len(mixtures) == len(used) == sum(isinstance(block.layers[1], QuantMoE) for block in micro.blocks)

        def size(experts: list[set[int]], mixtures=mixtures) -> int:
            return sum(ranges[str(e)]["bytes"] for ranges, group in zip(mixtures, experts, strict=True) for e in group)

        read, dropped = result.counters["weight_bytes"], result.counters["speculated_bytes_dropped"]
        assert read == expected.counters["WEIGHT_BYTES"]
        assert dropped == expected.counters["SPECULATED_BYTES_DROPPED"]
        fixed = full_bytes(rig, micro, scene, task) - size([everything] * len(mixtures))
        assert read - dropped == fixed + size(used)
        if speculate:
            assert 0 < dropped <= size([everything - group for group in used])
        else:
            assert dropped == 0


def full_bytes(rig, micro: QuantModel, scene: np.ndarray, task: str) -> int:
    """Bytes of the weight stream if every expert is read."""
    program = compile_model(micro, rig.config, tasks=[task], speculate=micro.network.most_experts)
    functional = FunctionalSimulator(rig.config)
    functional.load(program)
    return functional.run(task, scene).counters["WEIGHT_BYTES"]


def test_analytic_model(tmp_path: Path) -> None:
    """The cost model is within 0.1 % of the RTL for every block and the image, 2 % for the short parts before and
    after; here of both tasks at once, below of one.
    """
    request = make_request(model="m3vit-micro", task="all", together=True)
    stages = Stages(quiet=True)
    program, _ = make_program(request, stages, cache=tmp_path)
    report = job.simulate(program, Options(out=tmp_path / "out", rtl=True), stages)
    for entry in report.tasks.values():
        model = entry.model_cycles
        assert [*model] == ["image", "embed", *(block.name for block in entry.blocks), "result"]
        assert all(
            abs(part.error) < (0.02 if name in ("embed", "result") else 0.001) for name, part in model.items()
        ), model


@pytest.mark.parametrize("chosen, speculate", [({1, 6}, 0), ({1, 6}, 2), ({1, 2, 4, 7}, 6)])
def test_analytic_model_of_experts_left_out(
    rig, micro: QuantModel, scene: np.ndarray, chosen: set[int], speculate: int
) -> None:
    """Skipping an expert, and dropping one that was fetched in vain, takes the cycles that the model says."""
    forced = force_experts(micro, chosen)
    program = compile_model(forced, rig.config, speculate=speculate)
    task = program.tasks[0]
    result = rig.run(program, [RtlRun(task, image=scene)])[0]
    rig.check(forced, result, scene, task)
    functional = FunctionalSimulator(rig.config)
    functional.load(program)
    mixtures = [f"blocks.{k}" for k, block in enumerate(forced.blocks) if isinstance(block.layers[1], QuantMoE)]
    experts = {name: r.lengths for name, r in zip(mixtures, functional.run(task, scene).routings, strict=True)}
    assert any(0 in lengths for lengths in experts.values())
    model = part_cycles(image_costs(program, forced, task, experts, speculate=speculate))
    ends = [*(mark["cycles"] for mark in result.mark_counters), result.counters["cycles"]]
    measured = dict(zip(model, np.diff(ends, prepend=0), strict=True))
    # A mixture of eight experts is some 40,000 cycles here, so an expert forgotten is a fifth of a percent.
    assert all(abs(model[name] - measured[name]) <= 0.002 * measured[name] for name in mixtures), (model, measured)
    assert abs(sum(model.values()) / ends[-1] - 1) < 0.001
