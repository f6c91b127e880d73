"""One block quantised: scales from its activity in calibration, LayerNorm's gain and offset folded into the weights."""

import math
from typing import Any

import numpy as np
import torch

from moesaic.golden.calibrate import BlockActivity, normalised
from moesaic.golden.config import M3ViTConfig
from moesaic.golden.m3vit import Block, Mlp, MoE
from moesaic.golden.qlinear import quantise_linear
from moesaic.golden.qmodel import QuantAttention, QuantExpert, QuantLinear, QuantMLP, QuantMoE, QuantNorm
from moesaic.golden.scales import TOP, FloatArray, mult_shift, tensor_step
from moesaic.golden.steps import context_error, importance, refined, step_for
from moesaic.hw.spec.tables import (
    DIGITS_TOP,
    EXP_FRACTION_BITS,
    GELU_FRACTION_BITS,
    LOGIT_FRACTION_BITS,
    PLANE_BITS,
    STORED_SHIFT,
    STREAMED_SHIFT,
)

__all__ = ["BlockQuantiser", "floats", "quantise_norm"]

HEADROOM = 2.0  # of int16 over the largest value seen in calibration
MAX_POST_SHIFT = 31
STREAMED_TOP = 255  # of a normalised value in one pass
MAX_GATE_SHIFT = 25  # an expert can then be barred by its bias (m3vit_int.force_experts)
SCORE_BITS = 16
LOG2E = math.log2(math.e)


def floats(tensor: torch.Tensor | None) -> FloatArray:
    """A parameter as float64."""
    assert tensor is not None
    return np.asarray(tensor.detach().cpu().numpy(), np.float64)


def quantise_norm(name: str, config: M3ViTConfig, *, residual_step: float, step: float) -> QuantNorm:
    """Constants of a LayerNorm on a residual of that step, of whose output one pass is to take units of about `step`.

    Raises
    ------
    ValueError
        If a constant does not fit its instruction field.
    """
    inv_dim, inv_dim_shift = mult_shift(16 / config.dim, name=f"{name}: 16 / dim")
    step = max(step, config.dim / 65534)  # of a wide model, what the multiplier can do
    scale, shift = mult_shift(config.dim / (2 * step), name=f"{name}: dim / step")
    shift += 3 - STREAMED_SHIFT
    if not 0 <= shift <= 36:
        raise ValueError(f"{name}: shift must be from 0 to 36, not {shift!r}")
    epsilon = max(1, round(config.dim**2 * config.eps / residual_step**2))
    if epsilon >= 1 << 40:
        raise ValueError(f"{name}: epsilon must be below 2^40 in squared residual steps, not {epsilon!r}")
    step = config.dim / math.ldexp(scale, 4 - shift)
    return QuantNorm(
        name=name,
        dim=config.dim,
        inv_dim=inv_dim,
        inv_dim_shift=inv_dim_shift,
        scale=scale,
        shift=shift,
        epsilon=epsilon,
        step=step,
    )


