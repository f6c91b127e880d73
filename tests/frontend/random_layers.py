"""Random layers for the front end's random modules; most of what stands anywhere is not supported."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

DIM, HEADS, SIDE, PATCH = 16, 2, 8, 4
Change = Callable[[torch.Tensor], torch.Tensor]

# What somebody may write anywhere; most of it is not supported, none of it may fail.
ANYWHERE: list[Change] = [
    lambda x: x,
    lambda x: x + 1,
    lambda x: 1 - x,
    lambda x: x * 0,
    lambda x: x * torch.arange(1.0, x.shape[-1] + 1),
    lambda x: x / x.norm(dim=-1, keepdim=True),
    lambda x: x - x.mean(-1, keepdim=True),
    lambda x: x**2,
    lambda x: 2.0**x,
    lambda x: x % 1,
    lambda x: x // 0.5,
    lambda x: -x,
    lambda x: 1 / (1 + x * x),
    lambda x: x.abs().sqrt(),
    lambda x: x.clamp(-1, 1),
    lambda x: x.relu_(),
    lambda x: x.add_(1),
    lambda x: x.softmax(-1),
    lambda x: x.cumsum(1),
    lambda x: x.sort(-1).values,
    lambda x: x.flip(-1),
    lambda x: x.roll(1, 1),
    lambda x: x[..., torch.randperm(x.shape[-1], generator=torch.Generator().manual_seed(0))],
    lambda x: x.repeat_interleave(2, -1)[..., ::2],
    lambda x: x.half().float(),
    lambda x: x.double().float(),
    lambda x: x.to(torch.complex64).real,
    lambda x: torch.fft.fft(x, dim=-1).real,
    lambda x: torch.where(x > 0, x, 0.1 * x),
    lambda x: x.masked_fill(x < 0, 0),
    lambda x: x if x.sum() > 0 else -x,
    lambda x: x + torch.rand_like(x),
    lambda x: F.dropout(x, 0.5, training=True),
    lambda x: F.layer_norm(x, x.shape[-1:]),
    lambda x: F.normalize(x, dim=-1),
    lambda x: torch.einsum("...i->...i", x),
    lambda x: torch.einsum("bi...,bj...->bij", x, x).sum(-1, keepdim=True) + x if x.ndim == 3 else x,
    lambda x: torch.cat((x, x), 1)[:, : x.shape[1]],
    lambda x: torch.stack((x, x)).sum(0),
    lambda x: torch.stack((x, x)).mean(0),
    lambda x: x @ torch.eye(x.shape[-1]),
    lambda x: x.mT.contiguous().mT,
    lambda x: x.unsqueeze(0).squeeze(0),
    lambda x: x.as_strided(x.shape, x.stride()),
    lambda x: x.detach().clone(),
    lambda x: x.to(memory_format=torch.contiguous_format),
    lambda x: torch.tensor(x.tolist()),
    lambda x: x.new_tensor(x.numpy()),
    lambda x: x.unfold(-1, 2, 1).sum(-1).repeat(1, 1, 2)[..., : x.shape[-1]] if x.ndim == 3 else x,
    lambda x: x[:, torch.tensor([0] * x.shape[1])],
    lambda x: x[x[:, 0, 0] > 0] if x.ndim == 3 else x,
    lambda x: x.expand(2, *x.shape[1:])[:1],
    lambda x: x.reshape(-1)[torch.arange(x.numel())].view(x.shape),
    lambda x: torch.nan_to_num(x / 0),
    lambda x: x.scatter(-1, torch.zeros_like(x, dtype=torch.long), 1.0),
    lambda x: x.quantile(0.5) + x,
    lambda x: x.bool().float(),
    lambda x: (x * 255).to(torch.uint8) / 255,
    lambda x: F.pad(x, (1, 1))[..., 1:-1],
    lambda x: torch.addcmul(x, x, x, value=0.1),
    lambda x: torch.lerp(x, x.flip(-1), 0.5),
    lambda x: torch.max(x, -x),
    lambda x: x.sum() * torch.ones_like(x),
    lambda x: x.tanh() + x,
    lambda x: F.gelu(F.gelu(x)),
    lambda x: F.gelu(x) * x,
    lambda x: x.sigmoid() * x,
    lambda x: x.exp().log(),
    lambda x: 1 / x.erf(),
    lambda x: torch.nn.utils.rnn.pack_sequence([x[0]]).data[None],
    lambda x: {"x": x}["x"],
    lambda x: F.max_pool1d(x, 1),
]
ACTIVATIONS: list[Change] = [
    *[F.gelu] * 20,
    lambda x: F.gelu(x, approximate="tanh"),
    lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    *[lambda x: x * torch.sigmoid(1.702 * x), F.relu, F.silu, lambda x: F.relu(x) ** 2] * 2,
    F.relu6,
    torch.tanh,
    lambda x: x,
    lambda x: F.softplus(x, 2.0),
    lambda x: x.chunk(2, -1)[0].repeat(1, 1, 2),
]
GATES: list[Change] = [F.silu, F.gelu, F.relu, torch.sigmoid, lambda x: x * x.sigmoid(), torch.tanh, lambda x: x]


def pick(rng: np.random.Generator, choices: list[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]


def seldom(rng: np.random.Generator, change: Change, chance: float = 0.04) -> Change:
    return change if rng.random() < chance else lambda x: x


class Attention(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.heads = pick(rng, [HEADS, HEADS, 1, 4])
        inner = self.heads * int(pick(rng, [*[DIM // self.heads] * 8, 1, 4, 8]))
        self.qkv, self.proj = nn.Linear(DIM, 3 * inner, bias=rng.random() < 0.8), nn.Linear(inner, DIM)
        if inner == DIM and rng.random() < 0.1:
            self.proj = nn.Identity()
        self.scale = pick(rng, [*[None] * 8, 0.1, -1.0, 0.0, 1e30])
        self.fused, self.causal = rng.random() < 0.5, rng.random() < 0.05
        self.between, self.scores = seldom(rng, pick(rng, ANYWHERE)), seldom(rng, pick(rng, ANYWHERE), 0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.between(self.qkv(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, scale=self.scale, is_causal=self.causal)
        else:
            scale = (DIM // self.heads) ** -0.5 if self.scale is None else self.scale
            y = self.scores(q @ k.mT * scale).softmax(-1) @ v
        return self.proj(y.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        hidden = int(pick(rng, [DIM, 2 * DIM, 20, 1]))
        self.up, self.down = nn.Linear(DIM, hidden), nn.Linear(hidden, DIM, bias=rng.random() < 0.8)
        self.act, self.after = pick(rng, ACTIVATIONS), seldom(rng, pick(rng, ANYWHERE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.down(self.act(self.up(x))))


class Gated(nn.Module):
    """An MLP whose values are multiplied by gates: packed in one matrix, or two."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        hidden = int(pick(rng, [DIM, 2 * DIM, 20, 1]))
        self.packed, self.first, self.glu = rng.random() < 0.6, rng.random() < 0.5, rng.random() < 0.15
        self.up, self.down = nn.Linear(DIM, 2 * hidden, bias=rng.random() < 0.8), nn.Linear(hidden, DIM)
        self.gate, self.value = nn.Linear(DIM, hidden, bias=rng.random() < 0.8), nn.Linear(DIM, hidden)
        self.act, self.inside = pick(rng, GATES), seldom(rng, pick(rng, ANYWHERE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.glu:
            return self.down(F.glu(self.up(x), -1))
        one, other = self.up(x).chunk(2, -1) if self.packed else (self.gate(x), self.value(x))
        return self.down(self.inside(self.act(one) * other if self.first else one * self.act(other)))


def norm(rng: np.random.Generator, eps: float) -> nn.Module:
    if rng.random() < 0.75:
        return nn.LayerNorm(DIM, eps=eps)
    return nn.RMSNorm(DIM, eps=pick(rng, [eps, None]), elementwise_affine=rng.random() < 0.7)


class Block(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        eps = pick(rng, [1e-5, 1e-6, 0.0, 1.0])
        self.norm1, self.norm2 = norm(rng, eps), norm(rng, eps)
        self.attention, self.mlp = Attention(rng), Mlp(rng) if rng.random() < 0.7 else Gated(rng)
        self.gamma = nn.Parameter(torch.full((DIM,), 0.5)) if rng.random() < 0.3 else None
        self.order = pick(rng, ["pre"] * 40 + ["post", "parallel", "mlp first", "no norm", "attention", "mlp"])
        self.between = seldom(rng, pick(rng, ANYWHERE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gamma = 1 if self.gamma is None else self.gamma
        if self.order == "post":
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.mlp(x))
        if self.order == "parallel":
            return x + self.attention(self.norm1(x)) + self.mlp(self.norm2(x))
        if self.order == "mlp first":
            x = x + self.mlp(self.norm2(x))
            return x + self.attention(self.norm1(x))
        if self.order == "no norm":
            x = x + self.attention(x)
            return x + self.mlp(x)
        if self.order == "mlp":
            return x + self.mlp(self.norm2(x))
        x = self.between(x + gamma * self.attention(self.norm1(x)))
        if self.order == "attention":
            return x
        return x + self.mlp(self.norm2(x)) * gamma
