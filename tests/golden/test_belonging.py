"""A quantised network is told from one of other weights, whatever the widths; its own is never refused."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from moesaic.golden import quantfile
from moesaic.golden.belonging import ForeignWeights, check_belonging
from moesaic.golden.config import M3ViTConfig
from moesaic.golden.layers.layer import QuantLayer
from moesaic.golden.m3vit import M3ViT, build
from moesaic.golden.qmodel import WIDTHS, QuantModel
from moesaic.golden.quantize import quantize

CONFIG = M3ViTConfig(
    name="tiny",
    image_size=(16, 16),
    patch_size=8,
    dim=32,
    heads=2,
    depth=2,
    mlp_ratio=2.0,
    experts=4,
    expert_hidden=16,
    top_k=2,
)


@pytest.fixture(scope="module")
def model() -> M3ViT:
    return build(CONFIG, 1)


@pytest.fixture(scope="module", params=WIDTHS.values(), ids=WIDTHS)
def qmodel(request: pytest.FixtureRequest, model: M3ViT) -> QuantModel:
    images = np.random.default_rng(5).integers(0, 256, (2, 3, *CONFIG.image_size), dtype=np.uint8)
    return quantize(model, images, weights="seeded", expert_bits=request.param)


def test_its_own_weights(model: M3ViT, qmodel: QuantModel) -> None:
    found = check_belonging(model, qmodel)
    assert 0.25 < found.rms_steps < 1
    assert found.matrix in {"embed", *(matrix.linear.name for matrix in qmodel.matrices())}


def test_the_weights_of_another_seed(qmodel: QuantModel) -> None:
    with pytest.raises(ForeignWeights, match=r"quantised weights must be those of the float network to .* steps"):
        check_belonging(build(CONFIG, 2), qmodel)


def _changed(qmodel: QuantModel, name: str, change: Callable[[np.ndarray], np.ndarray]) -> QuantModel:
    """The network with the integers of one matrix changed."""
    arrays: dict[str, np.ndarray] = {}
    tree = quantfile.encode(qmodel, "", arrays)
    arrays[name] = change(arrays[name])
    return quantfile.decode(tree, arrays)


@pytest.mark.parametrize(
    "name",
    [
        "embed.weight",
        "blocks.0.layers.0.q.weight",
        "blocks.1.layers.0.v.weight",
        "blocks.1.layers.0.proj.weight",
        "blocks.0.layers.1.fc1.weight",
        "blocks.0.layers.1.fc2.weight",
        "blocks.1.layers.1.gates.semseg.weight",
        "blocks.1.layers.1.experts.3.fc1.weight",
        "blocks.1.layers.1.experts.0.fc2.weight",
    ],
)
def test_one_matrix_of_other_integers(name: str, model: M3ViT, qmodel: QuantModel) -> None:
    with pytest.raises(ForeignWeights):  # the right integers in the wrong places
        check_belonging(model, _changed(qmodel, name, lambda weight: np.roll(weight, 1, axis=1)))
    with pytest.raises(ForeignWeights):
        check_belonging(model, _changed(qmodel, name, lambda weight: weight[::-1].copy()))


def test_experts_in_another_order(model: M3ViT, qmodel: QuantModel) -> None:
    def turned(layer: QuantLayer) -> QuantLayer:
        if layer.routed is None:
            return layer
        first, second, *rest = layer.experts
        names = [
            {part: getattr(expert, part).name for part in ("fc1", "fc2")} for expert in (first, second)
        ]  # as a file with its experts swapped would be read
        swapped = [
            replace(expert, **{part: replace(getattr(expert, part), name=name) for part, name in named.items()})
            for expert, named in zip((second, first), names, strict=True)
        ]
        return replace(layer, experts=(*swapped, *rest))

    with pytest.raises(ForeignWeights, match=r"blocks\.1\.mlp\.experts\.0"):
        check_belonging(model, qmodel.with_layers(turned))


def test_another_configuration(qmodel: QuantModel) -> None:
    with pytest.raises(ForeignWeights, match="quantised network must be of"):
        check_belonging(build(replace(CONFIG, name="other", expert_hidden=8), 1), qmodel)


def test_a_digest_of_every_number(qmodel: QuantModel) -> None:
    known = quantfile.digest(qmodel)
    flip = np.zeros(qmodel.position.shape, qmodel.position.dtype)
    flip[2, 7] = 1
    assert known == quantfile.digest(_changed(qmodel, "position", np.copy))
    others = {
        quantfile.digest(replace(qmodel, embed_step=qmodel.embed_step * 2)),
        quantfile.digest(_changed(qmodel, "position", lambda array: array ^ flip)),
        quantfile.digest(_changed(qmodel, "blocks.1.layers.1.experts.3.fc2.bias", lambda array: array + 1)),
        quantfile.digest(_changed(qmodel, "embed.weight", lambda array: array.astype(np.int32))),
    }
    assert len({known, *others}) == 5
