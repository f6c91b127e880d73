"""Layers for networks whose blocks are not alike."""

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["DIM", "PATCH", "SIDE", "STALLS", "Chain", "Dense", "Mixture"]

DIM, SIDE, PATCH = 32, 32, 8
STALLS = [f"+stall_{channel}=30" for channel in ("ar", "r", "aw", "w", "b")]


class Chain(nn.Module):
    """Layers behind norms on one residual stream; who inherits makes `cut`, `position`, `norms` and `layers`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.cut(x).flatten(2).transpose(1, 2) + self.position
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + layer(norm(x))
        return x


class Dense(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(DIM, hidden), nn.Linear(hidden, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.gelu(self.up(x)))


class Mixture(nn.Module):
    def __init__(self, experts: int, hidden: int, k: int) -> None:
        super().__init__()
        self.router, self.k = nn.Linear(DIM, experts, bias=False), k
        self.experts = nn.ModuleList(Dense(hidden) for _ in range(experts))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores, index = self.router(x).softmax(-1).topk(self.k, dim=-1)
        y = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            y = y + (scores * (index == e)).sum(-1, keepdim=True) * expert(x)
        return y
