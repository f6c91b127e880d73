"""Recognises what is added to the residual stream: attention, an MLP, a mixture of experts, each behind a LayerNorm."""

from typing import Any

import numpy as np
import torch
from torch import fx

from moesaic.golden.frontend.meaning import (
    Block,
    Context,
    Embed,
    Gelu,
    Group,
    Leaf,
    Linear,
    Meaning,
    Mixture,
    Norm,
    Probs,
    Residual,
    Stream,
    Weighted,
)
from moesaic.golden.frontend.nearest import MIXTURE_RECIPE
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal
from moesaic.golden.frontend.stream import stream_of

__all__ = ["add_branch"]

PRE_NORM = "a pre-norm block: x + attention(LayerNorm(x)), then x + MLP(LayerNorm(x)) (norm_first=True)"


def add_branch(reader: Reader, node: fx.Node, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The residual stream plus what half a block computed from it."""
    for x, y in ((left, right), (right, left)):
        branch = reader.find(y)
        if branch is None or not isinstance(branch[0], (Linear, Mixture, Weighted, Leaf)):
            continue
        stream = stream_of(reader, x, node)
        if stream is None or stream_of(reader, y, node) is not None:
            continue
        return _residual(reader, node, stream, branch)
    what = [_words(reader, ids) for ids in (left, right)]
    raise Refusal(
        f"a sum of {what[0]} and {what[1]}",
        expected="the residual stream plus what attention or an MLP returns",
        nearest=PRE_NORM,
    )


def _words(reader: Reader, ids: torch.Tensor) -> str:
    found = reader.find(ids)
    return "several tensors" if found is None else found[0].what


def _residual(
    reader: Reader, node: fx.Node, stream: tuple[Stream, torch.Tensor], branch: tuple[Meaning, torch.Tensor]
) -> torch.Tensor:
    before, place = stream
    dim = before.shape[1]
    token, column = branch[1] // branch[0].shape[1], branch[1] % branch[0].shape[1]
    if not torch.equal(token, place // dim):
        raise Refusal("a sum of different tokens", expected="the same tokens on both sides", nearest=PRE_NORM)
    pick = torch.full((dim,), -1)
    pick[(place % dim).flatten()] = column.flatten()
    if not torch.equal(pick[place % dim], column) or bool((pick < 0).any()) or place.numel() != before.shape[0] * dim:
        raise Refusal(
            "a sum of different channels, or of some of the tokens", expected="the same channels", nearest=PRE_NORM
        )
    block = _block(before, branch[0], pick.numpy())
    expected_after = "attention" if block.kind != "attention" else "an MLP, or the embedded tokens"
    after = before.block.kind if isinstance(before, Residual) else "embedding"
    if (block.kind == "attention") == (after == "attention") or (after == "embedding" and block.kind != "attention"):
        raise Refusal(f"{block.kind} after {after}", expected=f"{block.kind} after {expected_after}", nearest=PRE_NORM)
    return reader.add(Residual(node=node, shape=before.shape, before=before, block=block)) + place


def _block(before: Stream, branch: Meaning, pick: np.ndarray) -> Block:
    if isinstance(branch, Leaf):
        norm = _norm(branch.source, before, branch, "a mixture")
        return Block("mixture", norm, {}, {}, {"leaf": branch.number, "columns": pick})
    if isinstance(branch, (Mixture, Weighted)):
        terms = [(branch, pick)] if isinstance(branch, Weighted) else [(w, c[pick]) for w, c in branch.terms]
        return _mixture(before, branch, terms)
    assert isinstance(branch, Linear)
    group = branch.rows(pick)
    if group is not None and isinstance(branch.source, Context):
        return _attention(before, branch, branch.source, group)
    if group is not None and isinstance(branch.source, Gelu):
        return _mlp(before, branch, branch.source, group)
    raise Refusal(
        f"a linear layer of {branch.source.what}, added to the residual stream",
        expected="the output projection of attention, or the second layer of an MLP",
        nearest=PRE_NORM,
        node=branch.node,
    )


def _norm(source: Meaning, before: Stream, at: Meaning, what: str) -> Norm:
    if not isinstance(source, Norm):
        raise Refusal(f"{what} of {source.what}", expected=f"{what} of LayerNorm(x)", nearest=PRE_NORM, node=at.node)
    if not _same_stream(source.stream, before):
        raise Refusal(
            f"{what} of a norm of an earlier residual stream",
            expected="a norm of the stream that the result is added to",
            nearest=PRE_NORM,
            node=source.node,
        )
    return source


def _same_stream(a: Stream, b: Stream) -> bool:
    if isinstance(a, Embed) and isinstance(b, Embed):
        return a.linear is b.linear and torch.equal(a.table, b.table)
    return a is b


def _same_norm(a: Norm, b: Norm) -> bool:
    same = torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias) and a.eps == b.eps
    return a is b or (same and _same_stream(a.stream, b.stream))


def _full(group: Group, width: int, at: Meaning, what: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight [out, width] and bias over the source's own channels."""
    if sorted(group.columns) != list(range(width)):
        raise Refusal(f"{what} of some of the channels", expected=f"all {width}", nearest=PRE_NORM, node=at.node)
    weight = torch.empty_like(group.weight)
    weight[:, torch.from_numpy(group.columns)] = group.weight
    return weight, group.bias


def _first(linear: Linear, columns: np.ndarray, before: Stream, what: str) -> tuple[Norm, torch.Tensor, torch.Tensor]:
    """A layer that reads LayerNorm(x): the norm, weight [columns, dim], bias."""
    group = linear.rows(columns)
    norm = _norm(linear.source, before, linear, what)
    if group is None:
        raise Refusal(f"{what} of several matrices", expected="one linear layer", nearest=PRE_NORM, node=linear.node)
    return norm, *_full(group, norm.shape[1], linear, what)


def _attention(before: Stream, proj: Linear, context: Context, group: Group) -> Block:
    probs = context.probs
    assert isinstance(probs, Probs)
    scores, dim = probs.scores, before.shape[1]
    heads, head_dim = context.value_columns.shape
    if heads * head_dim != dim or scores.query_columns.shape != context.value_columns.shape:
        raise Refusal(
            f"attention of {heads} heads of {head_dim} channels",
            expected=f"heads that share the {dim} channels of a token",
            nearest=f"{max(1, dim // head_dim)} heads of {head_dim} channels",
            node=context.node,
        )
    parts = [
        _first(linear, columns.reshape(-1), before, "attention")
        for linear, columns in (
            (scores.query, scores.query_columns),
            (scores.key, scores.key_columns),
            (context.value, context.value_columns),
        )
    ]
    if not all(_same_norm(parts[0][0], norm) for norm, _, _ in parts):
        raise Refusal("q, k and v of different norms", expected="one LayerNorm", nearest=PRE_NORM, node=scores.node)
    # The canonical model divides scores by the root of the head's dimension; any other scale goes into the queries.
    factor = (scores.scale * head_dim**0.5).repeat_interleave(head_dim)
    weights, biases = [w.double() for _, w, _ in parts], [b.double() for _, _, b in parts]
    weights[0], biases[0] = weights[0] * factor[:, None], biases[0] * factor
    proj_weight, proj_bias = _full(group, dim, proj, "the output projection")
    linears = (scores.query, scores.key, context.value)
    return Block(
        "attention",
        parts[0][0],
        {
            "attn.qkv.weight": torch.cat(weights),
            "attn.qkv.bias": torch.cat(biases),
            "attn.proj.weight": proj_weight,
            "attn.proj.bias": proj_bias,
        },
        {
            "attn.qkv.weight": _union(*(m.weight_names for m in linears)),
            "attn.qkv.bias": _union(*(m.bias_names for m in linears)),
            "attn.proj.weight": proj.weight_names,
            "attn.proj.bias": proj.bias_names,
        },
        {"heads": heads},
    )


def _union(*names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in names for name in group))


