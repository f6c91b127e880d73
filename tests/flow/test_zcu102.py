"""The reference configuration at full size: whole m3vit-tiny on 64 x 64 multipliers, exact and within its cycles."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from modelcosts import image_costs

from moesaic.compiler.cost import part_cycles
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.golden import weights
from moesaic.golden.config import preset
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.golden.training import scenes
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.compare import compare
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlResult, RtlRun, RtlSimulator

pytestmark = pytest.mark.slow
CONFIG = PRESETS["zcu102"]


def run(
    name: str, directory: Path, blocks: int | None = None
) -> tuple[ProgramImage, QuantModel, np.ndarray, list[RtlResult]]:
    """All tasks of a seeded model on one scene, every block compared."""
    config = preset(name)
    model, _, kind = weights.load(name, 0, trained=False)  # seeded ones use every expert
    images, _, _ = scenes.render_batch(range(1000, 1002), config.image_size)
    qmodel = quantize(model, images, weights=kind, compensate=False)
    program = compile_model(qmodel, CONFIG, blocks=blocks)
    image = scenes.render_batch([7], config.image_size)[0][0]
    simulator = RtlSimulator(CONFIG, memory_bytes=len(program.memory), base=program.address)
    runs = [RtlRun(task, image=image) for task in program.tasks]
    results = simulator.run(program, runs, work_dir=directory, limit=2_000_000)
    for task, result in zip(program.tasks, results, strict=True):
        assert result.error is None, result.error
        assert result.violations["mask"] == 0, result.violations
        expected = IntM3ViT.of(qmodel, CONFIG).run(image, task, blocks=blocks)
        for number, (mark, wanted) in enumerate(zip(result.marks[1:], expected, strict=True)):
            assert compare(f"{task} blocks.{number}", mark, wanted) is None
        assert compare(f"{task} output", result.output, expected[-1]) is None
    return program, qmodel, image, results


def check_model(
    program: ProgramImage,
    qmodel: QuantModel,
    task: str,
    experts: dict[str, tuple[int, ...]],
    result: RtlResult,
    blocks: int | None = None,
) -> None:
    """The analytic model is within 5 % of the RTL for every part of the network, 3 % for the image."""
    model = part_cycles(image_costs(program, qmodel, task, experts, blocks=blocks))
    ends = [mark["cycles"] for mark in result.mark_counters]
    measured = [after - before for before, after in itertools.pairwise([0, *ends, result.counters["cycles"]])]
    assert len(measured) == len(model)
    for (part, cycles), wanted in zip(model.items(), measured, strict=True):
        assert abs(cycles / wanted - 1) < 0.05, (part, cycles, wanted)
    assert abs(sum(model.values()) / result.counters["cycles"] - 1) < 0.03


def test_m3vit_tiny(tmp_path: Path) -> None:
    program, qmodel, image, results = run("m3vit-tiny", tmp_path)
    functional = FunctionalSimulator(CONFIG)
    functional.load(program)
    for task, result in zip(program.tasks, results, strict=True):
        routings = functional.run(task, image).routings
        assert len(routings) == 6
        assert all(len(routing.lengths) >= 16 and all(routing.lengths[:16]) for routing in routings), (
            "the image must use all 16 experts"
        )
        assert result.counters["cycles"] <= 300_000
        experts = {f"blocks.{2 * k + 1}": routing.lengths for k, routing in enumerate(routings)}
        check_model(program, qmodel, task, experts, result)


def test_two_blocks_of_deit_tiny(tmp_path: Path) -> None:
    program, qmodel, _, results = run("deit-tiny", tmp_path, blocks=2)
    for task, result in zip(program.tasks, results, strict=True):
        check_model(program, qmodel, task, {}, result, blocks=2)
