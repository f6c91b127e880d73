"""Multi-head attention in floats, and how it is quantised."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from moesaic.golden.gate import Routing
from moesaic.golden.layers.activity import LayerActivity
from moesaic.golden.layers.attention import QuantAttention
from moesaic.golden.layers.attention_ranges import AttentionRanges, key_scales, ranges_of, value_scales
from moesaic.golden.layers.float_layer import FloatLayer, Run
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.quantiser import FINEST, HEADROOM, LOG2E, LayerQuantiser, Reading, floats
from moesaic.golden.layers.rounding import Place, Rounding, stored_range
from moesaic.golden.layers.sizes import AttentionSizes
from moesaic.golden.scales import mult_shift, tensor_step
from moesaic.golden.step_search import context_error, importance, refined
from moesaic.hw.spec.tables import DIGITS_TOP, DISTANCE_BITS, EXP_FRACTION_BITS, PROBABILITY_BITS, neighbours

__all__ = ["Attention"]


@dataclass(frozen=True, kw_only=True)
class _Common:
    """What attentions of the same matrices have in common: `parts` are q, k and v; pairs are multiplier and shift."""

    reading: Reading
    parts: Mapping[str, QuantLinear]
    score: tuple[int, int]
    context: tuple[int, int]
    context_step: float
    proj: QuantLinear


class Attention(FloatLayer):
    """Multi-head self-attention; where it has no projection, its heads are what is added."""

    added = "proj"
    parts = ("norm1", "q", "k", "v", "scores", "probs", "context", "qkv.weight", "proj.weight")

    def __init__(self, dim: int, sizes: AttentionSizes, tasks: Sequence[str]) -> None:
        super().__init__(dim, sizes, tasks)
        self.heads, self.inner = sizes.heads, sizes.inner
        self.scale = sizes.head_dim**-0.5
        self.qkv = nn.Linear(dim, 3 * sizes.inner)
        self.proj = nn.Linear(sizes.inner, dim) if sizes.projection else None
        self.gamma = sizes.clipped_softmax
        self.gate = nn.Linear(dim, sizes.heads) if sizes.head_gates else None

    def softmax(self, scores: torch.Tensor) -> torch.Tensor:
        """Weights of the keys, clipped if the layer says so; of scores [..., keys]."""
        return self._clipped(scores.softmax(dim=-1))  # quicker here than torch's fused kernel

    def _clipped(self, probs: torch.Tensor) -> torch.Tensor:
        return ((1 - self.gamma) * probs + self.gamma).clamp(0, 1) if self.gamma else probs

    def opened(self, context: torch.Tensor, logits: torch.Tensor | None) -> torch.Tensor:
        """Contexts [B, heads, tokens, head_dim] times the sigmoid of their gates' logits [B, tokens, heads], if any."""
        return context if logits is None else context * logits.sigmoid().transpose(1, 2)[..., None].to(context.dtype)

    def projection(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight [dim, inner] and bias [dim] of what follows the heads; where there is nothing, those of the same."""
        if self.proj is not None:
            return self.proj.weight, self.proj.bias
        like = self.qkv.weight
        return torch.eye(self.inner, dtype=like.dtype), torch.zeros(self.inner, dtype=like.dtype)

    def written(self) -> Iterator[tuple[torch.Tensor, int]]:
        if self.proj is not None:
            yield self.proj.weight, 0
            yield self.proj.bias, 0
        else:  # of one head: all channels of a token are the same mixture of values
            yield self.qkv.weight[2 * self.inner :], 0
            yield self.qkv.bias[2 * self.inner :], 0

    def forward(self, x: torch.Tensor, name: str, run: Run) -> tuple[torch.Tensor, None]:
        trace, (B, N, _) = run.trace, x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # [B, N, inner] each, head-major
        for part, tensor in (("q", q), ("k", k), ("v", v)):
            trace.record(f"{name}.{part}", tensor[0])
        q, k, v = (t.reshape(B, N, self.heads, -1).transpose(1, 2) for t in (q, k, v))  # [B, h, N, hd]
        scores = (q @ k.transpose(-2, -1)) * self.scale  # [B, h, N, N]
        trace.record(f"{name}.scores", scores[0])
        probs = self.softmax(scores)
        trace.record(f"{name}.probs", probs[0])
        context = self.opened(probs @ v, None if self.gate is None else self.gate(x))
        context = context.transpose(1, 2).reshape(B, N, self.inner)
        trace.record(f"{name}.context", context[0])
        out = context if self.proj is None else self.proj(context)  # [B, N, dim]
        trace.record(f"{name}.proj", out[0])
        return out, None

    def ranges(self, activity: LayerActivity, *, wide: bool) -> AttentionRanges:
        return ranges_of(activity)

    def balance(self, ranges: Sequence[AttentionRanges]) -> None:
        together = AttentionRanges.together(ranges)
        keys = key_scales(together)
        values = np.ones_like(keys) if self.proj is None else value_scales(together)
        rows = torch.from_numpy(np.concatenate([1 / keys, keys, 1 / values])).to(self.qkv.weight.dtype)
        centre = torch.from_numpy(np.asarray(together.centre)).to(self.qkv.bias.dtype)
        self.qkv.bias[self.inner : 2 * self.inner].sub_(centre)
        self.qkv.weight.mul_(rows[:, None])
        self.qkv.bias.mul_(rows)
        if self.proj is not None:
            self.proj.weight.mul_(torch.from_numpy(values).to(self.proj.weight.dtype))

    def share(self, owner: "Attention") -> None:
        self.qkv, self.proj, self.gate = owner.qkv, owner.proj, owner.gate

    def common(self, quantiser: LayerQuantiser) -> "_Common":
        activity, inner = quantiser.activity, self.inner
        weight, bias = quantiser.first(self.qkv.weight, self.qkv.bias)
        reading = quantiser.first_reading(weight, "streamed")
        tensors = {part: activity.tensors[part] for part in "qkv"}
        steps = {part: tensor_step(np.concatenate(tensors[part]), quantiser.method) for part in "qkv"}
        if quantiser.wide:
            steps = {
                part: HEADROOM * tensor_step(np.concatenate(tensors[part]), "minmax", top=DIGITS_TOP) for part in "qkv"
            }
        elif quantiser.method == "mse":
            error = context_error(tensors["q"], tensors["k"], tensors["v"], self.heads)
            peaks = {part: max(float(np.abs(t).max()) for t in tensors[part]) for part in "qk"}
            steps["q"] = refined(steps["q"], peaks["q"], lambda step: error(step, None))
            steps["k"] = refined(steps["k"], peaks["k"], lambda step: error(None, step))
        parts = {}
        for i, part in enumerate("qkv"):
            rows = slice(i * inner, (i + 1) * inner)
            parts[part] = quantiser.reading(part, weight[rows], bias[rows], reading, steps[part], reading.values)
        q, k, v = parts["q"], parts["k"], parts["v"]
        score = q.out_step * k.out_step * self.scale * LOG2E * 2**EXP_FRACTION_BITS
        score_mult, score_shift = mult_shift(score, name=f"{quantiser.name}: scale of scores")
        context, (proj_weight, proj_bias) = activity.all("context"), map(floats, self.projection())
        ratio = v.out_step / max(quantiser.stored_step(context, importance(proj_weight)), FINEST * v.out_step)
        context_mult, context_shift = mult_shift(ratio, name=f"{quantiser.name}: scale of the context")
        context_step = v.out_step / math.ldexp(context_mult, -context_shift)
        proj = quantiser.linear("proj", proj_weight, proj_bias, context_step, quantiser.step, context)
        return _Common(
            reading=reading,
            parts=parts,
            score=(score_mult, score_shift),
            context=(context_mult, context_shift),
            context_step=context_step,
            proj=proj,
        )

    def quantise(self, quantiser: LayerQuantiser, common: "_Common") -> QuantAttention:
        """The integers of this attention, from its activity in calibration."""
        norm, gain = quantiser.norm_before(common.reading)
        q, k, v = (quantiser.own(common.parts[part], part) for part in "qkv")
        return QuantAttention(
            name=quantiser.name,
            norm=norm,
            q=q,
            k=k,
            v=v,
            score_mult=common.score[0],
            score_shift=common.score[1],
            context_mult=common.context[0],
            context_shift=common.context[1],
            context_step=common.context_step,
            proj=quantiser.own_last(common.proj, "proj"),
            residual_shift=quantiser.residual_shift,
            heads=self.heads,
            gain=gain,
        )

    def rounded(self, rounding: Rounding, x: torch.Tensor, quant: QuantAttention, place: Place) -> torch.Tensor:
        """What is added to the residual, with the roundings that were chosen."""
        i, on, stored = place.block, rounding.on, stored_range(wide=quant.wide)
        B, N, _ = x.shape
        read = rounding.first(x, place, quant.norm, quant.gain, quant.first, "norm1")
        weight, bias = read.parameters(self.qkv.weight, self.qkv.bias)
        heads = []
        for part, linear, w, b in zip("qkv", (quant.q, quant.k, quant.v), weight.chunk(3), bias.chunk(3), strict=True):
            t = rounding.linear(read.values, linear, (w, b), on(i, "qkv.weight"), read.dropped)
            t = rounding.round(t, i, part, linear.out_step, *stored)
            heads.append(t.reshape(B, N, self.heads, -1).transpose(1, 2))
        q, k, v = heads
        t = (q @ k.transpose(-2, -1)) * (self.scale * LOG2E)
        t = rounding.round(t, i, "scores", 2.0**-EXP_FRACTION_BITS, -32768, 32767)
        p = _probabilities(t, rounding.on(i, "probs"))
        context = rounding.see(i, "probs", self._clipped(p / p.sum(-1, keepdim=True))) @ v
        if self.gate is not None:
            context = self.opened(context, F.linear(read.values, *read.parameters(self.gate.weight, self.gate.bias)))
        context = context.transpose(1, 2).reshape(B, N, self.inner)
        context = rounding.round(context, i, "context", quant.context_step, *stored)
        return rounding.linear(context, quant.proj, self.projection(), on(i, "proj.weight"))

    def batched(self, x: torch.Tensor, routing: Routing | None = None) -> torch.Tensor:
        B, N, _ = x.shape
        q, k, v = (
            part.reshape(B, N, self.heads, -1).transpose(1, 2).contiguous() for part in self.qkv(x).chunk(3, dim=-1)
        )
        scores = (q @ k.transpose(-2, -1)).float() * self.scale
        context = self.opened(self.softmax(scores).to(v.dtype) @ v, None if self.gate is None else self.gate(x))
        context = context.transpose(1, 2).reshape(B, N, self.inner)
        return context if self.proj is None else self.proj(context)


def _probabilities(t: torch.Tensor, fine: float) -> torch.Tensor:
    """Softmax of scores [..., keys] in log2 units up to a factor: `golden.numerics.softmax_block` and ``probability``
    of the most bits for a row that is one block, with roundings `fine` times as fine, or 0: none.
    """
    distance = t.amax(-1, keepdim=True).ceil() - t
    if not fine:
        return torch.exp2(-distance)
    step = torch.exp2(torch.log2(distance + 1).floor().clamp(max=3)) / (fine * (1 << DISTANCE_BITS))
    distance = (distance / step).round() * step
    bits = max(PROBABILITY_BITS)
    size, top = neighbours(bits), fine * (255 << bits - 8)
    powers = F.pad(torch.exp2(-distance), (0, -distance.shape[-1] % size))
    heaviest = powers.unflatten(-1, (-1, size)).sum(-1).amax(-1, keepdim=True)
    level = (4 * torch.log2(heaviest)).ceil() / 4
    return (top * torch.exp2(-distance - level)).round() / top