def _two_layers(before: Stream, second: Linear, gelu: Gelu, group: Group, what: str) -> tuple[Norm, list[torch.Tensor]]:
    """Two linear layers with GELU between: the norm they read; weight, bias, weight, bias."""
    norm, first, first_bias = _first(gelu.linear, group.columns, before, what)
    return norm, [first, first_bias, group.weight, group.bias]


def _mlp(before: Stream, fc2: Linear, gelu: Gelu, group: Group) -> Block:
    norm, tensors = _two_layers(before, fc2, gelu, group, "an MLP")
    keys = ("mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias")
    names = (gelu.linear.weight_names, gelu.linear.bias_names, fc2.weight_names, fc2.bias_names)
    return Block(
        "mlp", norm, dict(zip(keys, tensors, strict=True)), dict(zip(keys, names, strict=True)), {"gelu": gelu.kind}
    )


def _mixture(before: Stream, branch: Meaning, terms: list[tuple[Weighted, np.ndarray]]) -> Block:
    def refuse(found: str, expected: str) -> Refusal:
        return Refusal(found, expected=expected, nearest=MIXTURE_RECIPE, node=branch.node)

    scores = terms[0][0].combine.scores
    gate = scores.logits
    experts: dict[int, list[torch.Tensor]] = {}
    names: dict[str, dict[str, None]] = {}
    norm, kinds = None, set()
    for weighted, columns in terms:
        mine = weighted.combine.scores
        if (mine.logits, mine.kind, mine.shape) != (gate, scores.kind, scores.shape):
            raise refuse("experts of several gates", "one gate")
        numbers = np.unique(weighted.expert[columns])
        group = weighted.linear.rows(columns)
        if len(numbers) != 1 or group is None or int(numbers[0]) in experts:
            raise refuse("an expert's output in parts, or twice", "each expert's whole output once")
        gelu = weighted.linear.source
        if not isinstance(gelu, Gelu):
            raise refuse(f"an expert of {gelu.what}", "experts of two linear layers with GELU between")
        found, tensors = _two_layers(before, weighted.linear, gelu, group, "an expert")
        if norm is not None and not _same_norm(norm, found):
            raise refuse("experts of different norms", "one LayerNorm")
        norm = found
        kinds.add(gelu.kind)
        experts[int(numbers[0])] = tensors
        for key, more in (
            ("htoh4.weight", gelu.linear.weight_names),
            ("htoh4.bias", gelu.linear.bias_names),
            ("h4toh.weight", weighted.linear.weight_names),
            ("h4toh.bias", weighted.linear.bias_names),
        ):
            names.setdefault(key, {}).update(dict.fromkeys(more))
    count = gate.shape[1]
    if sorted(experts) != list(range(count)) or len({t[0].shape for t in experts.values()}) != 1 or len(kinds) != 1:
        raise refuse(
            f"{len(experts)} experts for a gate of {count}", "as many experts as the gate has, all of one size"
        )
    gate_norm, weight, bias = _first(gate, np.arange(count), before, "a gate")
    assert norm is not None
    if not _same_norm(gate_norm, norm):
        raise refuse("a gate and experts of different norms", "one LayerNorm")
    stacked = [torch.stack([experts[e][i] for e in range(count)]) for i in range(4)]
    keys = ("htoh4.weight", "htoh4.bias", "h4toh.weight", "h4toh.bias")
    parameters = {f"mlp.experts.{key}": tensor for key, tensor in zip(keys, stacked, strict=True)}
    facts: dict[str, Any] = {"gelu": kinds.pop(), "top_k": scores.shape[1], "gate_kind": scores.kind, "experts": count}
    return Block(
        "mixture",
        norm,
        parameters | {"gate.weight": weight.T, "gate.bias": bias},
        {f"mlp.experts.{key}": tuple(names[key]) for key in keys}
        | {"gate.weight": gate.weight_names, "gate.bias": gate.bias_names},
        facts,
    )
