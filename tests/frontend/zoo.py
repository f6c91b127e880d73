"""Small vision transformers as different people write them; every one with seeded parameters."""

import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

DIM, HEADS, SIDE, PATCH = 32, 2, 16, 8
PATCHES = (SIDE // PATCH) ** 2


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    """A module whose parameters tell tokens, heads and channels apart."""
    for name, parameter in module.named_parameters():
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        draw = rng.standard_normal(tuple(parameter.shape))
        scale = 0.3 if parameter.ndim < 2 else 1.5 * parameter.shape[-1] ** -0.5
        with torch.no_grad():
            parameter.copy_(
                torch.from_numpy(draw * scale + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
            )
    return module.eval()


def image(side: int = SIDE) -> torch.Tensor:
    return torch.zeros(1, 3, side, side)


# Attention, in many hands. Each is made from (dim, heads).


class Fused(nn.Module):
    """timm's: one qkv, permuted, scaled_dot_product_attention."""

    def __init__(self, dim: int, heads: int, bias: bool = True) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim, bias=bias), nn.Linear(dim, dim, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, N, C))


class Written(nn.Module):
    """Renamed, separate, without biases on k, written out, scaled on both sides."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.n, self.ask = heads, nn.Linear(dim, dim)
        self.tell, self.give, self.mix = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim), nn.Linear(dim, dim)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.n, -1)).transpose(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = (x.shape[-1] // self.n) ** -0.25
        a, b, c = self.split(self.ask(x)) * scale, self.split(self.tell(x)) * scale, self.split(self.give(x))
        return self.mix(((a @ b.mT).softmax(-1) @ c).transpose(1, 2).flatten(2))


class Interleaved(nn.Module):
    """Heads vary fastest, q, k, v in the order v, q, k, einsum, a scale of its own for each head."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.h, self.vqk, self.out = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.heat_norm = nn.Parameter(torch.ones(heads, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v, q, k = self.vqk(x).chunk(3, dim=-1)
        v, q, k = (t.reshape(*t.shape[:2], -1, self.h) for t in (v, q, k))  # [B, N, d, h]
        s = torch.einsum("bndh,bmdh->bhnm", q, k) / math.sqrt(q.shape[2]) * (self.heat_norm + 1)
        p = torch.softmax(s, dim=-1)
        return self.out(torch.einsum("bhnm,bmdh->bnhd", p, v).flatten(2))


class KeysFirst(nn.Module):
    """k q^T, a softmax over the first of the two, v^T p."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.h, self.q, self.k, self.v = heads, nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, N, C = x.shape
        q, k, v = (f(x).view(B, N, self.h, -1).permute(0, 2, 1, 3) for f in (self.q, self.k, self.v))
        p = ((k @ q.transpose(2, 3)) / (C // self.h) ** 0.5).softmax(dim=2)  # [B, h, key, query]
        return self.proj((v.transpose(2, 3) @ p).permute(0, 3, 1, 2).reshape(B, N, C))


class Builtin(nn.Module):
    """torch.nn.MultiheadAttention; with weights it is written out inside."""

    def __init__(self, dim: int, heads: int, weights: bool = False, batch_first: bool = True) -> None:
        super().__init__()
        self.inner, self.weights = nn.MultiheadAttention(dim, heads, batch_first=batch_first), weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.inner.batch_first:
            return self.inner(x, x, x, need_weights=self.weights)[0]
        y = x.transpose(0, 1)
        return self.inner(y, y, y, need_weights=self.weights)[0].transpose(0, 1)


class Mlp(nn.Module):
    def __init__(self, dim: int, act: nn.Module | None = None) -> None:
        super().__init__()
        self.up, self.act, self.down = nn.Linear(dim, 2 * dim), act or nn.GELU(), nn.Linear(2 * dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.act(self.up(x)))


class Activation(nn.Module):
    """An activation written out."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


