"""Training's forward pass: all tasks of a batch at once, tokens sorted by expert; the same function as `M3ViT`."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from moesaic.golden.gate import Routing, choose
from moesaic.golden.m3vit import Attention, Block, M3ViT, Mlp, MoE

__all__ = ["Pass", "forward_together"]


@dataclass
class Pass:
    """What a forward pass leaves behind.

    Parameters
    ----------
    tokens : Tensor, [tasks * B, N, dim]
        Output of the last block, first all images for the first task.
    routings : list of list of Routing
        For each mixture block, one for each task.
    normed : list of Tensor, [n, N, dim]
        Inputs of every attention and MLP before the norms' gains, of the first images of each task.
    """

    tokens: torch.Tensor
    routings: list[list[Routing]] = field(default_factory=list)
    normed: list[torch.Tensor] = field(default_factory=list)


class _Gather(torch.autograd.Function):
    """Rows by a permutation; its gradient is rows by the inverse, which is quicker than torch's scatter."""

    @staticmethod
    def forward(ctx, rows: torch.Tensor, order: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return gradient.index_select(0, inverse), None, None


def _attention(layer: Attention, x: torch.Tensor) -> torch.Tensor:
    B, N, C = x.shape
    q, k, v = (
        part.reshape(B, N, layer.heads, C // layer.heads).transpose(1, 2).contiguous()
        for part in layer.qkv(x).chunk(3, dim=-1)
    )
    probs = ((q @ k.transpose(-2, -1)).float() * layer.scale).softmax(dim=-1)  # quicker here than torch's fused kernel
    return layer.proj((probs.to(v.dtype) @ v).transpose(1, 2).reshape(B, N, C))


def _experts(layer: MoE, x: torch.Tensor, scores: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Mixture of rows x [n, dim], with one product for each expert and matrix."""
    k = index.shape[1]
    flat = index.flatten()
    order = torch.argsort(flat, stable=True)
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order))
    counts = torch.bincount(flat, minlength=layer.experts.htoh4.weight.shape[0]).tolist()
    rows = x[:, None].expand(-1, k, -1).reshape(len(flat), -1)  # each token once for each of its experts
    rows = _Gather.apply(rows, order, inverse)
    for number, linear in enumerate((layer.experts.htoh4, layer.experts.h4toh)):
        if number == 1:
            rows = F.gelu(rows, approximate=layer.gelu)
        # Taken apart once: a slice for each expert would have a whole gradient for each.
        weights, biases = linear.weight.to(rows.dtype).unbind(), linear.bias.to(rows.dtype).unbind()
        rows = torch.cat([F.linear(*args) for args in zip(rows.split(counts), weights, biases, strict=True)])
    rows = _Gather.apply(rows, inverse, order).unflatten(0, (-1, k))  # [n, k, dim]
    return (rows * scores[..., None].to(rows.dtype)).sum(dim=1)


def forward_together(
    model: M3ViT, images: torch.Tensor, *, noise: float = 0.0, generator: torch.Generator | None = None, watch: int = 0
) -> Pass:
    """Run every task of `model` on images [B, 3, H, W].

    What comes before the first gate is computed once for all tasks.

    Parameters
    ----------
    noise : float
        Deviation of Gaussian noise on the gates' logits when experts are chosen; the scores are those of the noisy
        logits, the recorded logits have none.
    generator : torch.Generator, optional
        Of the noise.
    watch : int
        Images of each task whose normalised tokens are kept.
    """
    tasks, B = len(model.config.tasks), len(images)
    x = model.patch_embed(model.normalise(images)).float()
    x = torch.cat((model.prefix().expand(B, -1, -1), x), dim=1) + model.pos_embed
    result = Pass(x)

    def norm(layer: torch.nn.LayerNorm) -> torch.Tensor:
        plain = F.layer_norm(x, layer.normalized_shape, eps=layer.eps)
        if watch:
            result.normed.append(torch.cat([plain[first : first + watch] for first in range(0, len(plain), B)]))
        return plain * layer.weight + layer.bias

    for block in model.blocks:
        assert isinstance(block, Block)
        x = x + _attention(block.attn, norm(block.norm1)).float()
        y = norm(block.norm2)
        if isinstance(block.mlp, Mlp):
            x = x + block.mlp.fc2(F.gelu(block.mlp.fc1(y), approximate=block.mlp.gelu)).float()
            continue
        if len(y) == B and tasks > 1:  # here the tasks part
            x, y = x.repeat(tasks, 1, 1), y.repeat(tasks, 1, 1)
        routings = []
        for task, part in enumerate(y.split(B)):
            embedding = model.gate_task_represent(task) if model.gate_task_represent is not None else None
            weight, bias = block.mlp.gate_of(task).folded(embedding)
            with torch.autocast("cpu", enabled=False):
                logits = part.flatten(0, 1) @ weight + bias
            ranked = logits
            if noise:
                ranked = logits + noise * torch.randn(logits.shape, generator=generator)
            scores, index = choose(ranked, model.config.top_k, model.config.gate_kind)
            routings.append(Routing(logits=logits, scores=scores, index=index))
        result.routings.append(routings)
        scores, index = (torch.cat([getattr(r, name) for r in routings]) for name in ("scores", "index"))
        dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else y.dtype
        out = _experts(block.mlp, y.flatten(0, 1).to(dtype), scores, index)
        x = x + out.float().unflatten(0, (-1, x.shape[1]))
    result.tokens = x if len(x) == tasks * B else x.repeat(tasks, 1, 1)
    return result