class BlockQuantiser:
    """Quantises one block from its float parameters and its activity in calibration."""

    def __init__(
        self,
        block: Block,
        activity: BlockActivity,
        config: M3ViTConfig,
        *,
        old_step: float,
        step: float,
        method: str,
        compensate: bool,
        acc_bits: int,
        expert_bits: int,
    ) -> None:
        self.block, self.activity, self.config = block, activity, config
        self.old_step, self.step = old_step, step
        self.method, self.compensate, self.acc_bits, self.expert_bits = method, compensate, acc_bits, expert_bits
        self.wide = expert_bits > 8  # then everything has 16 bits
        self.bits, self.stored = (16, "int16") if self.wide else (8, "int8")
        self.name = f"blocks.{activity.index}"

    def linear(
        self,
        name: str,
        weight: FloatArray,
        bias: FloatArray,
        in_step: float,
        out_step: float,
        inputs: Any,
        *,
        bits: int | None = None,
        reads: str | None = None,
        **options: Any,
    ) -> QuantLinear:
        return quantise_linear(
            f"{self.name}.{name}",
            weight,
            bias,
            in_step=in_step,
            out_step=out_step,
            method=self.method,
            inputs=inputs if self.compensate else None,
            acc_bits=self.acc_bits,
            bits=self.bits if bits is None else bits,
            reads=self.stored if reads is None else reads,
            **options,
        )

    def after_norm(
        self,
        name: str,
        weight: FloatArray,
        bias: FloatArray,
        norm: QuantNorm,
        reads: str,
        out_step: float,
        inputs: Any,
        **options: int,
    ) -> QuantLinear:
        """A matrix that reads what `norm` makes: streamed, in planes, or (int8) from the activation memory; with 16
        bits, all of it.
        """
        reads = "planes" if self.wide else reads
        dropped = {"int8": STORED_SHIFT, "streamed": STREAMED_SHIFT, "planes": 0}[reads]
        in_step = math.ldexp(norm.step, dropped)
        return self.linear(name, weight, bias, in_step, out_step, inputs, reads=reads, dropped=dropped, **options)

    def norm(
        self, name: str, rows: list[Any], residual_step: float, weight: FloatArray
    ) -> tuple[QuantNorm, FloatArray]:
        x = normalised(np.concatenate(rows), self.config.eps)
        step = self.stored_step(x, importance(weight), top=STREAMED_TOP)
        return quantise_norm(f"{self.name}.{name}", self.config, residual_step=residual_step, step=step), x

    def stored_step(self, x: Any, matters: FloatArray, *, top: int = TOP) -> float:
        """Step of a tensor in the activation memory (`step_for`); with 16 bits there is room to spare."""
        if not self.wide:
            return step_for(x, matters, self.method, top=top)
        return HEADROOM * tensor_step(x, "minmax", top=top if top != TOP else DIGITS_TOP)

    @staticmethod
    def folded(layer: torch.nn.LayerNorm, weight: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weight and bias that take the plain normalised values."""
        return weight * floats(layer.weight), bias + weight @ floats(layer.bias)

    def attention(self) -> QuantAttention:
        config, activity, attn = self.config, self.activity, self.block.attn
        weight, bias = self.folded(self.block.norm1, floats(attn.qkv.weight), floats(attn.qkv.bias))
        norm, x = self.norm("norm1", activity.before, self.old_step, weight)
        tensors = {part: activity.tensors[f"attn.{part}"] for part in "qkv"}
        steps = {part: tensor_step(np.concatenate(tensors[part]), self.method) for part in "qkv"}
        if self.wide:
            steps = {
                part: HEADROOM * tensor_step(np.concatenate(tensors[part]), "minmax", top=DIGITS_TOP) for part in "qkv"
            }
        elif self.method == "mse":
            error = context_error(tensors["q"], tensors["k"], tensors["v"], config.heads)
            peaks = {part: max(float(np.abs(t).max()) for t in tensors[part]) for part in "qk"}
            steps["q"] = refined(steps["q"], peaks["q"], lambda step: error(step, None))
            steps["k"] = refined(steps["k"], peaks["k"], lambda step: error(None, step))
        parts = {}
        for i, part in enumerate("qkv"):
            rows = slice(i * config.dim, (i + 1) * config.dim)
            parts[part] = self.after_norm(f"attn.{part}", weight[rows], bias[rows], norm, "streamed", steps[part], x)
        q, k, v = (parts[part] for part in "qkv")
        score = q.out_step * k.out_step * config.head_dim**-0.5 * LOG2E * 2**EXP_FRACTION_BITS
        score_mult, score_shift = mult_shift(score, name=f"{self.name}.attn: scale of scores")
        context, proj_weight = activity.all("attn.context"), floats(attn.proj.weight)
        ratio = v.out_step / self.stored_step(context, importance(proj_weight))
        context_mult, context_shift = mult_shift(ratio, name=f"{self.name}.attn: scale of the context")
        context_step = v.out_step / math.ldexp(context_mult, -context_shift)
        proj = self.linear("attn.proj", proj_weight, floats(attn.proj.bias), context_step, self.step, context)
        return QuantAttention(
            norm=norm,
            q=q,
            k=k,
            v=v,
            score_mult=score_mult,
            score_shift=score_shift,
            context_mult=context_mult,
            context_shift=context_shift,
            context_step=context_step,
            proj=proj,
            residual_shift=round(math.log2(self.step / self.old_step)),
        )

    def hidden(self, values: Any, weight: FloatArray) -> tuple[int, int, float]:
        """Multiplier, shift and step of a hidden layer after GELU."""
        unit = 2.0**-GELU_FRACTION_BITS
        step = (
            unit if self.wide else step_for(values, importance(weight), self.method)
        )  # int16 holds all of GELU's bits
        mult, shift = mult_shift(unit / step, max_shift=MAX_POST_SHIFT, name=f"{self.name}.mlp: scale of hidden")
        return mult, shift, unit / math.ldexp(mult, -shift)

    def dense(self) -> QuantMLP:
        mlp, values = self.block.mlp, self.activity.all("mlp.hidden")
        assert isinstance(mlp, Mlp)
        weight, bias = self.folded(self.block.norm2, floats(mlp.fc1.weight), floats(mlp.fc1.bias))
        norm, x = self.norm("norm2", self.activity.mid, self.step, weight)
        mult, shift, step = self.hidden(values, floats(mlp.fc2.weight))
        fc1 = self.after_norm("mlp.fc1", weight, bias, norm, "streamed", 2.0**-GELU_FRACTION_BITS, x)
        fc2 = self.linear("mlp.fc2", floats(mlp.fc2.weight), floats(mlp.fc2.bias), step, self.step, values)
        return QuantMLP(norm=norm, fc1=fc1, hidden_mult=mult, hidden_shift=shift, hidden_step=step, fc2=fc2)

    def moe(self, gates: dict[str, tuple[FloatArray, FloatArray]]) -> QuantMoE:
        config, activity, mlp = self.config, self.activity, self.block.mlp
        assert isinstance(mlp, MoE)
        routes = {task: self.folded(self.block.norm2, *gate) for task, gate in gates.items()}
        norm, x = self.norm("norm2", activity.mid, self.step, np.concatenate([weight for weight, _ in routes.values()]))
        values, chosen = activity.all("mlp.expert_hidden"), activity.all("mlp.expert_index")
        mult, shift, step = self.hidden(values, floats(mlp.experts.h4toh.weight))
        # Scores have 16 fraction bits; what is left of int16 goes to the experts' outputs.
        peak = HEADROOM * float(np.abs(activity.all("mlp.expert_out")).max())
        spare = math.floor(math.log2(32767 * self.step / max(peak, 1e-9)))
        spare = min(max(spare, -SCORE_BITS), MAX_POST_SHIFT - SCORE_BITS)
        out_step = math.ldexp(self.step, -spare)

        tokens = np.concatenate(
            [token + run * config.tokens for run, token in enumerate(activity.tensors["mlp.expert_token"])]
        )
        experts = []
        for e in range(config.experts):
            weight, bias = self.folded(
                self.block.norm2, floats(mlp.experts.htoh4.weight[e]), floats(mlp.experts.htoh4.bias[e])
            )
            mine = chosen == e
            fc1 = self.after_norm(
                f"mlp.experts.{e}.fc1",
                weight,
                bias,
                norm,
                "int8",
                2.0**-GELU_FRACTION_BITS,
                x[tokens[mine]],
                bits=self.expert_bits,
            )
            weight, bias = floats(mlp.experts.h4toh.weight[e]), floats(mlp.experts.h4toh.bias[e])
            fc2 = self.linear(f"mlp.experts.{e}.fc2", weight, bias, step, out_step, values[mine], bits=self.expert_bits)
            experts.append(QuantExpert(fc1=fc1, fc2=fc2))

        routers, order, usage = {}, {}, {}
        runs = np.array(activity.tasks)
        for number, task in enumerate(config.tasks):
            weight, bias = routes[task]
            seen = np.concatenate(
                [x[run * config.tokens : (run + 1) * config.tokens] for run in np.flatnonzero(runs == number)]
            )
            routers[task] = self.after_norm(
                f"mlp.gate.{task}",
                weight,
                bias,
                norm,
                "planes",  # which experts a token goes to hangs on small differences
                2.0**-LOGIT_FRACTION_BITS / LOG2E,
                seen,
                max_shift=MAX_GATE_SHIFT + (PLANE_BITS if self.wide else 0),
            )
            counts = np.stack(
                [
                    np.bincount(activity.tensors["mlp.gate.index"][run].ravel(), minlength=config.experts)
                    for run in np.flatnonzero(runs == number)
                ]
            )
            share, total = (counts > 0).mean(axis=0), counts.sum(axis=0)
            order[task] = tuple(sorted(range(config.experts), key=lambda e: (-share[e], -total[e], e)))
            usage[task] = tuple(float(s) for s in share)
        return QuantMoE(
            norm=norm,
            gates=routers,
            top_k=config.top_k,
            renormalise=config.gate_kind == "noisy",
            experts=tuple(experts),
            hidden_mult=mult,
            hidden_shift=shift,
            hidden_step=step,
            score_shift=SCORE_BITS + spare,
            order=order,
            usage=usage,
        )
