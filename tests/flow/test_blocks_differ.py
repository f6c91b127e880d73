"""A network whose blocks all differ, captured from a file and run whole on the RTL with stalls on every channel."""

from dataclasses import replace
from pathlib import Path

import all_different
import numpy as np
import pytest
from all_different import SIDE
from quantmodels import layer_replaced
from unlike import STALLS

from moesaic.compiler.image import ProgramImage
from moesaic.compiler.ir import CompileError
from moesaic.compiler.pipeline import compile_model
from moesaic.golden.belonging import ForeignWeights, check_belonging
from moesaic.golden.importers.imported import Imported
from moesaic.golden.importers.open import open_model
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.layers.sizes import LayerSizes, MLPSizes, MoESizes
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.network import Network
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantfile import load, save
from moesaic.golden.quantize import quantize
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.functional import FunctionalSimulator
from moesaic.sim.rtl import RtlRun

LAYERS = (  # mixtures where no rule would put them, each of its own size
    MLPSizes(hidden=72),
    MoESizes(experts=5, hidden=20, top_k=1, activation="silu", gated=True),
    MoESizes(experts=3, hidden=56, top_k=2),
    MLPSizes(hidden=128, activation="relu2"),
    MoESizes(experts=3, hidden=56, top_k=2),
)


@pytest.fixture(scope="module")
def captured() -> Imported:
    return open_model(f"{all_different.__file__}:net", ImportOptions())


@pytest.fixture(scope="module")
def model(captured: Imported) -> M3ViT:
    found = M3ViT(captured.network)
    found.load_state_dict(captured.state)
    return found.eval()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (3, 3, SIDE, SIDE), dtype=np.uint8)


@pytest.fixture(scope="module")
def qmodel(model: M3ViT, images: np.ndarray) -> QuantModel:
    return quantize(model, images[:2], weights="imported", compensate=False)


@pytest.fixture(scope="module")
def program(qmodel: QuantModel) -> ProgramImage:
    return compile_model(qmodel, PRESETS["micro8"])


def _layers(network: Network) -> tuple[LayerSizes, ...]:
    """What follows attention in each block."""
    return tuple(block.nodes[1].sizes for block in network.blocks)


def test_captured_as_it_is(captured: Imported) -> None:
    network = captured.network
    assert _layers(network) == LAYERS
    assert [block.nodes[1].norm.kind for block in network.blocks] == [*["layernorm"] * 3, "rmsnorm", "layernorm"]
    assert [node.owner for node in network.layers if node.borrows] == ["blocks.2.mlp"]


def test_kept_as_it_is(qmodel: QuantModel, program: ProgramImage, tmp_path: Path) -> None:
    save(qmodel, tmp_path / "network.safetensors")
    assert _layers(load(tmp_path / "network.safetensors").network) == LAYERS
    program.save(tmp_path / "program")
    assert _layers(ProgramImage.load(tmp_path / "program").network) == LAYERS


def test_weights_of_every_expert_are_held_against_the_float_ones(model: M3ViT, qmodel: QuantModel) -> None:
    check_belonging(model, qmodel)
    last = qmodel.blocks[4].layers[1]
    expert = last.experts[2]
    foreign = replace(expert, fc2=replace(expert.fc2, weight=np.roll(expert.fc2.weight, 1, axis=0)))
    mixture = replace(last, experts=(*last.experts[:2], foreign))
    other = replace(qmodel, blocks=(*qmodel.blocks[:4], layer_replaced(qmodel.blocks[4], 1, mixture)))
    with pytest.raises(ForeignWeights, match="blocks.4.mlp.experts.2.fc2"):
        check_belonging(model, other)
    with pytest.raises(CompileError, match="experts.2.fc2': weights must be those of 'blocks.2.mlp.experts.2.fc2'"):
        compile_model(other, PRESETS["micro8"])


def test_whole_on_the_rtl(rig, qmodel: QuantModel, program: ProgramImage, images: np.ndarray) -> None:
    (task,) = qmodel.network.tasks
    simulator = FunctionalSimulator(rig.config, seed=1)
    simulator.load(program)
    routings = simulator.run(task, images[2]).routings
    assert all(sum(length > 0 for length in routing.lengths) > 1 for routing in routings) and len(routings) == 3
    (result,) = rig.run(program, [RtlRun(task, image=images[2])], seed=3, plusargs=STALLS)
    rig.check(qmodel, result, images[2], task)
