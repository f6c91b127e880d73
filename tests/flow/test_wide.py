"""m3vit-micro with weights and activations of 16 bits, whole on RTL: every byte of every block; and what they are
worth.
"""

from pathlib import Path

import numpy as np
import pytest
from modelcosts import image_costs

from moesaic.compiler.cost import part_cycles
from moesaic.compiler.ir import CompileError
from moesaic.compiler.options import CompileOptions
from moesaic.compiler.pack import unpack_residual
from moesaic.compiler.pipeline import compile_all, compile_model
from moesaic.errors import InputError
from moesaic.flow.request import make_request
from moesaic.golden import weights
from moesaic.golden.config import network_of, preset
from moesaic.golden.evaluation import metrics
from moesaic.golden.evaluation.rounded_model import RoundedM3ViT, everything
from moesaic.golden.m3vit_int import IntM3ViT, force_experts
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantfile import load, save
from moesaic.golden.quantize import prepared, quantize
from moesaic.golden.training import scenes
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.spec.tables import DIGITS_TOP, PROBABILITY_BITS
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlRun

STALLS = [f"+stall_{channel}=40" for channel in ("ar", "r", "aw", "w", "b")]
GROUPS = PRESETS["micro8-wide"].replace(name="4x8-wide", rows=4, residual_words=2048)


def output(result: bytes) -> np.ndarray:
    model = preset("m3vit-micro")
    return unpack_residual(result, network_of(model).tokens, model.dim, PRESETS["micro8-wide"])


@pytest.fixture(scope="module")
def wide() -> QuantModel:
    config = preset("m3vit-micro")
    model, _, kind = weights.load("m3vit-micro", 0)
    images, _, _ = scenes.render_batch(range(1000, 1002), config.image_size)
    return quantize(model, images, weights=kind, compensate=False, expert_bits=16, acc_bits=40)


@pytest.mark.parametrize(
    ("config", "plusargs"),
    [(PRESETS["micro8-wide"], []), (PRESETS["micro8-wide"], STALLS), (GROUPS, [])],
    ids=["still", "stalls", "2 groups"],
)
def test_bit_exact(
    wide_rig, wide: QuantModel, scene: np.ndarray, config: AcceleratorConfig, plusargs: list[str]
) -> None:
    rig, program = wide_rig(config), compile_model(wide, config)
    tasks = program.tasks[: 1 if plusargs else 2]
    results = rig.run(program, [RtlRun(task, image=scene) for task in tasks], plusargs=plusargs, limit=3_000_000)
    functional = FunctionalSimulator(config)
    functional.load(program)
    for task, result in zip(tasks, results, strict=True):
        rig.check(wide, result, scene, task)
        run = functional.run(task, scene)
        for name in ("WEIGHT_BYTES", "INSTRUCTIONS_RETIRED", "STORE_BYTES"):
            assert result.counters[name.lower()] == run.counters[name], name
        if not plusargs:
            experts = {f"blocks.{2 * i + 1}": routing.lengths for i, routing in enumerate(run.routings)}
            expected = sum(part_cycles(image_costs(program, wide, task, experts)).values())
            assert abs(expected / result.counters["cycles"] - 1) < 0.03


def test_forced_experts(wide: QuantModel, scene: np.ndarray) -> None:
    """Routers closed by their biases, which count 256 units; guesses that were wrong."""
    config = PRESETS["micro8-wide"]
    forced = force_experts(wide, {1, 2, 4, 7})
    functional = FunctionalSimulator(config)
    functional.load(compile_model(forced, config, speculate=6))
    run = functional.run("depth", scene)
    assert np.array_equal(output(run.result), IntM3ViT.of(forced, config).run(scene, "depth")[-1])
    for routing in run.routings:
        assert {e for e, length in enumerate(routing.lengths) if length} <= {1, 2, 4, 7}
    assert run.counters["SPECULATED_BYTES_DROPPED"]


def test_what_it_is_worth(tmp_path: Path, wide: QuantModel, micro: QuantModel, scene: np.ndarray) -> None:
    """Against float every block is better by 9 dB at least; the float twin rounds alike; a file keeps everything."""
    assert (wide.widths, micro.widths) == ("w16a16", "w8a8")
    assert all(part.bits == 16 for part in (wide.embed, wide.blocks[0].layers[0].q, wide.blocks[0].layers[1].fc2))
    assert max(int(np.abs(block.layers[0].q.weight.astype(int)).max()) for block in wide.blocks) <= DIGITS_TOP
    config = preset("m3vit-micro")
    model, _, _ = weights.load("m3vit-micro", 0)
    images, _, _ = scenes.render_batch(range(1000, 1002), config.image_size)
    network = prepared(model, images, wide=True)
    batch = scene[None]
    # The twin's probabilities have the most bits that any array gives them.
    reference = RoundedM3ViT(network, wide, lambda block, part: 0).run(batch, "semseg").outputs
    twin = RoundedM3ViT(network, wide, everything).run(batch, "semseg").outputs
    for number, block in enumerate(wide.blocks):
        exact = reference[number][0].numpy()
        found = []
        for qmodel in (wide, micro):
            whole = IntM3ViT(qmodel, 8, max(PROBABILITY_BITS)).run(scene, "semseg", blocks=number + 1)[-1]
            found.append(metrics.sqnr_db(exact, whole * qmodel.blocks[number].residual_step))
        assert found[0] > max(40, found[1] + 9), (block.name, found)
        rounded = metrics.sqnr_db(exact, twin[number][0].numpy())
        assert abs(rounded - found[0]) < 4, (block.name, rounded, found)
    save(wide, tmp_path / "q")
    again = load(tmp_path / "q")
    assert again.widths == "w16a16" and np.array_equal(again.embed.weight, wide.embed.weight)


def test_only_where_operands_are_wide(wide: QuantModel) -> None:
    with pytest.raises(
        CompileError,
        match="layer 'embed': operands must be of 8 bits on configuration 'micro8', which has no wide_operands",
    ):
        compile_model(wide, PRESETS["micro8"].replace(acc_bits=40))
    with pytest.raises(
        CompileError, match="widths must be of 8 bits where LayerNorm has a pass of its own, not 'w16a16'"
    ):
        compile_all(wide, PRESETS["micro8-wide"], options=CompileOptions(normalise_on_read=False))
    with pytest.raises(ValueError, match="acc_bits must be 36 or more with wide_operands, not 27"):
        PRESETS["micro8"].replace(wide_operands=True)
    assert make_request(model="m3vit-micro", widths="w16a16").accelerator is PRESETS["micro8-wide"]
    assert (
        make_request(model="m3vit-tiny", widths="w16a16", board="zcu102-wide").name
        == "m3vit-tiny-semseg-zcu102-wide-w16a16"
    )
    with pytest.raises(
        InputError, match="widths must be of 8 bits on zcu104, which has no wide_operands, not 'w16a16': choose one of"
    ):
        make_request(model="m3vit-tiny", widths="w16a16", board="zcu104")
    with pytest.raises(InputError, match="widths must be of 8 bits on zcu102-small"):
        make_request(model="m3vit-small", widths="w16a16")


def test_results_of_8_and_16_bits_side_by_side(micro: QuantModel, scene: np.ndarray) -> None:
    """An accelerator with wide operands runs programs of 8 bits as well."""
    config = PRESETS["micro8-wide"]
    functional = FunctionalSimulator(config)
    functional.load(compile_model(micro, config))
    assert np.array_equal(
        output(functional.run("semseg", scene).result),
        IntM3ViT.of(micro, config).run(scene, "semseg")[-1],
    )
