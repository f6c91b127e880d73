"""The float model against an independent float64 computation from its state dict, and its published names."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from moesaic.golden.config import M3ViTConfig, network_of, preset
from moesaic.golden.m3vit import M3ViT, build
from moesaic.golden.trace import Trace
from moesaic.golden.training.scenes import render

SMALL = M3ViTConfig(
    name="test",
    image_size=(16, 24),
    patch_size=8,
    dim=16,
    heads=2,
    depth=4,
    mlp_ratio=2,
    experts=4,
    expert_hidden=12,
    top_k=2,
    pixel_mean=(0.4, 0.5, 0.6),
    pixel_std=(0.2, 0.3, 0.4),
)
VARIANTS = {
    "published": SMALL,
    "noisy": dataclasses.replace(SMALL, gate_kind="noisy", top_k=3),
    "conditioned": dataclasses.replace(SMALL, gate_scope="task_conditioned", gate_task_dim=6),
    "dense": dataclasses.replace(SMALL, experts=0),
    "no class token": dataclasses.replace(SMALL, class_token=False, moe_every=1),
    "two learnt tokens": dataclasses.replace(SMALL, extra_tokens=1, gelu="tanh", gate_bias=True),
}


def gelu(x, kind):
    if kind == "tanh":
        return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def layer_norm(x, state, name, eps):
    centred = x - x.mean(-1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return normed * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def reference(config, state, image, task):
    """Block outputs [N, dim], token by token and expert by expert, float64."""
    p, (rows, columns) = config.patch_size, network_of(config).image.grid
    pixels = (image / 255 - np.reshape(config.pixel_mean, (3, 1, 1))) / np.reshape(config.pixel_std, (3, 1, 1))
    kernel = state["patch_embed.proj.weight"].reshape(config.dim, -1)
    tokens = [pixels[:, r * p : r * p + p, c * p : c * p + p].ravel() for r in range(rows) for c in range(columns)]
    x = np.array(tokens) @ kernel.T + state["patch_embed.proj.bias"]
    if config.class_token:
        x = np.concatenate([state["cls_token"][0], *([state["extra_tokens"][0]] if config.extra_tokens else []), x])
    x = x + state["pos_embed"][0]
    outputs = []
    for i in range(config.depth):
        b = f"blocks.{i}"
        qkv = linear(layer_norm(x, state, f"{b}.norm1", config.eps), state, f"{b}.attn.qkv")
        q, k, v = (qkv[:, n * config.dim : (n + 1) * config.dim] for n in range(3))
        context = []
        for head in range(config.heads):
            part = slice(head * (config.dim // config.heads), (head + 1) * (config.dim // config.heads))
            context.append(softmax(q[:, part] @ k[:, part].T / math.sqrt(config.dim // config.heads)) @ v[:, part])
        x = x + linear(np.concatenate(context, axis=1), state, f"{b}.attn.proj")
        h = layer_norm(x, state, f"{b}.norm2", config.eps)
        if not config.is_moe(i):
            x = x + linear(gelu(linear(h, state, f"{b}.mlp.fc1"), config.gelu), state, f"{b}.mlp.fc2")
            outputs.append(x)
            continue
        if config.gate_scope == "task_conditioned":
            one_hot = np.eye(len(config.tasks))[task]
            hidden = gelu(linear(one_hot, state, "gate_task_represent.fc1"), "exact")
            embedding = linear(hidden, state, "gate_task_represent.fc2")
            embedding = layer_norm(embedding, state, "gate_task_represent.norm", config.eps)
            gate_input = np.concatenate([h, np.tile(embedding, (len(h), 1))], axis=1)
            logits = gate_input @ state[f"{b}.mlp.gate.w_gate"]
        else:
            logits = h @ state[f"{b}.mlp.gate.{task}.w_gate"] + state.get(f"{b}.mlp.gate.{task}.b_gate", 0.0)
        moved = np.zeros_like(x)
        for n, row in enumerate(logits):
            chosen = sorted(range(config.experts), key=lambda e, row=row: (-row[e], e))[: config.top_k]
            scores = softmax(row)[chosen] if config.gate_kind == "noisy_vmoe" else softmax(row[chosen])
            for e, score in zip(chosen, scores, strict=True):
                up, down = (f"{b}.mlp.experts.{w}" for w in ("htoh4", "h4toh"))
                hidden = gelu(state[f"{up}.weight"][e] @ h[n] + state[f"{up}.bias"][e], config.gelu)
                moved[n] += score * (state[f"{down}.weight"][e] @ hidden + state[f"{down}.bias"][e])
        x = x + moved
        outputs.append(x)
    return outputs


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("task", [0, 1])
@torch.no_grad()
def test_matches_an_independent_computation(name, task):
    config = VARIANTS[name]
    model = build(config, seed=5).double()
    image = np.random.default_rng(0).integers(0, 256, (3, *config.image_size), dtype=np.uint8)
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    outputs = model(image, task)
    expected = reference(config, state, image, task)
    assert len(outputs) == len(expected) == config.depth
    for got, want in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-6, atol=1e-6)  # pixels are divided in float32 or so


def test_published_parameter_names():
    published = {"cls_token", "pos_embed"}
    published |= {f"{n}.{p}" for n in ("patch_embed.proj",) for p in ("weight", "bias")}
    config = preset("m3vit-tiny")
    for i in range(12):
        names = ["norm1", "attn.qkv", "attn.proj", "norm2"]
        names += ["mlp.experts.htoh4", "mlp.experts.h4toh"] if i % 2 else ["mlp.fc1", "mlp.fc2"]
        published |= {f"blocks.{i}.{n}.{p}" for n in names for p in ("weight", "bias")}
        if i % 2:
            published |= {f"blocks.{i}.mlp.gate.{task}.w_gate" for task in (0, 1)}
    state = M3ViT(network_of(config)).state_dict()
    assert set(state) == published
    shapes = {
        "patch_embed.proj.weight": (192, 3, 16, 16),
        "pos_embed": (1, 129, 192),
        "cls_token": (1, 1, 192),
        "blocks.0.attn.qkv.weight": (576, 192),
        "blocks.0.mlp.fc1.weight": (768, 192),
        "blocks.1.mlp.experts.htoh4.weight": (16, 384, 192),
        "blocks.1.mlp.experts.htoh4.bias": (16, 384),
        "blocks.1.mlp.experts.h4toh.weight": (16, 192, 384),
        "blocks.1.mlp.experts.h4toh.bias": (16, 192),
        "blocks.1.mlp.gate.0.w_gate": (192, 16),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


def test_task_conditioned_parameter_names():
    state = M3ViT(network_of(VARIANTS["conditioned"])).state_dict()
    assert {"blocks.1.mlp.gate.w_gate", "gate_task_represent.fc1.weight", "gate_task_represent.norm.bias"} <= set(state)
    assert not any(".gate.0." in name for name in state)


@torch.no_grad()
def test_batch_equals_single_images():
    config = preset("m3vit-micro")
    model = build(config, seed=1)
    images = np.stack([render(seed).image for seed in range(3)])
    together = model(images, "depth")[-1]
    assert together.shape == (3, 65, 64)
    for n in range(3):
        torch.testing.assert_close(model(images[n], "depth")[-1], together[n], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_bytes_and_fractions_are_the_same_image():
    model = build(SMALL, seed=1)
    image = torch.randint(0, 256, (3, 16, 24), dtype=torch.uint8)
    assert torch.equal(model(image, 0)[-1], model(image / 255.0, 0)[-1])


def test_seed_decides_and_construction_order_does_not():
    first, again, other = (build(SMALL, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["pos_embed"], other["pos_embed"])
    shallow = build(dataclasses.replace(SMALL, depth=2), 1).state_dict()
    assert all(torch.equal(tensor, first[name]) for name, tensor in shallow.items())


@pytest.mark.parametrize("name", ["m3vit-micro", "m3vit-tiny"])
@torch.no_grad()
def test_seeded_image_uses_every_expert(name):
    config = preset(name)
    model = build(config, seed=0)
    for task in config.tasks:
        trace = Trace(only=("gate.index",))
        model(render(0, config.image_size).image, task, trace=trace)
        for index in trace.values():
            load = np.bincount(index.ravel(), minlength=config.experts)
            assert load.min() > 0 and load.max() < 0.35 * load.sum()


def test_bad_input_is_refused():
    model = build(SMALL, seed=1)
    good = torch.zeros(3, 16, 24, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"image must be \[3, 16, 24\], not \[3, 16, 16\]"):
        model(good[..., :16], 0)
    with pytest.raises(ValueError, match=r"task must be one of semseg, depth, not 'edge'"):
        model(good, "edge")
    with pytest.raises(ValueError, match=r"a traced batch must be one image, not 2"):
        model(torch.stack([good, good]), 0, trace=Trace())
