"""Whether a model fits an accelerator, before anything is calibrated: the compiler's passes on a network of zeros."""

import numpy as np

from moesaic.compiler.check import check
from moesaic.compiler.pipeline import compile_graphs
from moesaic.flow.request import Request
from moesaic.golden.config import M3ViTConfig
from moesaic.golden.layers.attention import QuantAttention
from moesaic.golden.layers.layer import QuantLayer
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.mlp import QuantMLP
from moesaic.golden.layers.moe import QuantExpert, QuantMoE
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.qmodel import QuantBlock, QuantModel

__all__ = ["check_fit", "hollow_model"]


def _linear(name: str, out: int, inputs: int, bits: int = 8, *, reads: str = "int8", wide: bool = False) -> QuantLinear:
    bits, reads = (16, {"int8": "int16", "streamed": "planes"}.get(reads, reads)) if wide else (bits, reads)
    zero = np.zeros((), np.int8)  # one byte, seen as a whole matrix
    weight = np.broadcast_to(zero, (out, inputs))
    return QuantLinear(name, weight, np.zeros(out, np.int32), np.ones(out, np.uint16), 1, 1.0, 1.0, bits, reads)


def _norm(name: str, dim: int) -> QuantNorm:
    return QuantNorm(name=name, dim=dim, inv_dim=1, inv_dim_shift=1, scale=1, shift=1, epsilon=1, step=1.0)


def _block(model: M3ViTConfig, number: int, expert_bits: int) -> QuantBlock:
    name, dim, wide = f"blocks.{number}", model.dim, expert_bits > 8
    q, k, v = (_linear(f"{name}.attn.{part}", dim, dim, reads="streamed", wide=wide) for part in "qkv")
    attention = QuantAttention(
        norm=_norm(f"{name}.norm1", dim),
        q=q,
        k=k,
        v=v,
        score_mult=1,
        score_shift=1,
        context_mult=1,
        context_shift=1,
        context_step=1.0,
        proj=_linear(f"{name}.attn.proj", dim, dim, wide=wide),
        residual_shift=0,
        heads=model.heads,
    )
    norm = _norm(f"{name}.norm2", dim)
    mlp: QuantLayer
    if not model.is_moe(number):
        mlp = QuantMLP(
            norm=norm,
            fc1=_linear(f"{name}.mlp.fc1", model.mlp_hidden, dim, reads="streamed", wide=wide),
            hidden_mult=1,
            hidden_shift=1,
            hidden_step=1.0,
            fc2=_linear(f"{name}.mlp.fc2", dim, model.mlp_hidden, wide=wide),
        )
    else:
        experts = tuple(
            QuantExpert(
                _linear(
                    f"{name}.mlp.experts.{e}.fc1",
                    model.expert_hidden,
                    dim,
                    expert_bits,
                    reads="planes" if wide else "int8",
                ),
                _linear(f"{name}.mlp.experts.{e}.fc2", dim, model.expert_hidden, expert_bits, wide=wide),
            )
            for e in range(model.experts)
        )
        mlp = QuantMoE(
            norm=norm,
            gates={
                task: _linear(f"{name}.mlp.gate.{task}", model.experts, dim, expert_bits if wide else 8, reads="planes")
                for task in model.tasks
            },
            top_k=model.top_k,
            renormalise=model.gate_kind == "noisy",
            experts=experts,
            hidden_mult=1,
            hidden_shift=1,
            hidden_step=1.0,
            score_shift=1,
            order={task: tuple(range(model.experts)) for task in model.tasks},
        )
    return QuantBlock(name=name, attention=attention, mlp=mlp, residual_step=1.0)


def hollow_model(model: M3ViTConfig, expert_bits: int = 8) -> QuantModel:
    """A quantised network of the right shapes and widths, all zeros, that takes next to no memory."""
    return QuantModel(
        config=model,
        embed=_linear("embed", model.dim, model.patch_values, max(8, expert_bits)),
        position=np.zeros((model.tokens, model.dim), np.int16),
        blocks=tuple(_block(model, number, expert_bits) for number in range(model.depth)),
        embed_step=1.0,
        weights="seeded",
    )


def check_fit(request: Request) -> None:
    """Refuse a model that the accelerator cannot hold.

    Raises
    ------
    CompileError
        Names the layer or buffer, and by how much it is short.
    """
    hollow = hollow_model(request.model, request.expert_bits)
    check(hollow, request.config, tasks=request.tasks, blocks=request.blocks)
    compile_graphs(hollow, request.config, task=request.tasks[0], blocks=request.blocks, speculate=request.speculate)
