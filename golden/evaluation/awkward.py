"""Networks with weights that are hard to quantise: the exhibits of the zoo (`golden.evaluation.zoo`).

Each is a seeded network of 64 x 64 pixels, 64 channels and four blocks (unless it says otherwise) with something done
to its parameters that published checkpoints do too.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from moesaic.golden import weights
from moesaic.golden.layers.sizes import AttentionSizes, LayerSizes, MLPSizes, MoESizes, NormSizes
from moesaic.golden.m3vit import M3ViT, seeded
from moesaic.golden.network import Network
from moesaic.golden.nodes import Image, Layer, chain_of

__all__ = ["EXHIBITS", "Exhibit"]

DIM, HEADS, DEPTH, HIDDEN, EXPERTS, EXPERT_HIDDEN = 64, 2, 4, 256, 8, 128
SEED = 13


@dataclass(frozen=True)
class Exhibit:
    """One network of the zoo.

    Parameters
    ----------
    what : str
        What is awkward about it, for a table.
    model : callable
        Makes it, in inference mode; always the same.
    """

    what: str
    model: Callable[[], M3ViT]


def _network(mlp: LayerSizes, *, side: tuple[int, int] = (64, 64), dim: int = DIM, depth: int = DEPTH) -> Network:
    """Blocks of attention and an MLP; a mixture stands in every second block, a dense MLP in the others."""
    image = Image(height=side[0], width=side[1], patch_height=8, patch_width=8)
    attention = Layer(sizes=AttentionSizes(heads=HEADS, head_dim=dim // HEADS), norm=NormSizes())
    dense = Layer(sizes=MLPSizes(hidden=4 * dim) if mlp.routed else mlp, norm=NormSizes())
    other = Layer(sizes=mlp, norm=NormSizes())
    blocks = [(attention, other if block % 2 else dense) for block in range(depth)]
    return Network(name="zoo", tasks=("task",), image=image, class_token=True, nodes=chain_of(image, 1, dim, blocks))


def _dense(activation: str = "gelu") -> M3ViT:
    return seeded(_network(MLPSizes(hidden=HIDDEN, activation=activation)), SEED)


def _mixture(top_k: int = 2, *, gate_bias: bool = False) -> M3ViT:
    sizes = MoESizes(experts=EXPERTS, hidden=EXPERT_HIDDEN, top_k=top_k, gate_bias=gate_bias)
    return seeded(_network(sizes), SEED)


def _matching(model: M3ViT, *ends: str) -> list[tuple[str, torch.Tensor]]:
    """Parameters whose name ends in one of `ends`, to be changed in place."""
    return [(name, parameter.data) for name, parameter in model.named_parameters() if name.endswith(ends)]


def _heavy_tails() -> M3ViT:
    """Weights of Student's t distribution with 2.5 degrees of freedom, as large in the mean square as before."""
    model = _mixture()
    for name, weight in _matching(model, "weight"):
        if weight.ndim > 1 and "norm" not in name:
            draw = np.random.default_rng([SEED, zlib.crc32(name.encode())]).standard_t(2.5, tuple(weight.shape))
            size = float(weight.square().mean().sqrt())
            weight.copy_(torch.from_numpy(draw * (size / np.sqrt(np.square(draw).mean()))))
    return model


def _large_gains() -> M3ViT:
    """Three channels of each norm 100 times as large, which the matrix behind it weighs a thirtieth."""
    model = _dense()
    for _, gain in _matching(model, "norm1.weight", "norm2.weight"):
        gain[[3, 17, 40]] *= 100
    for _, weight in _matching(model, "qkv.weight", "fc1.weight"):
        weight[:, [3, 17, 40]] *= 0.03
    return model


def _sharp_attention() -> M3ViT:
    """Queries eight times as large: scores beyond 127, in powers of two."""
    model = _dense()
    for _, weight in _matching(model, "qkv.weight", "qkv.bias"):
        weight[:DIM] *= 8
    return model


def _large_channels() -> M3ViT:
    """Two channels of the residual 100 times as large as the others, in all tokens; gains make up for it."""
    model = _dense()
    model.pos_embed.data[:, :, 5] += 60.0
    model.pos_embed.data[:, :, 33] -= 60.0
    for _, gain in _matching(model, "norm1.weight", "norm2.weight"):
        gain *= 10
        gain[[5, 33]] *= 0.03
    return model


def _large_token() -> M3ViT:
    """The class token 100 times as large as the others."""
    model = _dense()
    assert model.cls_token is not None
    model.cls_token.data *= 100
    return model


def _large_hidden(activation: str) -> M3ViT:
    """Six hidden units of each MLP 100 times as large; what reads them weighs a hundredth."""
    model = _dense(activation)
    units = [2, 30, 77, 111, 180, 240]
    for _, weight in _matching(model, "fc1.weight", "fc1.bias"):
        weight[units] *= 100 if activation == "relu" else 20  # GELU's input has 16 bits, up to 32
    for _, weight in _matching(model, "fc2.weight"):
        weight[:, units] *= 0.01 if activation == "relu" else 0.05
    return model


