"""Mixtures of experts as different people write them, with fixed shapes or under M3ViT's names."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
import zoo
from torch import nn
from zoo import DIM, HEADS

EXPERTS, HIDDEN, K = 4, 24, 2


class Recipe(nn.Module):
    """The recipe of docs/models.md: scores scattered into a table, all experts on all tokens."""

    def __init__(self, experts: int = EXPERTS, k: int = K) -> None:
        super().__init__()
        self.gate, self.k, self.experts = nn.Linear(DIM, experts, bias=False), k, experts
        self.w1, self.b1 = nn.Parameter(torch.empty(experts, HIDDEN, DIM)), nn.Parameter(torch.empty(experts, HIDDEN))
        self.w2, self.b2 = nn.Parameter(torch.empty(experts, DIM, HIDDEN)), nn.Parameter(torch.empty(experts, DIM))

    def table(self, x: torch.Tensor) -> torch.Tensor:
        scores, index = self.gate(x).softmax(-1).topk(self.k, dim=-1)
        return torch.zeros(*x.shape[:2], self.experts, dtype=x.dtype).scatter(-1, index, scores)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = F.gelu(torch.einsum("bnd,ehd->bneh", x, self.w1) + self.b1)
        out = torch.einsum("bneh,edh->bned", hidden, self.w2) + self.b2
        return (out * self.table(x)[..., None]).sum(2)


class Renormalised(Recipe):
    """Probabilities over the chosen ones' sum; a biased gate; one einsum for the sum over experts."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(DIM, EXPERTS)

    def table(self, x: torch.Tensor) -> torch.Tensor:
        top = torch.topk(self.gate(x).softmax(-1), self.k, dim=-1)
        scores = top.values / top.values.sum(-1, keepdim=True)
        return (F.one_hot(top.indices, self.experts).to(x.dtype) * scores[..., None]).sum(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = F.gelu(torch.einsum("bnd,ehd->bneh", x, self.w1) + self.b1)
        out = torch.einsum("bneh,edh->bned", hidden, self.w2) + self.b2
        return torch.einsum("bned,bne->bnd", out, self.table(x))


class Loop(nn.Module):
    """A loop over expert modules, the factor of each found by comparing numbers; softmax over the chosen ones."""

    def __init__(self, experts: int = EXPERTS, k: int = K) -> None:
        super().__init__()
        self.router, self.k = nn.Linear(DIM, experts, bias=False), k
        self.each = nn.ModuleList(zoo.Mlp(DIM) for _ in range(experts))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        best, index = self.router(x).topk(self.k, dim=-1)
        best = best.softmax(-1)
        y = torch.zeros_like(x)
        for e, expert in enumerate(self.each):
            y += (best * (index == e)).sum(-1, keepdim=True) * expert(x)
        return y


class Sorted(Recipe):
    """A stable sort in place of top-k, probabilities gathered, torch.where, a batched product for the sum."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x[0]
        logits = self.gate(x)
        _, index = torch.sort(logits, dim=-1, descending=True, stable=True)
        index = index[:, : self.k]
        scores = logits.softmax(-1).gather(-1, index)
        table = torch.where(index[..., None] == torch.arange(self.experts), scores[..., None], 0.0).sum(1)
        hidden = F.gelu(torch.bmm(x.expand(self.experts, -1, -1), self.w1.mT) + self.b1[:, None])
        out = torch.bmm(hidden, self.w2.mT) + self.b2[:, None]
        return torch.bmm(table[:, None], out.transpose(0, 1)).transpose(0, 1)


class Batched(nn.Module):
    """One linear per expert: weight [experts, out, in]."""

    def __init__(self, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.empty(experts, outputs, inputs)),
            nn.Parameter(torch.empty(experts, outputs)),
        )


class Gate(nn.Module):
    def __init__(self, inputs: int, experts: int) -> None:
        super().__init__()
        self.w_gate = nn.Parameter(torch.empty(inputs, experts))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w_gate


class Published(nn.Module):
    """M3ViT's names; a loop over experts with masks, whose shapes depend on the image; a gate per task; returns a loss
    too.
    """

    def __init__(self, gates: int, experts: int = EXPERTS, k: int = K, factor: float = 1.0) -> None:
        super().__init__()
        self.experts, self.k, self.factor = nn.Module(), k, factor
        self.experts.htoh4, self.experts.h4toh = Batched(experts, DIM, HIDDEN), Batched(experts, HIDDEN, DIM)
        self.gate = nn.ModuleList(Gate(DIM, experts) for _ in range(gates))

    def logits(self, x: torch.Tensor, task: int) -> torch.Tensor:
        return self.gate[task](x)

    def forward(self, x: torch.Tensor, task: int) -> tuple[torch.Tensor, torch.Tensor]:
        flat = x.reshape(-1, DIM)
        logits = self.logits(flat, task)
        scores, index = logits.softmax(-1).topk(self.k, dim=-1)
        out = torch.zeros_like(flat)
        for e in range(logits.shape[1]):
            token, choice = torch.where(index == e)
            if len(token):
                hidden = F.gelu(F.linear(flat[token], self.experts.htoh4.weight[e], self.experts.htoh4.bias[e]))
                result = F.linear(hidden, self.experts.h4toh.weight[e], self.experts.h4toh.bias[e])
                out[token] += result * scores[token, choice, None] * self.factor
        return out.view_as(x), logits.var()


class Direct(Published):
    """Uses the gates' parameters without calling them."""

    def logits(self, x: torch.Tensor, task: int) -> torch.Tensor:
        return x @ self.gate[task].w_gate


class TaskBlock(nn.Module):
    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2, self.attn, self.mlp = nn.LayerNorm(DIM), nn.LayerNorm(DIM), zoo.Fused(DIM, HEADS), mlp

    def forward(self, x: torch.Tensor, task: int) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        y = self.mlp(self.norm2(x), task)
        return x + (y[0] if isinstance(y, tuple) else y)


class TaskVit(nn.Module):
    """Called with a task number; the second block is a mixture, unless `kinds` says otherwise."""

    def __init__(self, make: Callable[[], nn.Module], mixtures: tuple[bool, ...] = (False, True)) -> None:
        super().__init__()
        self.embed = zoo.Conv()
        self.blocks = nn.ModuleList(TaskBlock(make() if mixture else IgnoresTask()) for mixture in mixtures)

    def forward(self, x: torch.Tensor, task: int) -> torch.Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x, task)
        return x


class IgnoresTask(zoo.Mlp):
    def __init__(self) -> None:
        super().__init__(DIM)

    def forward(self, x: torch.Tensor, task: int) -> torch.Tensor:
        return super().forward(x)


class Masked(Recipe):
    """A choice of tokens by mask: shapes depend on the image, and the names are not M3ViT's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x[0]
        scores, index = self.gate(flat).softmax(-1).topk(self.k, dim=-1)
        out = torch.zeros_like(flat)
        for e in range(self.experts):
            token, choice = torch.where(index == e)
            if len(token) == 0:
                continue
            y = F.linear(F.gelu(F.linear(flat[token], self.w1[e], self.b1[e])), self.w2[e], self.b2[e])
            out[token] += y * scores[token, choice, None]
        return out[None]


WRITTEN: Mapping[str, tuple[Callable[[], nn.Module], str]] = {
    "recipe": (Recipe, "noisy_vmoe"),
    "renormalised": (Renormalised, "noisy"),
    "loop": (Loop, "noisy"),
    "sorted": (Sorted, "noisy_vmoe"),
}
