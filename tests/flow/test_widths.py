"""m3vit-micro with 4-bit experts, whole on the RTL that also runs it with 8: every byte of every block."""

from pathlib import Path

import numpy as np
import pytest
from modelcosts import image_costs

from moesaic.compiler.cost import part_cycles
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.flow.ablate import ablate
from moesaic.flow.program import load_program, make_program, save_program
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden import weights
from moesaic.golden.config import preset
from moesaic.golden.m3vit_int import force_experts
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.golden.training import scenes
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlRun

STALLS = [f"+stall_{channel}=40" for channel in ("ar", "r", "aw", "w", "b")]


@pytest.fixture(scope="module")
def narrow() -> QuantModel:
    """Quantised on two scenes, experts with 4 bits."""
    config = preset("m3vit-micro")
    model, _, kind = weights.load("m3vit-micro", 0)
    images, _, _ = scenes.render_batch(range(1000, 1002), config.image_size)
    return quantize(model, images, weights=kind, compensate=False, expert_bits=4)


@pytest.mark.parametrize("plusargs", [[], STALLS], ids=["still", "stalls"])
def test_bit_exact(
    rig, narrow: QuantModel, micro: QuantModel, micro_program: ProgramImage, scene: np.ndarray, plusargs: list[str]
) -> None:
    program = compile_model(narrow, rig.config)
    results = rig.run(program, [RtlRun(task, image=scene) for task in program.tasks], plusargs=plusargs)
    for task, result in zip(program.tasks, results, strict=True):
        rig.check(narrow, result, scene, task)
    if not plusargs:
        functional = FunctionalSimulator(rig.config)
        functional.load(program)
        for task, result in zip(program.tasks, results, strict=True):
            routings = functional.run(task, scene).routings
            experts = {f"blocks.{2 * i + 1}": routing.lengths for i, routing in enumerate(routings)}
            expected = sum(part_cycles(image_costs(program, narrow, task, experts)).values())
            assert abs(expected / result.counters["cycles"] - 1) < 0.03
        wide = rig.run(micro_program, [RtlRun(program.tasks[0], image=scene)])[0]
        rig.check(micro, wide, scene, program.tasks[0])
        saved = wide.counters["weight_bytes"] - results[0].counters["weight_bytes"]
        assert saved == 2 * 8 * 64 * 128  # half of two matrices of 8 experts in 2 mixtures
        assert results[0].counters["cycles"] < 1.001 * wide.counters["cycles"]  # this network waits for the array alone


def test_wrong_guesses_are_dropped(rig, narrow: QuantModel, scene: np.ndarray) -> None:
    """Speculated experts that get no token: their words, half as many, leave the weight stream unused."""
    forced = force_experts(narrow, {1, 2, 4, 7})
    program = compile_model(forced, rig.config, speculate=6)
    functional = FunctionalSimulator(rig.config)
    functional.load(program)
    results = rig.run(program, [RtlRun(task, image=scene) for task in program.tasks], plusargs=STALLS)
    for task, result in zip(program.tasks, results, strict=True):
        rig.check(forced, result, scene, task)
        expected = functional.run(task, scene).counters
        for name in ("WEIGHT_BYTES", "SPECULATED_BYTES_DROPPED"):
            assert result.counters[name.lower()] == expected[name]
        assert result.counters["speculated_bytes_dropped"]


def test_flow(tmp_path: Path) -> None:
    """Kept on disk with its widths; every variant of the ablation runs with them."""
    stages = Stages(quiet=True)
    request = make_request(model="m3vit-micro", task="depth", blocks=2, widths="w4a8")
    assert request.name == "m3vit-micro-depth-micro8-w4a8"
    program, _ = make_program(request, stages, cache=tmp_path)
    (tmp_path / "program").mkdir()
    save_program(program, tmp_path / "program")
    again = load_program(tmp_path / "program", stages)
    assert (again.request.widths, again.qmodel.widths) == ("w4a8", "w4a8")
    other, _ = make_program(request.replace(widths="w8a8"), stages, cache=tmp_path)
    assert other.qmodel.widths == "w8a8"
    image = scenes.render_batch([7], request.model.image_size)[0][0]
    rows = ablate(again, image, "depth", stages, rtl=False).variants
    assert all(row.bit_exact for row in rows)
