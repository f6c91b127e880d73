"""Operators are recognised in every spelling, and their canonical parameters compute what the module computes."""

import operators
import pytest
import torch
import zoo
from canonical import recognised
from operators import Half
from torch import nn
from zoo import DIM, HEADS

from moesaic.golden.frontend.prepare import prepare
from moesaic.golden.frontend.recognise import Recognised, recognise


def halves(found: Recognised) -> list[str]:
    return [residual.block.kind for residual in found.residuals]


def last_facts(found: Recognised) -> dict:
    return found.residuals[-1].block.facts


@pytest.mark.parametrize("spelling", operators.ACTIVATIONS)
def test_activations(spelling):
    kind, function = operators.ACTIVATIONS[spelling]
    facts = last_facts(recognised(zoo.vit(mlp=lambda: zoo.Mlp(DIM, zoo.Activation(function)))))
    assert facts["hidden"] == {"activation": kind, "gated": False}
    assert facts.get("gelu") == {"gelu": "exact", "gelu_tanh": "tanh"}.get(kind)


@pytest.mark.parametrize("name", operators.GATED)
def test_gated_mlps(name):
    kind, make = operators.GATED[name]
    block = recognised(zoo.vit(mlp=make)).residuals[-1].block
    assert (block.kind, block.facts["hidden"]) == ("mlp", {"activation": kind, "gated": True})
    for key, shape in (("gate_proj", (48, DIM)), ("fc1", (48, DIM)), ("fc2", (DIM, 48))):
        assert block.parameters[f"mlp.{key}.weight"].shape == shape
        assert block.parameters[f"mlp.{key}.bias"].shape == shape[:1]
    assert block.names["mlp.gate_proj.weight"]


@pytest.mark.parametrize("name", operators.MIXTURES)
def test_mixtures(name):
    kind, gated, make = operators.MIXTURES[name]
    block = recognised(zoo.vit(mlp=make)).residuals[-1].block
    assert (block.kind, block.facts["hidden"]) == ("mixture", {"activation": kind, "gated": gated})
    assert ("mlp.experts.gate_proj.weight" in block.parameters) == gated
    assert all(t.shape[0] == 4 for key, t in block.parameters.items() if key.startswith("mlp.experts"))


@pytest.mark.parametrize("name", operators.RMS_NORMS)
def test_rms_norms(name):
    eps, make = operators.RMS_NORMS[name]
    model = zoo.vit()
    model.blocks[0] = operators.RmsBlock(make, zoo.Fused(DIM, HEADS), zoo.Mlp(DIM))
    # What the module computes of its parameters alone is a float32 in the graph.
    for residual in recognised(zoo.seeded(model), within=1e-6 if name == "Gemma's" else 1e-9).residuals:
        assert residual.block.norm.kind == "rmsnorm"
        assert residual.block.norm.eps == pytest.approx(eps, abs=1e-12)


def test_rms_norm_without_eps_has_that_of_its_type():
    model = zoo.vit()
    model.blocks[0].norm1 = nn.RMSNorm(DIM).eval()
    found = recognise(prepare(model)[0], zoo.image())
    norms = [residual.block.norm for residual in found.residuals]
    assert [norm.kind for norm in norms] == ["rmsnorm", "layernorm"]
    assert norms[0].eps == torch.finfo(torch.float32).eps


@pytest.mark.parametrize(("heads", "scale"), [(1, None), (3, None), (2, 0.3)])
def test_heads_of_a_width_of_their_own(heads, scale):
    block = recognised(zoo.vit(lambda: operators.Inner(heads, 8, scale))).residuals[0].block
    assert (block.facts["heads"], block.facts["head_dim"]) == (heads, 8)
    assert block.parameters["attn.proj.weight"].shape == (DIM, heads * 8)


@pytest.mark.parametrize(("turned", "scale"), [(False, False), (True, False), (True, True)])
def test_no_output_projection(turned, scale):
    block = recognised(zoo.vit(lambda: operators.Unprojected(turned), scale=scale)).residuals[0].block
    weight = block.parameters["attn.proj.weight"]
    assert int((weight != 0).sum()) == DIM and not bool(block.parameters["attn.proj.bias"].any())
    if not scale:
        eye = torch.eye(DIM, dtype=weight.dtype)
        assert torch.equal(weight, eye.flip(0) if turned else eye)


def test_keys_and_values_of_all_heads():
    assert last_facts(recognised(zoo.vit(operators.SharedKeys)))["hidden"]["activation"] == "gelu"


@pytest.mark.parametrize(
    ("channels", "patch", "linear"),
    [(1, (8, 8), False), (2, (4, 8), True), (3, (16, 2), False), (3, (4, 12), True), (4, (8, 4), True)],
)
def test_patches(channels, patch, linear):
    found = recognised(zoo.vit(embed=operators.Cut(channels, patch, linear)), channels, (16, 24))
    patches = found.embed.linear.source
    assert patches.size == patch and patches.grid == (16 // patch[0], 24 // patch[1])
    assert patches.shape == (patches.grid[0] * patches.grid[1], channels * patch[0] * patch[1])


def of_halves(*make) -> nn.Module:
    return zoo.seeded(zoo.Vit(zoo.Conv(), nn.Sequential(*(Half(f()) for f in make))))


def attention() -> nn.Module:
    return zoo.Fused(DIM, HEADS)


def mlp() -> nn.Module:
    return zoo.Mlp(DIM)


@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        ((mlp,), ["mlp"]),
        ((attention,), ["attention"]),
        ((mlp, mlp), ["mlp", "mlp"]),
        ((mlp, attention), ["mlp", "attention"]),
        ((attention, attention, mlp), ["attention", "attention", "mlp"]),
        ((attention, operators.GatedLoop, mlp), ["attention", "mixture", "mlp"]),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value[0], str) else "",
)
def test_halves_in_any_order(make, kinds):
    assert halves(recognised(of_halves(*make))) == kinds


@pytest.mark.parametrize(
    "head", [operators.PoolingHead, lambda: operators.PoolingHead(3), operators.ClassAttention, zoo.PooledHead]
)
def test_attention_behind_the_last_block_is_the_host_s(head):
    found = recognised(zoo.vit(head=head(), depth=2))
    assert halves(found) == ["attention", "mlp"] * 2
