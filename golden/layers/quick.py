"""Float layers as other machines run them best: fused attention; experts one by one, all on every token, or grouped.

Each computes what the layer does, up to the order of sums.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F

from moesaic.golden.layers.activations import FUNCTIONS
from moesaic.golden.layers.attention_float import Attention
from moesaic.golden.layers.float_layer import FloatLayer, Run
from moesaic.golden.layers.moe_float import MoE

__all__ = ["FORMS", "quick_layer"]

Tensor = torch.Tensor


def _attention(layer: Attention, x: Tensor) -> Tensor:
    batch, tokens, _ = x.shape
    q, k, v = (part.reshape(batch, tokens, layer.heads, -1).transpose(1, 2) for part in layer.qkv(x).chunk(3, dim=-1))
    context = F.scaled_dot_product_attention(q, k, v, scale=layer.scale)
    context = context.transpose(1, 2).reshape(batch, tokens, layer.inner)
    return context if layer.proj is None else layer.proj(context)


def _loop(layer: MoE, x: Tensor, scores: Tensor, index: Tensor) -> Tensor:
    """Experts one after the other, each on its tokens; how many there are goes back to the host."""
    out = torch.zeros_like(x)
    for expert in range(layer.experts.htoh4.weight.shape[0]):
        token, choice = (index == expert).nonzero(as_tuple=True)
        if len(token):
            rows = layer.experts.h4toh(_units(layer, x[token], expert), expert)
            out = out.index_add(0, token, rows * scores[token, choice, None])
    return out


def _units(layer: MoE, x: Tensor, expert: int) -> Tensor:
    """Hidden units of an expert."""
    up, function, gates = layer.experts.htoh4(x, expert), FUNCTIONS[layer.activation], layer.experts.gate_proj
    return function(up) if gates is None else up * function(gates(x, expert))


def _hidden(layer: MoE, product: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Hidden units of all experts, where `product` multiplies by their matrices."""
    first, gates, function = layer.experts.htoh4, layer.experts.gate_proj, FUNCTIONS[layer.activation]
    up = product(first.weight, first.bias)
    return function(up) if gates is None else up * function(product(gates.weight, gates.bias))


def _dense(layer: MoE, x: Tensor, scores: Tensor, index: Tensor) -> Tensor:
    """Every expert on every token; scores select."""
    second = layer.experts.h4toh
    hidden = _hidden(layer, lambda weight, bias: x @ weight.transpose(1, 2) + bias[:, None])  # [experts, tokens, units]
    rows = hidden @ second.weight.transpose(1, 2) + second.bias[:, None]
    factors = x.new_zeros(len(x), len(rows)).scatter(1, index, scores)
    return torch.einsum("etd,te->td", rows, factors)


def _grouped(layer: MoE, x: Tensor, scores: Tensor, index: Tensor) -> Tensor:
    """Tokens sorted by expert, one grouped product for each matrix; nothing goes back to the host."""
    second, k = layer.experts.h4toh, index.shape[1]
    order = index.flatten().argsort(stable=True)
    expert = index.flatten()[order]
    ends = (expert[None] <= torch.arange(len(second.weight), device=x.device)[:, None]).sum(1).to(torch.int32)

    def product(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.grouped_mm(rows, weight.transpose(1, 2), offs=ends) + bias[expert]

    rows = x[order // k]
    hidden = _hidden(layer, lambda weight, bias: product(rows, weight, bias))
    rows = product(hidden, second.weight, second.bias) * scores.flatten()[order, None]
    return torch.zeros_like(x).index_add(0, order // k, rows)


FORMS: Mapping[str, Callable[[MoE, Tensor, Tensor, Tensor], Tensor]] = {
    "loop": _loop,
    "dense": _dense,
    "grouped": _grouped,
}


def quick_layer(layer: FloatLayer, x: Tensor, run: Run, form: str) -> Tensor:
    """What a layer adds to the residual, from normalised tokens x [B, tokens, dim]; mixtures in a form of `FORMS`."""
    if isinstance(layer, MoE):
        flat = x.flatten(0, 1)
        routing = layer.gate_of(run.task)(flat, run.embedding)
        return FORMS[form](layer, flat, routing.scores.to(x.dtype), routing.index).reshape(x.shape)
    return _attention(layer, x) if isinstance(layer, Attention) else layer.batched(x)
