"""A model whose blocks all differ, as a user's file has it."""

import torch
import torch.nn.functional as F
from torch import nn

DIM, SIDE, PATCH, HEADS = 32, 32, 8, 2


class Dense(nn.Module):
    def __init__(self, hidden: int, *, squared: bool = False) -> None:
        super().__init__()
        self.up, self.down, self.squared = nn.Linear(DIM, hidden), nn.Linear(hidden, DIM), squared

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(x)
        return self.down(F.relu(x).square() if self.squared else F.gelu(x))


class SwiGLU(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(DIM, hidden), nn.Linear(DIM, hidden), nn.Linear(hidden, DIM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Mixture(nn.Module):
    """Experts that may be another mixture's too; the router is its own."""

    def __init__(self, experts: nn.ModuleList, k: int) -> None:
        super().__init__()
        self.router, self.experts, self.k = nn.Linear(DIM, len(experts), bias=False), experts, k
        with torch.no_grad():
            self.router.weight.mul_(8)  # tokens must not all go the same way

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores, index = self.router(x).softmax(-1).topk(self.k, dim=-1)
        y = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            y = y + (scores * (index == e)).sum(-1, keepdim=True) * expert(x)
        return y


class Block(nn.Module):
    def __init__(self, layer: nn.Module, norm: type[nn.Module] = nn.LayerNorm) -> None:
        super().__init__()
        self.before, self.between, self.layer = nn.LayerNorm(DIM), norm(DIM), layer
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        with torch.no_grad():
            for name, parameter in self.between.named_parameters():
                parameter.normal_(mean=float(name == "weight"), std=0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, N, _ = x.shape
        q, k, v = self.qkv(self.before(x)).reshape(B, N, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        context = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, N, DIM)
        x = x + self.out(context)
        return x + self.layer(self.between(x))


class Net(nn.Module):
    """Dense GELU; 5 experts, SwiGLU, top-1; 3 experts, top-2; a wider ReLU² behind RMSNorm; the 3 experts once more."""

    def __init__(self) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, DIM, PATCH, PATCH)
        self.position = nn.Parameter(0.5 * torch.randn(1, (SIDE // PATCH) ** 2, DIM))
        shared = nn.ModuleList(Dense(56) for _ in range(3))
        self.blocks = nn.Sequential(
            Block(Dense(72)),
            Block(Mixture(nn.ModuleList(SwiGLU(20) for _ in range(5)), 1)),
            Block(Mixture(shared, 2)),
            Block(Dense(128, squared=True), nn.RMSNorm),
            Block(Mixture(shared, 2)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(self.cut(x).flatten(2).transpose(1, 2) + self.position)


def net() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return Net().eval(), torch.zeros(1, 3, SIDE, SIDE)
