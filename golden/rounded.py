"""The float network with any choice of its roundings switched on: what each of them costs is seen apart, on whole
batches.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from moesaic.golden.gate import choose
from moesaic.golden.m3vit import GELU, Block, M3ViT, Mlp, MoE
from moesaic.golden.ops_int import patch_vectors
from moesaic.golden.qmodel import QuantAttention, QuantLinear, QuantMLP, QuantModel, QuantMoE, QuantNorm
from moesaic.hw.spec.tables import (
    DIGITS_TOP,
    EXP_FRACTION_BITS,
    GELU_FRACTION_BITS,
    NORM_BITS,
    STORED_SHIFT,
    STREAMED_SHIFT,
)

__all__ = ["EMBED", "PARTS", "Choice", "RoundedM3ViT", "everything"]

LOG2E = float(np.log2(np.e))
EMBED = -1  # "block" of the patch embedding
PARTS = (
    "norm1",
    "q",
    "k",
    "v",
    "scores",
    "probs",
    "context",
    "qkv.weight",
    "proj.weight",
    "norm2",
    "norm2.gate",
    "gate.weight",
    "gate.logits",
    "fc1.weight",
    "hidden_pre",
    "hidden",
    "fc2.weight",
    "expert_out",
    "scores16",
    "residual",
)
"""What is rounded in a block, in the order of the data."""

Choice = Callable[[int, str], float]
"""Of a block and a part: 0 exact, 1 as quantised, 2^n with n more bits below (weights: exact or as quantised)."""


def everything(block: int, part: str) -> float:
    """All roundings: the integer model, but for the errors of its tables."""
    return 1


def _floored(step: float, dropped: int) -> float:
    """What rounding down takes away on the average, where `step` is what is left after `dropped` bits."""
    return step * (1 - 2.0**-dropped) / 2


@dataclass
class Outcome:
    """What a forward pass gives: residual [B, tokens, dim] after each block, experts [B * tokens, k] of each
    mixture.
    """

    outputs: list[torch.Tensor] = field(default_factory=list)
    experts: dict[int, torch.Tensor] = field(default_factory=dict)


class RoundedM3ViT:
    """Float arithmetic with the rounding of a quantised network where `on(block, part)` says so.

    Parameters
    ----------
    model, qmodel
        The same network, float (`golden.quantize.prepared`: with the channels it was quantised with) and
        quantised.
    on : callable of (block, part)
        `part` is one of `PARTS`; block -1 is the patch embedding ("embed.weight" and "residual").
    held : dict of int to Tensor, optional
        Experts [B * tokens, k] that tokens of a mixture go to whatever the gate says; `Outcome.experts` has the
        gate's
        choice all the same.
    watch : callable of (block, part, Tensor), optional
        Sees every tensor, after its rounding if there is one.
    """

    def __init__(
        self,
        model: M3ViT,
        qmodel: QuantModel,
        on: Choice,
        *,
        held: dict[int, torch.Tensor] | None = None,
        watch: Callable[[int, str, torch.Tensor], None] | None = None,
    ) -> None:
        self.model, self.qmodel, self.on, self.watch = model, qmodel, on, watch
        self.held = {} if held is None else held
        self.range = (-DIGITS_TOP - 129, DIGITS_TOP) if qmodel.wide else (-128, 127)  # of a stored value
        # Bits of a normalised value that are not read: by what follows at once, and by experts.
        self.streamed, self.stored = (0, 0) if qmodel.wide else (STREAMED_SHIFT, STORED_SHIFT)
        self._kept: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def see(self, i: int, part: str, x: torch.Tensor) -> torch.Tensor:
        if self.watch is not None:
            self.watch(i, part, x)
        return x

    def round(self, x: torch.Tensor, i: int, part: str, step: float, low: int, high: int) -> torch.Tensor:
        """`x` in whole steps, as fine as was chosen."""
        fine = self.on(i, part)
        if fine:
            x = (x * (fine / step)).round_().clamp_(low * fine, high * fine).mul_(step / fine)
        return x if part == "probs" else self.see(i, part, x)

    def dequantised(self, quant: QuantLinear, dropped: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias that the integers stand for; the bias without what makes up for `dropped` bits of the
        input.
        """
        if quant.name not in self._kept:
            steps = np.ldexp(quant.mult.astype(np.float64), -quant.shift) * quant.out_step / quant.in_step
            weight = quant.weight * steps[:, None]
            bias = (quant.bias.astype(np.int64) << quant.bias_shift) * steps * quant.in_step - weight.sum(
                axis=1
            ) * _floored(quant.in_step, dropped)
            self._kept[quant.name] = (
                torch.from_numpy(weight.astype(np.float32)),
                torch.from_numpy(bias.astype(np.float32)),
            )
        return self._kept[quant.name]

    def linear(
        self,
        x: torch.Tensor,
        quant: QuantLinear,
        parameters: tuple[torch.Tensor, torch.Tensor],
        rounded: float,
        dropped: int = 0,
    ) -> torch.Tensor:
        """`x` times the float matrix, or times what the integers stand for."""
        return F.linear(x, *(self.dequantised(quant, dropped) if rounded else parameters))

    def norm(self, x: torch.Tensor, quant: QuantNorm, i: int, part: str, dropped: int) -> torch.Tensor:
        """Plain LayerNorm, of whose integers the lowest `dropped` bits are not read."""
        y, fine = F.layer_norm(x, x.shape[-1:], eps=self.model.config.eps), self.on(i, part)
        step = math.ldexp(quant.step, dropped)
        if fine == 1:
            top = 1 << (NORM_BITS - 1)
            whole = (y / quant.step).round_().clamp_(-top, top - 1)
            lowest = -255 if dropped == STREAMED_SHIFT else -top
            y = whole.div_(1 << dropped).floor_().clamp_(min=lowest).mul_(step).add_(_floored(step, dropped))
        elif fine:
            y = (y * (fine / step)).round_().mul_(step / fine)
        return self.see(i, part, y)

    @staticmethod
    def folded(
        layer: torch.nn.LayerNorm, weight: torch.Tensor, bias: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return weight * layer.weight, bias + weight @ layer.bias

    def attention(self, x: torch.Tensor, block: Block, quant: QuantAttention, i: int) -> torch.Tensor:
        config, on = self.model.config, self.on
        B, N, C = x.shape
        y = self.norm(x, quant.norm, i, "norm1", self.streamed)
        weight, bias = self.folded(block.norm1, block.attn.qkv.weight, block.attn.qkv.bias)
        heads = []
        for part, linear, w, b in zip("qkv", (quant.q, quant.k, quant.v), weight.chunk(3), bias.chunk(3), strict=True):
            t = self.linear(y, linear, (w, b), on(i, "qkv.weight"), self.streamed)
            t = self.round(t, i, part, linear.out_step, *self.range)
            heads.append(t.reshape(B, N, config.heads, config.head_dim).transpose(1, 2))
        q, k, v = heads
        t = (q @ k.transpose(-2, -1)) * (config.head_dim**-0.5 * LOG2E)
        t = self.round(t, i, "scores", 2.0**-EXP_FRACTION_BITS, -32768, 32767)
        p = self.round(torch.exp2(t - t.amax(-1, keepdim=True).ceil()), i, "probs", 1 / 255, 0, 255)
        # Before, two models may differ by a factor of 2: by what is taken for the maximum.
        context = self.see(i, "probs", p / p.sum(-1, keepdim=True)) @ v
        context = context.transpose(1, 2).reshape(B, N, C)
        context = self.round(context, i, "context", quant.context_step, *self.range)
        proj = block.attn.proj
        return self.linear(context, quant.proj, (proj.weight, proj.bias), on(i, "proj.weight"))

    def hidden(self, x: torch.Tensor, i: int, kind: str, step: float) -> torch.Tensor:
        x = self.round(x, i, "hidden_pre", 2.0**-GELU_FRACTION_BITS, -32768, 32767)
        return self.round(F.gelu(x, approximate=kind), i, "hidden", step, *self.range)

    def mixture(
        self, x: torch.Tensor, block: Block, quant: QuantMoE, i: int, task: int, found: Outcome
    ) -> torch.Tensor:
        config, on, mlp = self.model.config, self.on, block.mlp
        assert isinstance(mlp, MoE)
        y = self.norm(x, quant.norm, i, "norm2", self.stored).reshape(-1, config.dim)
        z = self.norm(x, quant.norm, i, "norm2.gate", 0).reshape(-1, config.dim)
        weight, bias = self.model.folded_gate(i, task)
        gate = quant.gates[config.tasks[task]]
        logits = self.linear(z, gate, self.folded(block.norm2, weight.T, bias), on(i, "gate.weight"))
        logits = self.round(logits, i, "gate.logits", gate.out_step, -32768, 32767)
        scores, index = choose(logits, config.top_k, config.gate_kind)
        found.experts[i] = index
        if i in self.held:
            index = self.held[i]
            chosen = logits if config.gate_kind == "noisy_vmoe" else logits.gather(-1, index)
            scores = torch.softmax(chosen, dim=-1)
            scores = scores.gather(-1, index) if config.gate_kind == "noisy_vmoe" else scores
        scores = self.round(scores, i, "scores16", 2.0**-16, 0, 65535)
        out = torch.zeros_like(y)
        for e, expert in enumerate(quant.experts):
            token, choice = (index == e).nonzero(as_tuple=True)
            if not len(token):
                continue
            first, second = mlp.experts.htoh4, mlp.experts.h4toh
            folded = self.folded(block.norm2, first.weight[e], first.bias[e])
            pre = self.linear(y[token], expert.fc1, folded, on(i, "fc1.weight"), self.stored)
            hidden = self.hidden(pre, i, mlp.gelu, quant.hidden_step)
            part = self.linear(hidden, expert.fc2, (second.weight[e], second.bias[e]), on(i, "fc2.weight"))
            part = self.round(part, i, "expert_out", expert.fc2.out_step, -32768, 32767)
            out.index_add_(0, token, part * scores[token, choice, None])
        return out.reshape(x.shape)

    def dense(self, x: torch.Tensor, block: Block, quant: QuantMLP, i: int) -> torch.Tensor:
        mlp, on = block.mlp, self.on
        assert isinstance(mlp, Mlp)
        y = self.norm(x, quant.norm, i, "norm2", self.streamed)
        folded = self.folded(block.norm2, mlp.fc1.weight, mlp.fc1.bias)
        pre = self.linear(y, quant.fc1, folded, on(i, "fc1.weight"), self.streamed)
        hidden = self.hidden(pre, i, GELU[self.model.config.gelu], quant.hidden_step)
        return self.linear(hidden, quant.fc2, (mlp.fc2.weight, mlp.fc2.bias), on(i, "fc2.weight"))

    def embed(self, images: np.ndarray[Any, Any]) -> torch.Tensor:
        """Residual [B, tokens, dim] before block 0, of uint8 [B, 3, H, W]."""
        model, qmodel = self.model, self.qmodel
        if self.on(EMBED, "embed.weight"):
            vectors = np.stack([patch_vectors(image, model.config) for image in images]).astype(np.float32)
            x = F.linear(torch.from_numpy(vectors), *self.dequantised(qmodel.embed))
            x = x + torch.from_numpy(qmodel.position * np.float32(qmodel.embed_step))
        else:
            x = model.patch_embed(model.normalise(torch.from_numpy(images)))
            x = torch.cat((model.prefix().expand(len(x), -1, -1), x), dim=1) + model.pos_embed
        return self.round(x, EMBED, "residual", qmodel.embed_step, -32768, 32767)

    def middle(self, x: torch.Tensor, i: int) -> torch.Tensor:
        """Residual within block `i`, after its attention."""
        block, quant = self.model.blocks[i], self.qmodel.blocks[i]
        assert isinstance(block, Block)
        return self.round(
            x + self.attention(x, block, quant.attention, i), i, "residual", quant.residual_step, -32768, 32767
        )

    def rest(self, x: torch.Tensor, i: int, task: int, found: Outcome) -> torch.Tensor:
        """Residual after block `i` from the one within it, which is also added to `found`."""
        block, quant = self.model.blocks[i], self.qmodel.blocks[i]
        assert isinstance(block, Block)
        if isinstance(quant.mlp, QuantMoE):
            out = self.mixture(x, block, quant.mlp, i, task, found)
        else:
            out = self.dense(x, block, quant.mlp, i)
        found.outputs.append(self.round(x + out, i, "residual", quant.residual_step, -32768, 32767))
        return found.outputs[-1]

    @torch.no_grad()
    def run(self, images: np.ndarray[Any, Any], task: str | int) -> Outcome:
        """Forward pass of uint8 [B, 3, H, W]."""
        number, found, x = self.model.config.task_index(task), Outcome(), self.embed(images)
        for i in range(self.model.config.depth):
            x = self.rest(self.middle(x, i), i, number, found)
        return found
