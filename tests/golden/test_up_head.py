"""M3ViT's up-head: against its equations written out, and from tensors under its names."""

import dataclasses

import numpy as np
import pytest
import torch

from moesaic.golden.config import network_of, preset
from moesaic.golden.up_head import UpHead, is_up_head, up_head
from moesaic.golden.weights import WeightError

CONFIG = dataclasses.replace(preset("m3vit-micro"), dim=6, heads=2, image_size=(32, 48), patch_size=16)
EIGHT = dataclasses.replace(CONFIG, patch_size=8)


def filled(head: UpHead, seed: int = 0) -> UpHead:
    rng = np.random.default_rng(seed)
    for name, tensor in head.state_dict().items():
        if tensor.is_floating_point():
            values = (
                rng.uniform(0.5, 2.0, tensor.shape) if name.endswith("running_var") else rng.normal(size=tensor.shape)
            )
            tensor.copy_(torch.from_numpy(values))
    return head


def bilinear(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Half-pixel centres, edges repeated; [C, h, w] to [C, *size]."""
    for axis, new in ((1, size[0]), (2, size[1])):
        old = x.shape[axis]
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, None)
        low = np.floor(at).astype(int)
        part = (at - low).reshape((1, -1, 1) if axis == 1 else (1, 1, -1))
        x = np.take(x, low, axis) * (1 - part) + np.take(x, np.minimum(low + 1, old - 1), axis) * part
    return x


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    k, (h, w) = weight.shape[-1], x.shape[1:]
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    out = np.zeros((len(weight), h, w)) + bias[:, None, None]
    for i in range(k):
        for j in range(k):
            out += np.einsum("oc,chw->ohw", weight[..., i, j], padded[:, i : i + h, j : j + w])
    return out


def reference(p: dict[str, np.ndarray], tokens: np.ndarray, config, levels: int) -> np.ndarray:
    x = tokens[1:]
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * p["norm.weight"] + p["norm.bias"]
    x = x.T.reshape(-1, *network_of(config).image.grid)
    for i in range(levels):
        x = convolve(x, p[f"conv_{i}.weight"], p[f"conv_{i}.bias"])
        bn = {
            part: p[f"syncbn_fc_{i}.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        }
        x = np.maximum((x - bn["running_mean"]) / np.sqrt(bn["running_var"] + 1e-5) * bn["weight"] + bn["bias"], 0)
        if levels == 4 and i < 3:
            x = bilinear(x, (2 * x.shape[1], 2 * x.shape[2]))
    x = convolve(x, p[f"conv_{levels}.weight"], p[f"conv_{levels}.bias"])
    if levels == 4:
        x = bilinear(x, (2 * x.shape[1], 2 * x.shape[2]))
    return bilinear(x, config.image_size)


@pytest.mark.parametrize(
    ("config", "convolutions", "kernel"), [(CONFIG, 4, 3), (CONFIG, 2, 3), (CONFIG, 2, 1), (EIGHT, 4, 3)]
)
@torch.no_grad()
def test_equations(config, convolutions, kernel):
    head = filled(
        UpHead(network_of(config), task="semseg", channels=5, convolutions=convolutions, kernel=kernel, hidden=7)
    )
    tokens = np.random.default_rng(1).normal(size=(network_of(config).tokens, 6))
    p = {name: tensor.double().numpy() for name, tensor in head.state_dict().items()}
    expected = reference(p, tokens, config, 4 if convolutions == 4 else 1)
    actual = head.double()(torch.from_numpy(tokens))
    assert actual.shape == (5, *config.image_size)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    batch = head(torch.from_numpy(np.stack([tokens, tokens])))
    torch.testing.assert_close(batch[1], actual, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("convolutions", [2, 4])
@torch.no_grad()
def test_from_a_checkpoints_tensors(convolutions):
    made = filled(UpHead(network_of(CONFIG), task="depth", channels=1, convolutions=convolutions, hidden=8))
    tensors = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    tensors |= {"output_level_0.weight": torch.zeros(1, 8, 1, 1), "output_level_0.bias": torch.zeros(1)}
    assert is_up_head(tensors) and not is_up_head({"predict.weight": torch.zeros(1), "conv.weight": torch.zeros(1)})
    head = up_head(network_of(CONFIG), "depth", tensors, "test")
    tokens = torch.randn(network_of(CONFIG).tokens, 6, generator=torch.Generator().manual_seed(0))
    assert head(tokens).shape == CONFIG.image_size and torch.equal(head(tokens), made(tokens))
    assert not head.training and not head.train().training


def test_every_problem_is_listed():
    tensors = dict(filled(UpHead(network_of(CONFIG), task="semseg", channels=5, hidden=8)).state_dict())
    del tensors["conv_2.bias"]
    tensors["syncbn_fc_1.running_var"] = torch.full((8,), torch.nan)
    tensors["norm.weight"] = torch.zeros(192)
    tensors["conv_9.bias"] = torch.zeros(1)
    with pytest.raises(WeightError) as caught:
        up_head(network_of(CONFIG), "semseg", tensors, "best_model.pth.tar")
    assert sorted(caught.value.problems) == sorted(
        [
            "semseg: conv_2.bias: missing",
            "semseg: syncbn_fc_1.running_var: 8 values are NaN or infinite, the first at [0]",
            "semseg: norm.weight: shape must be [6], not [192]",
            "semseg: conv_9.bias: not in the model",
        ]
    )
    with pytest.raises(WeightError, match="channels must be 1 for depth, not 5"):
        up_head(network_of(CONFIG), "depth", tensors, "x")
    with pytest.raises(WeightError, match=r"conv_0.weight: must be a convolution's.*: missing"):
        up_head(network_of(CONFIG), "depth", {}, "x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"convolutions": 3}, "convolutions must be 2 or 4, not 3"),
        ({"kernel": 5}, "kernel must be 1 or 3, not 5"),
    ],
)
def test_bad_use(options, message):
    with pytest.raises(ValueError, match=message):
        UpHead(network_of(CONFIG), task="semseg", channels=2, **options)
    with pytest.raises(ValueError, match=r"tokens must be \[7, 6\], not \[3, 6\]"):
        UpHead(network_of(CONFIG), task="semseg", channels=2)(torch.zeros(3, 6))
