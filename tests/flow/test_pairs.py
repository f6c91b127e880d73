"""Random networks on random configurations, and what such pairs have found."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from moesaic.compiler.batch import Batch
from moesaic.compiler.ir import CompileError
from moesaic.compiler.pipeline import compile_model
from moesaic.errors import InputError
from moesaic.flow.stages import Stages
from moesaic.flow.verify import pairs
from moesaic.flow.verify.configurations import random_configuration
from moesaic.flow.verify.networks import Model, random_model
from moesaic.golden.layers.sizes import MLPSizes, MoESizes, NormSizes
from moesaic.golden.m3vit import seeded
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.network import Network
from moesaic.golden.nodes import Image, Layer, TaskEmbeddingSizes, chain_of
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.functional import FunctionalSimulator

IMAGE = Image(height=6, width=10, patch_height=2, patch_width=2)
NORM = NormSizes()
MIXTURE = MoESizes(experts=3, hidden=8, top_k=2)


def network(*layers: object, dim: int = 8, **options: object) -> Network:
    nodes = chain_of(IMAGE, 0, dim, [[Layer(sizes=sizes, norm=NORM)] for sizes in layers])
    return Network(tasks=("x", "y"), image=IMAGE, nodes=nodes, **options)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *IMAGE.shape), dtype=np.uint8)


def quantised(of: Network) -> QuantModel:
    return quantize(seeded(of, 1), images(2), weights="seeded", compensate=False)


def test_pairs() -> None:
    """Thirty of seed 1: most are equal, and all refusals have a name."""
    endings = [pairs.try_pair(1, number) for number in range(30)]
    assert [problem for _, problem, _ in endings if problem] == []
    assert {pairs.EQUAL, pairs.NO_FIT, pairs.NO_NETWORK} <= {ending for ending, _, _ in endings}
    assert sum(ending == pairs.EQUAL for ending, _, _ in endings) >= 8


def test_a_pair_is_the_same_by_itself() -> None:
    def drawn(seed: int) -> Model:
        rng = random.Random(seed)
        return random_model(rng, random_configuration(rng, lanes=(8,), draws=3))

    assert drawn(3) == drawn(3) != drawn(4)


def test_what_must_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value, a refusal without words, one that comes late, a traceback, a warning, a cost model that fails."""
    number = next(n for n in range(30) if pairs.try_pair(1, n)[0] == pairs.EQUAL)
    right = pairs.expected

    def wrong(made: pairs.Made, config: object) -> list[np.ndarray]:
        blocks = right(made, config)
        blocks[-1][2, 1] += 1
        return blocks

    def fails(error: type[Exception], text: str) -> object:
        def fail(*given: object, **options: object) -> None:
            raise error(text)

        return fail

    def found(name: str, planted: object) -> tuple[str, str]:
        with monkeypatch.context() as patch:
            patch.setattr(pairs, name, planted)
            (failure,) = pairs.PAIRS.function({}, (1, number // pairs.CHUNK), Stages(quiet=True)).failures[:1]
        return failure.found.split(": ", 1)

    where, what = found("expected", wrong)
    assert where.startswith("seed 1, case ") and "token 2, channel 1 must be " in what and "blocks." in what
    assert "must be one line in words" in found("check", fails(InputError, "a\nb"))[1]
    assert (
        "refused after calibration: it does not fit" in found("compile_all", fails(CompileError, "it does not fit"))[1]
    )
    assert "KeyError in " in found("compile_all", fails(KeyError, "x"))[1]
    assert "RuntimeWarning in " in found("quantize", lambda *_, **__: np.float64(1) / np.zeros(1))[1]
    assert "ZeroDivisionError in " in found("TaskModel", fails(ZeroDivisionError, "x"))[1]


def test_images_whose_tokens_end_within_a_word_of_the_stream() -> None:
    """Found by `pairs`: two residual words come in one of the stream, and the 15 of an image do not fill the last."""
    qmodel, two = quantised(network(MLPSizes(hidden=4), dim=8)), images(2)
    config = PRESETS["micro8"].replace(load_rows=4, lanes=8, residual_words=31)
    program = compile_model(qmodel, config, tasks=[Batch(("x",), 2)])
    simulator = FunctionalSimulator(config, seed=1)
    simulator.load(program)
    run = simulator.run("x", two)
    golden = IntM3ViT.of(qmodel, config)
    assert np.array_equal(simulator.tensor(run, 1), np.concatenate([golden.run(one, "x")[0] for one in two]))
    with pytest.raises(CompileError, match=r"buffer 'residual' of 31 words does not fit"):
        compile_model(qmodel, config.replace(residual_words=30), tasks=[Batch(("x",), 2)])


def test_a_router_that_does_not_see_the_task_embedding_beside_one_that_does() -> None:
    """Found by `pairs`: it could not be computed in floats."""
    model = seeded(
        network(replace(MIXTURE, gate_task_dim=5), MIXTURE, task_embedding=TaskEmbeddingSizes(channels=5)), 1
    )
    with torch.no_grad():
        one, other = (model.folded_gate(0, task)[1] for task in "xy")
        assert not torch.equal(one, other) and not model.folded_gate(1, "x")[1].any()
        model(images(1), "x")
