"""Quantised models made of random integers, with multipliers that keep values alive and away from saturation."""

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np

from moesaic.golden.config import M3ViTConfig, network_of
from moesaic.golden.layers.attention import QuantAttention
from moesaic.golden.layers.layer import QuantLayer
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.mlp import QuantMLP
from moesaic.golden.layers.moe import QuantExpert, QuantMoE
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.qmodel import QuantBlock, QuantModel
from moesaic.hw.spec.tables import STORED_SHIFT, STREAMED_SHIFT

__all__ = ["layer_replaced", "random_image", "random_qmodel", "rms_norms"]


def _scale(value: float) -> tuple[int, int]:
    """(mult, shift) with value ~ mult * 2**-shift and mult of 16 bits."""
    shift = 15 - math.floor(math.log2(value))
    return min(65535, round(value * 2**shift)), shift


def _linear(rng: np.random.Generator, name: str, out: int, inputs: int, *, x_rms: float, out_rms: float) -> QuantLinear:
    weight = rng.integers(-127, 128, (out, inputs)).astype(np.int8)
    acc_rms = x_rms * 73 * math.sqrt(inputs)
    mult, shift = _scale(out_rms / acc_rms)
    mults = np.minimum(65535, mult * rng.uniform(0.7, 1.3, out)).astype(np.uint16)
    bias = rng.integers(-int(acc_rms), int(acc_rms) + 1, out).astype(np.int32)
    return QuantLinear(name, weight, bias, mults, shift, 1.0, 1.0)


def _norm(name: str, dim: int) -> QuantNorm:
    scale, shift = _scale(dim * 40.0 / 16)  # 40 units of the stored int8 per standard deviation
    return QuantNorm(name, dim, scale, shift - STORED_SHIFT, 1, 1 / 40 / 32)


def rms_norms(part: Any) -> Any:
    """The same, of dataclasses and tuples, with RMSNorm wherever there is LayerNorm."""
    if isinstance(part, QuantNorm):
        return replace(part, centred=False)
    if isinstance(part, tuple):
        return tuple(rms_norms(inner) for inner in part)
    if not isinstance(part, QuantModel | QuantBlock | QuantAttention | QuantMLP | QuantMoE):
        return part
    return replace(part, **{field.name: rms_norms(getattr(part, field.name)) for field in fields(part) if field.init})


def _after_norm(linear: QuantLinear, reads: str) -> QuantLinear:
    """The same for inputs of a finer unit: sums are larger by as much."""
    finer = {"streamed": STORED_SHIFT - STREAMED_SHIFT, "planes": STORED_SHIFT}[reads]
    weight = linear.weight
    if reads == "planes":  # sums must fit
        weight, finer = weight >> 3, finer - 3
    return replace(linear, weight=weight, bias=linear.bias << finer, shift=linear.shift + finer, reads=reads)


def _block(rng: np.random.Generator, config: M3ViTConfig, number: int) -> QuantBlock:
    name, dim, hd = f"blocks.{number}", config.dim, config.dim // config.heads
    score_mult, score_shift = _scale(256 * 2 / (40 * 40 * math.sqrt(hd)))
    context_mult, context_shift = _scale(1.5)
    attention = QuantAttention(
        f"{name}.attn",
        _norm(f"{name}.norm1", dim),
        *(
            _after_norm(_linear(rng, f"{name}.attn.{part}", dim, dim, x_rms=40, out_rms=40), "streamed")
            for part in "qkv"
        ),
        score_mult,
        score_shift,
        context_mult,
        context_shift,
        1.0,
        _linear(rng, f"{name}.attn.proj", dim, dim, x_rms=20, out_rms=1500),
        int(rng.integers(0, 2)),
        config.heads,
    )
    hidden_mult, hidden_shift = _scale(30 / 1024)
    if not config.is_moe(number):
        mlp = QuantMLP(
            f"{name}.mlp",
            _norm(f"{name}.norm2", dim),
            _after_norm(_linear(rng, f"{name}.mlp.fc1", config.mlp_hidden, dim, x_rms=40, out_rms=1200), "streamed"),
            hidden_mult,
            hidden_shift,
            1.0,
            _linear(rng, f"{name}.mlp.fc2", dim, config.mlp_hidden, x_rms=25, out_rms=1500),
        )
        return QuantBlock(name, (attention, mlp), 1.0)
    experts = tuple(
        QuantExpert(
            _linear(rng, f"{name}.mlp.experts.{e}.fc1", config.expert_hidden, dim, x_rms=40, out_rms=1200),
            _linear(rng, f"{name}.mlp.experts.{e}.fc2", dim, config.expert_hidden, x_rms=25, out_rms=4000),
        )
        for e in range(config.experts)
    )
    gates = {}
    for task in config.tasks:
        gate = _linear(rng, f"{name}.mlp.gate.{task}", config.experts, dim, x_rms=40, out_rms=1500)
        gates[task] = _after_norm(replace(gate, bias=gate.bias // 8), "planes")  # spread tokens over the experts
    order = {task: tuple(int(e) for e in rng.permutation(config.experts)) for task in config.tasks}
    moe = QuantMoE(
        f"{name}.mlp",
        _norm(f"{name}.norm2", dim),
        gates,
        {task: number % 3 for number, task in enumerate(config.tasks)},
        config.top_k,
        config.gate_kind == "noisy",
        experts,
        hidden_mult,
        hidden_shift,
        1.0,
        16,
        order,
    )
    return QuantBlock(name, (attention, moe), 1.0)


def layer_replaced(block: QuantBlock, position: int, layer: QuantLayer) -> QuantBlock:
    """A block with another layer at a position."""
    return replace(block, layers=(*block.layers[:position], layer, *block.layers[position + 1 :]))


def _narrow(rng: np.random.Generator, linear: QuantLinear) -> QuantLinear:
    """The same with 4-bit weights of every value, about as large in effect."""
    weight = rng.integers(-8, 8, linear.weight.shape).astype(np.int8)
    return replace(linear, weight=weight, bias=linear.bias // 16, shift=linear.shift - 4, bits=4)


def random_qmodel(config: M3ViTConfig, seed: int, expert_bits: int = 8) -> QuantModel:
    """A model of random integers; its numbers mean nothing, but exercise everything."""
    rng, network = np.random.default_rng(seed), network_of(config)
    embed = _linear(rng, "embed", config.dim, network.image.patch_values, x_rms=73, out_rms=3000)
    position = rng.integers(-2000, 2001, (network.tokens, config.dim)).astype(np.int16)
    blocks = tuple(_block(rng, config, number) for number in range(config.depth))
    for block in blocks if expert_bits == 4 else ():
        mixture = block.layers[1]
        if isinstance(mixture, QuantMoE):
            experts = tuple(QuantExpert(_narrow(rng, e.fc1), _narrow(rng, e.fc2)) for e in mixture.experts)
            narrow = layer_replaced(block, 1, replace(mixture, experts=experts))
            blocks = tuple(narrow if b is block else b for b in blocks)
    return QuantModel(network, embed, position, blocks, 1.0, "seeded")


def random_image(config: M3ViTConfig, seed: int) -> np.ndarray:
    """A uint8 image [3, height, width]."""
    return np.random.default_rng(seed).integers(0, 256, (3, *config.image_size), dtype=np.uint8)
