"""The router: gate logits, scores and the top-k experts of every token."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from moesaic.golden.layers.sizes import MoESizes
from moesaic.golden.nodes import TaskEmbeddingSizes

__all__ = ["Gate", "Routing", "TaskEmbedding", "choose", "joined", "top_k"]


@dataclass(frozen=True)
class Routing:
    """Which experts each token goes to.

    Parameters
    ----------
    logits : Tensor, [tokens, experts]
        Without training noise.
    scores : Tensor, [tokens, k]
        Factor of each chosen expert's output, best first.
    index : Tensor of int64, [tokens, k]
        Chosen experts, best first; of equal logits the lower expert comes first.
    """

    logits: torch.Tensor
    scores: torch.Tensor
    index: torch.Tensor


def joined(routings: Sequence[Routing]) -> Routing:
    """The routings of several runs of tokens as one."""
    logits, scores, index = (torch.cat([getattr(r, name) for r in routings]) for name in ("logits", "scores", "index"))
    return Routing(logits=logits, scores=scores, index=index)


def top_k(values: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `k` largest of the last axis and their indices, largest first; of equal values the lowest index wins."""
    # torch.topk leaves the order of equal values open; a stable sort does not.
    ordered, index = torch.sort(values, dim=-1, descending=True, stable=True)
    return ordered[..., :k], index[..., :k]


def choose(logits: torch.Tensor, k: int, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and experts of each token from gate logits [tokens, experts]; `kind` as in `MoESizes.gate_kind`.

    Experts are ranked by logit, not by probability: softmax keeps the order but may round two logits into a
    tie.
    """
    best, index = top_k(logits, k)
    if kind == "noisy":
        return torch.softmax(best, dim=-1), index
    return torch.softmax(logits, dim=-1).gather(-1, index), index


class TaskEmbedding(nn.Module):
    """One vector per task for a task-conditioned gate: one-hot, two linears with GELU between, LayerNorm.

    Parameters
    ----------
    tasks : int
    sizes : TaskEmbeddingSizes
    """

    def __init__(self, tasks: int, sizes: TaskEmbeddingSizes) -> None:
        super().__init__()
        self.fc1 = nn.Linear(tasks, sizes.channels)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(sizes.channels, sizes.channels)
        self.norm = nn.LayerNorm(sizes.channels, eps=sizes.eps)

    def forward(self, task: int) -> torch.Tensor:
        one_hot = torch.zeros(self.fc1.in_features, dtype=self.fc1.weight.dtype, device=self.fc1.weight.device)
        one_hot[task] = 1.0
        return self.norm(self.fc2(self.act(self.fc1(one_hot))))  # [channels]


class Gate(nn.Module):
    """Routes tokens to experts.

    At training time the choice is made on logits with Gaussian noise of deviation 1 / experts; the recorded
    logits have none.

    Parameters
    ----------
    dim : int
        Channels of a token.
    sizes : MoESizes
        Of the mixture. A router that sees the task embedding has a `w_gate` of [dim + gate_task_dim, experts].
    """

    def __init__(self, dim: int, sizes: MoESizes) -> None:
        super().__init__()
        self.dim, self.k, self.kind = dim, sizes.top_k, sizes.gate_kind
        self.w_gate = nn.Parameter(torch.empty(dim + sizes.gate_task_dim, sizes.experts))
        self.b_gate = nn.Parameter(torch.empty(sizes.experts)) if sizes.gate_bias else None

    def folded(self, embedding: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The gate as a plain linear: weight [dim, experts] and bias [experts], which is the learnt one and the
        task's.
        """
        weight = self.w_gate[: self.dim]
        bias = weight.new_zeros(weight.shape[1]) if self.b_gate is None else self.b_gate
        rest = self.w_gate[self.dim :]  # none of a router that does not see it
        return weight, bias if embedding is None or not len(rest) else bias + embedding @ rest

    def forward(self, x: torch.Tensor, embedding: torch.Tensor | None = None) -> Routing:
        weight, bias = self.folded(embedding)
        logits = x @ weight + bias  # [tokens, experts]
        ranked = logits
        if self.training:
            ranked = logits + torch.randn_like(logits) / logits.shape[-1]
        scores, index = choose(ranked, self.k, self.kind)
        return Routing(logits=logits, scores=scores, index=index)