ROOT = math.sqrt(2 / math.pi)
GELUS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {  # as `transformers` spells it, and others
    "gelu_python": lambda x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0))),
    "gelu_new": lambda x: 0.5 * x * (1.0 + torch.tanh(ROOT * (x + 0.044715 * torch.pow(x, 3.0)))),
    "gelu_fast": lambda x: 0.5 * x * (1.0 + torch.tanh(x * 0.7978845608 * (1.0 + 0.044715 * x * x))),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "a distribution": lambda x: x * (0.5 * (1 + torch.erf(x * 2**-0.5))),
    "halved at the end": lambda x: (x + x * torch.erf(x / 2**0.5)) / 2,
    "a logistic": lambda x: x * torch.sigmoid(2 * ROOT * (x + 0.044715 * x**3)),
    "the survival function": lambda x: x * (1 - 0.5 * (1 - torch.erf(x / 2**0.5))),
}


# Embeddings: image to [B, N, dim].


class Conv(nn.Module):
    """A convolution, a class token, positions of all tokens."""

    def __init__(self, learnt: int = 1, positions: bool = True) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.cls = nn.Parameter(torch.zeros(1, learnt, DIM)) if learnt else None
        self.pos = nn.Parameter(torch.zeros(1, PATCHES + learnt, DIM)) if positions else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.proj(x).flatten(2).transpose(1, 2)
        if self.cls is not None:
            x = torch.cat((self.cls.expand(len(x), -1, -1), x), dim=1)
        return x if self.pos is None else x + self.pos


class Unfolded(nn.Module):
    """Patches cut by reshaping, values of a pixel fastest; positions on the patches; class token last; pixels
    normalised.
    """

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(3 * PATCH * PATCH, DIM, bias=False)
        self.pos, self.cls = nn.Parameter(torch.zeros(PATCHES, DIM)), nn.Parameter(torch.zeros(DIM))
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - self.mean) / self.std
        x = x.unflatten(3, (-1, PATCH)).unflatten(2, (-1, PATCH)).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        x = self.proj(x) + self.pos
        return torch.cat((x, self.cls.expand(len(x), 1, -1)), dim=1)


class Im2col(nn.Module):
    """nn.Unfold and a linear layer; no learnt token."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.proj = nn.Unfold(PATCH, stride=PATCH), nn.Linear(3 * PATCH * PATCH, DIM)
        self.pos = nn.Parameter(torch.zeros(1, PATCHES, DIM))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.proj(self.cut(x).transpose(1, 2)) + self.pos


class Turned(Conv):
    """Channels in another order, as OpenCV has them, or repeated, and normalised."""

    def __init__(self, order: Callable[[torch.Tensor], torch.Tensor], *mean: float) -> None:
        super().__init__()
        self.order = order
        self.register_buffer("mean", torch.tensor(mean or [0.4, 0.5, 0.6]).view(-1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward((self.order(x) - self.mean) / 0.3)


class Registers(Conv):
    """DINOv2's: learnt tokens put behind the class token after the positions are added."""

    def __init__(self) -> None:
        super().__init__()
        self.registers = nn.Parameter(torch.zeros(1, 3, DIM))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = super().forward(x)
        return torch.cat((x[:, :1], self.registers.expand(len(x), -1, -1), x[:, 1:]), dim=1)


class MapPositions(nn.Module):
    """Positions added to the map [B, dim, h, w] before it is flattened, columns first."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.pos = nn.Parameter(torch.zeros(1, DIM, SIDE // PATCH, SIDE // PATCH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.proj(x) + self.pos).transpose(2, 3).flatten(2).mT


class Bytes(nn.Module):
    """Takes uint8."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Conv()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x.to(self.inner.proj.weight.dtype) / 255 * 4 - 2)


class Block(nn.Module):
    """Pre-norm, with LayerScale if asked for."""

    def __init__(self, attention: nn.Module, mlp: nn.Module, scale: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(DIM, eps=eps), nn.LayerNorm(DIM, eps=eps)
        self.attention, self.mlp = attention, mlp
        self.gamma = nn.Parameter(torch.ones(2, DIM)) if scale else None
        self.drop = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.drop(self.attention(self.norm1(x)))
        x = x + (a if self.gamma is None else self.gamma[0] * a)
        m = self.mlp(self.norm2(x))
        return (m if self.gamma is None else self.gamma[1] * m) + x


class Vit(nn.Module):
    """An embedding, blocks, a head."""

    def __init__(self, embed: nn.Module, blocks: nn.Module, head: nn.Module | None = None) -> None:
        super().__init__()
        self.embed, self.blocks, self.head = embed, blocks, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.embed(x))
        return x if self.head is None else self.head(x)


class PooledHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.out = nn.LayerNorm(DIM), nn.Linear(DIM, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(x).mean(1)).softmax(-1)


class MapHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(DIM, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[:, 1:].mT.unflatten(2, (SIDE // PATCH, -1))
        return F.interpolate(F.relu(self.conv(x)), size=(SIDE, SIDE), mode="bilinear")


def vit(
    attention: Callable[[], nn.Module] = lambda: Fused(DIM, HEADS),
    mlp: Callable[[], nn.Module] = lambda: Mlp(DIM),
    embed: nn.Module | None = None,
    head: nn.Module | None = None,
    depth: int = 1,
    **block: Any,
) -> nn.Module:
    blocks = nn.Sequential(*(Block(attention(), mlp(), **block) for _ in range(depth)))
    return seeded(Vit(embed if embed is not None else Conv(), blocks, head))


def encoder(**changes: Any) -> nn.Module:
    """torch's own encoder in a small ViT."""
    layer = nn.TransformerEncoderLayer(
        DIM, HEADS, 2 * DIM, **{"activation": "gelu", "norm_first": True, "batch_first": True} | changes
    )
    return seeded(Vit(Conv(), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), PooledHead()))


ACCEPTED: Mapping[str, Callable[[], nn.Module]] = {
    "fused, three blocks": lambda: vit(depth=3),
    "fused without biases": lambda: vit(lambda: Fused(DIM, HEADS, bias=False)),
    "written out": lambda: vit(lambda: Written(DIM, HEADS)),
    "heads interleaved": lambda: vit(lambda: Interleaved(DIM, HEADS)),
    "keys first": lambda: vit(lambda: KeysFirst(DIM, HEADS)),
    "nn.MultiheadAttention": lambda: vit(lambda: Builtin(DIM, HEADS)),
    "nn.MultiheadAttention with weights": lambda: vit(lambda: Builtin(DIM, HEADS, weights=True)),
    "nn.MultiheadAttention, tokens first": lambda: vit(lambda: Builtin(DIM, HEADS, batch_first=False)),
    "nn.TransformerEncoder": encoder,
    "nn.TransformerEncoder, tokens frozen": lambda: encoder().requires_grad_(False),
    "tanh": lambda: vit(mlp=lambda: Mlp(DIM, nn.GELU("tanh"))),
    "LayerScale": lambda: vit(scale=True),
    "eps": lambda: vit(eps=3e-3),
    "no class token": lambda: vit(embed=Conv(learnt=0)),
    "five learnt tokens": lambda: vit(embed=Conv(learnt=5)),
    "no positions": lambda: vit(embed=Conv(positions=False)),
    "nothing but patches": lambda: vit(embed=Conv(learnt=0, positions=False)),
    "patches reshaped, class token last": lambda: vit(embed=Unfolded()),
    "nn.Unfold": lambda: vit(embed=Im2col()),
    "positions on the map": lambda: vit(embed=MapPositions()),
    "pooled head": lambda: vit(head=PooledHead()),
    "map head": lambda: vit(head=MapHead()),
    "BGR": lambda: vit(embed=Turned(lambda x: x[:, [2, 1, 0]])),
    "BGR, flipped": lambda: vit(embed=Turned(lambda x: x.flip(1))),
    "BGR, joined": lambda: vit(embed=Turned(lambda x: torch.cat((x[:, 2:], x[:, 1:2], x[:, :1]), dim=1))),
    "red alone": lambda: vit(embed=Turned(lambda x: x[:, :1].expand(-1, 3, -1, -1), 0.4)),
    "registers": lambda: vit(embed=Registers()),
    **{
        f"GELU: {name}": lambda function=function: vit(mlp=lambda: Mlp(DIM, Activation(function)))
        for name, function in GELUS.items()
    },
}