def _large_values() -> M3ViT:
    """Four channels of queries (against keys) and of values (against the projection) 100 times as large."""
    model, channels = _dense(), torch.tensor([1, 20, 35, 63])
    for _, weight in _matching(model, "qkv.weight", "qkv.bias"):
        weight[channels] *= 100
        weight[channels + DIM] *= 0.01
        weight[channels + 2 * DIM] *= 100
    for _, weight in _matching(model, "proj.weight"):
        if weight.ndim == 2:
            weight[:, channels] *= 0.01
    return model


def _far_gelu() -> M3ViT:
    """Hidden units 20 times as large: the most negative and the largest are beyond 64."""
    model = _dense()
    for _, weight in _matching(model, "fc1.weight", "fc1.bias"):
        weight *= 20
    for _, weight in _matching(model, "fc2.weight"):
        weight *= 0.05
    return model


def _large_logits() -> M3ViT:
    """Gates whose logits reach about +-100."""
    model = _mixture()
    for _, weight in _matching(model, "w_gate"):
        weight *= 20
    return model


def _dead_experts() -> M3ViT:
    """Five of eight experts that no token goes to."""
    model = _mixture(gate_bias=True)
    for _, bias in _matching(model, "b_gate"):
        bias[[0, 2, 3, 5, 6]] -= 25.0
    return model


def _rare_experts() -> M3ViT:
    """Experts that one token in a hundred goes to."""
    model = _mixture(gate_bias=True)
    for _, bias in _matching(model, "b_gate"):
        bias[[1, 4, 6]] -= 5.0
    return model


def _one_expert() -> M3ViT:
    """All tokens go to one expert."""
    model = _mixture(1, gate_bias=True)
    for _, bias in _matching(model, "b_gate"):
        bias[3] += 25.0
    return model


def _even_tokens() -> M3ViT:
    """Tokens whose channels are almost equal, far from zero."""
    model = _dense()
    for _, weight in _matching(model, "patch_embed.proj.weight", "patch_embed.proj.bias", "pos_embed", "cls_token"):
        weight *= 0.05
    model.pos_embed.data += 10.0
    return model


def _like_tokens() -> M3ViT:
    """Tokens that are almost the same."""
    model = _dense()
    for _, weight in _matching(model, "patch_embed.proj.weight", "pos_embed", "cls_token"):
        weight *= 0.02
    model.pos_embed.data += torch.from_numpy(np.random.default_rng(SEED).standard_normal(DIM)).float()
    return model


def _large_biases() -> M3ViT:
    """Biases several times as large as the products that they are added to."""
    model = _mixture()
    for name, bias in _matching(model, "bias"):
        if "norm" not in name and "patch" not in name:
            bias *= 60
    return model


def _long_rows() -> M3ViT:
    """1,201 tokens of 32 channels, two blocks, with scores of some spread."""
    model = seeded(_network(MLPSizes(hidden=128), side=(320, 240), dim=32, depth=2), SEED)
    for _, weight in _matching(model, "qkv.weight"):
        weight[:64] *= 1.2
    return model


EXHIBITS: dict[str, Exhibit] = {
    "plain": Exhibit("a plain ViT, random weights", _dense),
    "experts": Exhibit("eight experts, two a token, random weights", _mixture),
    "trained": Exhibit("`m3vit-micro` as trained", lambda: weights.load("m3vit-micro")[0]),
    "heavy tails": Exhibit("weights of Student's t, 2.5 degrees of freedom", _heavy_tails),
    "large gains": Exhibit("three channels of each norm 100 times as large", _large_gains),
    "large channels": Exhibit("two channels of the residual 100 times as large", _large_channels),
    "large token": Exhibit("a class token 100 times as large", _large_token),
    "large hidden units": Exhibit("six hidden units 20 times as large (GELU)", lambda: _large_hidden("gelu")),
    "large ReLU units": Exhibit("six hidden units 100 times as large (ReLU)", lambda: _large_hidden("relu")),
    "large values": Exhibit("four channels of queries and values 100 times as large", _large_values),
    "sharp attention": Exhibit("scores beyond 127 powers of two", _sharp_attention),
    "far GELU": Exhibit("inputs of GELU beyond 64", _far_gelu),
    "large logits": Exhibit("gates' logits up to 100", _large_logits),
    "dead experts": Exhibit("five of eight experts without a token", _dead_experts),
    "rare experts": Exhibit("three of eight experts with few tokens", _rare_experts),
    "one expert": Exhibit("one expert for all tokens", _one_expert),
    "even tokens": Exhibit("tokens whose channels are almost equal", _even_tokens),
    "like tokens": Exhibit("tokens that are almost the same", _like_tokens),
    "large biases": Exhibit("biases larger than products", _large_biases),
    "long rows": Exhibit("rows of 1,201 keys", _long_rows),
}
