"""Plain ViT and DeiT: timm's names against the published equations, transformers' against its own models."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from published import IMAGENET, Geometry, cut_to, dense_state, reference
from safetensors.torch import save_file

from moesaic.golden.importers.imported import Imported
from moesaic.golden.importers.open import open_model
from moesaic.golden.importers.options import ImportOptions
from moesaic.golden.importers.problem import ImportProblem
from moesaic.golden.m3vit import M3ViT

transformers = pytest.importorskip("transformers")

DENSE = Geometry(32, 32, 8, 64, 1, 3, 128)
TWO = ImportOptions(heads=2)


def dense_reference(g: Geometry, state: dict[str, torch.Tensor], image: np.ndarray) -> torch.Tensor:
    """Output of the last block; block i is moved to an even place, where the reference has dense blocks."""
    spread = {name: t for name, t in state.items() if not name.startswith("blocks.")}
    outputs = None
    for i in range(g.depth):
        here = {
            name.replace(f"blocks.{i}.", "blocks.0."): t for name, t in state.items() if name.startswith(f"blocks.{i}.")
        }
        outputs = _one_block(g, spread | here, image, outputs)
    assert outputs is not None
    return outputs


def _one_block(g: Geometry, state: dict[str, torch.Tensor], image, x: torch.Tensor | None) -> torch.Tensor:
    if x is None:
        return reference(g, state, image, 0, blocks=1)[-1]
    # No pixels, and the residual in the place of the positions.
    blank = state | {"pos_embed": x[None], "cls_token": torch.zeros(1, 1, g.dim, dtype=torch.float64)}
    blank["patch_embed.proj.weight"] = torch.zeros_like(state["patch_embed.proj.weight"])
    blank["patch_embed.proj.bias"] = torch.zeros_like(state["patch_embed.proj.bias"])
    return reference(g, blank, image, 0, blocks=1)[-1]


@torch.no_grad()
def output(imported: Imported, image: np.ndarray | torch.Tensor) -> torch.Tensor:
    model = M3ViT(imported.network)
    model.load_state_dict(imported.state)
    return model.double().eval()(torch.as_tensor(image), 0)[-1]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_timm_names(tmp_path, suffix):
    state, path = dense_state(DENSE), tmp_path / f"vit{suffix}"
    tail = {"norm.weight": torch.ones(64), "norm.bias": torch.zeros(64), "head.weight": torch.ones(5, 64)}
    if suffix == ".pth":
        torch.save({"model": state | tail}, path)
    else:
        save_file(state | tail, path)
    imported = open_model(str(path), ImportOptions())
    network = imported.network
    assert (network.name, network.image_size, network.head_splits[0][0], network.eps) == ("vit", (32, 32), 1, 1e-6)
    assert not network.mixtures
    assert network.tasks == ("classification",) and (network.image.pixel_mean, network.image.pixel_std) == IMAGENET
    assert set(imported.heads) == set(tail)
    image = np.random.default_rng(1).random((3, 32, 32))
    np.testing.assert_allclose(output(imported, image), dense_reference(DENSE, state, image), rtol=0, atol=1e-5)


def test_blocks_of_a_pruned_network_keep_their_own_widths(tmp_path):
    state = cut_to(cut_to(dense_state(DENSE), 1, hidden=40), 2, hidden=72)
    torch.save(state, tmp_path / "vit.pth")
    imported = open_model(str(tmp_path / "vit.pth"), ImportOptions())
    assert [block.nodes[1].sizes.units for block in imported.network.blocks] == [128, 40, 72]
    image = np.random.default_rng(1).random((3, 32, 32))
    np.testing.assert_allclose(output(imported, image), dense_reference(DENSE, state, image), rtol=0, atol=1e-5)


def test_layers_that_hold_the_same_numbers_are_kept_once(tmp_path):
    state, image = dense_state(DENSE), np.random.default_rng(1).random((3, 32, 32))
    for name in [name for name in state if name.startswith("blocks.0.mlp.")]:
        state[name.replace("s.0.", "s.2.")] = state[name].clone()
    for name in [name for name in state if name.startswith(("blocks.0.attn.", "blocks.0.norm1."))]:
        state[name.replace("s.0.", "s.1.")] = state[name].clone()
    state["blocks.0.attn.proj.bias"][3] += 1e-6
    torch.save(state, tmp_path / "a.pth")
    imported = open_model(str(tmp_path / "a.pth"), ImportOptions())
    assert {node.name: node.owner for node in imported.network.layers if node.borrows} == {
        "blocks.2.mlp": "blocks.0.mlp"
    }
    np.testing.assert_allclose(output(imported, image), dense_reference(DENSE, state, image), rtol=0, atol=1e-5)
    state["blocks.0.attn.proj.bias"] = state["blocks.1.attn.proj.bias"]
    torch.save(state, tmp_path / "a.pth")
    sharing = {
        n.name: n.sharing for n in open_model(str(tmp_path / "a.pth"), ImportOptions()).network.layers if n.sharing
    }
    assert {name: (s.owner, s.own_norms) for name, s in sharing.items()} == {
        **dict.fromkeys(("blocks.0.attn", "blocks.1.attn"), ("blocks.0.attn", False)),
        **dict.fromkeys(("blocks.0.mlp", "blocks.2.mlp"), ("blocks.0.mlp", True)),
    }


def test_no_biases_of_queries_no_class_token_positions_and_layer_scale(tmp_path):
    state, image = dense_state(DENSE), np.random.default_rng(1).random((3, 32, 32))
    scaled = dict(state)
    for i in range(3):
        state[f"blocks.{i}.attn.qkv.bias"] = torch.zeros(192)
        del scaled[f"blocks.{i}.attn.qkv.bias"]
        for n, layer in ((1, "attn.proj"), (2, "mlp.fc2")):
            gamma = torch.linspace(0.1, 2, 64)
            scaled[f"blocks.{i}.ls{n}.gamma"] = gamma
            for part in ("weight", "bias"):
                tensor = state[f"blocks.{i}.{layer}.{part}"]
                state[f"blocks.{i}.{layer}.{part}"] = tensor * (gamma[:, None] if tensor.ndim == 2 else gamma)
    state["pos_embed"][0, 0] = 0
    scaled["pos_embed"] = state["pos_embed"][:, 1:]
    torch.save(scaled, tmp_path / "a.pth")
    imported = open_model(str(tmp_path / "a.pth"), ImportOptions())
    assert any("6 LayerScale" in note for note in imported.report.notes)
    np.testing.assert_allclose(output(imported, image), dense_reference(DENSE, state, image), rtol=0, atol=1e-5)


def test_what_is_not_in_a_plain_vit_is_listed(tmp_path):
    state = dense_state(DENSE)
    state["blocks.1.attn.q_norm.weight"] = torch.ones(64)
    state["blocks.1.ls1.gamma"] = torch.ones(3)
    del state["blocks.2.mlp.fc2.bias"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ImportProblem) as caught:
        open_model(str(tmp_path / "a.pth"), ImportOptions())
    assert caught.value.groups == {
        "missing": ["blocks.2.mlp.fc2.bias: [64]"],
        "not in the model": ["blocks.1.attn.q_norm.weight: [64]", "blocks.1.ls1.gamma: [3]"],
    }


def theirs(kind: str, **changes) -> torch.nn.Module:
    """A small ViT or DeiT as `transformers` builds it, weights large enough to matter."""
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 80,
        "image_size": 48,
        "patch_size": 16,
        "initializer_range": 0.2,
    }
    torch.manual_seed(4)
    model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**sizes | changes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += 0.1 * torch.randn(parameter.shape) * ("weight" not in name or "norm" in name)
    return model.eval()


@pytest.mark.parametrize("form", ["folder", "file", "names of the module", "half"])
@pytest.mark.parametrize(
    "kind, changes", [("ViT", {}), ("DeiT", {}), ("ViT", {"qkv_bias": False, "hidden_act": "gelu_new"})]
)
def test_transformers_names(tmp_path, kind, changes, form):
    model = theirs(kind, **changes)
    path, options = tmp_path / "theirs", ImportOptions()
    if form == "names of the module":  # without config.json: what it says has to be said
        if "hidden_act" in changes:
            pytest.skip("its GELU is in config.json alone")
        options = ImportOptions(heads=4)
        path = tmp_path / "theirs.pth"
        torch.save({f"{kind.lower()}.{name}": tensor for name, tensor in model.state_dict().items()}, path)
    else:
        if form == "half":
            model = model.bfloat16()
        model.save_pretrained(path)
        model = model.float()
        path = path / "model.safetensors" if form == "file" else path
    imported = open_model(str(path), options)
    network = imported.network
    assert (network.head_splits[0][0], network.image_size, network.eps) == (4, (48, 48), 1e-12)
    mlp = network.nodes[2].sizes
    assert network.extra_tokens == (kind == "DeiT")
    assert (mlp.hidden, mlp.activation) == (80, "gelu_tanh" if "hidden_act" in changes else "gelu")
    assert ("layernorm.weight" in imported.heads or "norm.weight" in imported.heads) and len(imported.heads) >= 2
    image = torch.from_numpy(np.random.default_rng(1).random((3, 48, 48)))
    with torch.no_grad():
        pixels = (image - 0.5) / 0.5
        expected = model.double()(pixels[None], output_hidden_states=True).hidden_states[-1][0]
    np.testing.assert_allclose(output(imported, image), expected, rtol=0, atol=1e-5)


def test_transformers_parts_that_are_missing_keep_their_names(tmp_path):
    state = dict(theirs("ViT").state_dict())
    del state["layers.1.attention.k_proj.weight"], state["layers.2.mlp.fc1.bias"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ImportProblem) as caught:
        open_model(str(tmp_path / "a.pth"), ImportOptions(heads=4))
    missing = " ".join(caught.value.groups["missing"])
    assert "layers.1.attention.query, key and value.weight" in missing and "blocks.2.mlp.fc1.bias" in missing
    assert any("layers.1.attention.q_proj.weight" in entry for entry in caught.value.groups["not in the model"])


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"hidden_act": "relu"}', "hidden_act must be one of gelu,.*not 'relu'"),
        ("{", "config.json must be a readable JSON file"),
    ],
)
def test_bad_configuration_beside_the_weights(tmp_path: Path, text: str, message: str):
    theirs("ViT").save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "config.json").write_text(text)
    with pytest.raises(ImportProblem, match=message):
        open_model(str(tmp_path / "theirs"), TWO)


def test_normalisation_beside_the_weights(tmp_path: Path):
    theirs("ViT").save_pretrained(tmp_path / "theirs")
    said = {"do_normalize": True, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (tmp_path / "theirs" / "preprocessor_config.json").write_text(json.dumps(said))
    network = open_model(str(tmp_path / "theirs"), ImportOptions()).network
    assert (network.image.pixel_mean, network.image.pixel_std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    network = open_model(str(tmp_path / "theirs"), ImportOptions(pixels="imagenet")).network
    assert (network.image.pixel_mean, network.image.pixel_std) == IMAGENET
