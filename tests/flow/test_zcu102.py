"""The reference configuration at full size: whole m3vit-tiny on 64 x 64 multipliers, exact and within its cycles."""

from pathlib import Path

import numpy as np
import pytest

from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.golden import scenes, weights
from moesaic.golden.config import preset
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.quantize import quantize
from moesaic.hw.spec.config import PRESETS
from moesaic.sim.compare import compare
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlResult, RtlRun, RtlSimulator

pytestmark = pytest.mark.slow
CONFIG = PRESETS["zcu102"]


def run(
    name: str, directory: Path, blocks: int | None = None
) -> tuple[ProgramImage, np.ndarray, list[RtlResult]]:
    """All tasks of a seeded model on one scene, every block compared."""
    config = preset(name)
    model, _, kind = weights.load(name, 0, trained=False)  # seeded ones use every expert
    images, _, _ = scenes.render_batch(range(1000, 1002), config.image_size)
    qmodel = quantize(model, config, images, weights=kind, compensate=False)
    program = compile_model(qmodel, CONFIG, blocks=blocks)
    image = scenes.render_batch([7], config.image_size)[0][0]
    simulator = RtlSimulator(CONFIG, memory_bytes=len(program.memory), base=program.address)
    runs = [RtlRun(task, image=image) for task in program.tasks]
    results = simulator.run(program, runs, work_dir=directory, limit=2_000_000)
    for task, result in zip(program.tasks, results, strict=True):
        assert result.error is None, result.error
        assert result.violations["mask"] == 0, result.violations
        expected = IntM3ViT(qmodel, CONFIG.rows).run(image, task, blocks=blocks)
        for number, (mark, wanted) in enumerate(zip(result.marks[1:], expected, strict=True)):
            assert compare(f"{task} blocks.{number}", mark, wanted) is None
        assert compare(f"{task} output", result.output, expected[-1]) is None
    return program, image, results


def test_m3vit_tiny(tmp_path: Path) -> None:
    program, image, results = run("m3vit-tiny", tmp_path)
    functional = FunctionalSimulator(CONFIG)
    functional.load(program)
    for task, result in zip(program.tasks, results, strict=True):
        routings = functional.run(task, image).routings
        assert len(routings) == 6
        assert all(len(routing.lengths) >= 16 and all(routing.lengths[:16]) for routing in routings), "the image must use all 16 experts"
        assert result.counters["cycles"] <= 320_000


def test_two_blocks_of_deit_tiny(tmp_path: Path) -> None:
    run("deit-tiny", tmp_path, blocks=2)
