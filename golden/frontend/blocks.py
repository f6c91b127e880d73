"""Recognises what is added to the residual stream: attention, an MLP, a mixture of experts, each behind a norm."""

import numpy as np
import torch
from torch import fx

from moesaic.golden.frontend.behind_norm import PRE_NORM, all_channels, first_layer, norm_of, same_norm
from moesaic.golden.frontend.meaning import (
    Block,
    Context,
    Group,
    Hidden,
    Leaf,
    Linear,
    Meaning,
    Mixture,
    Residual,
    Stream,
    Weighted,
)
from moesaic.golden.frontend.mlp import dense, mixture
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal
from moesaic.golden.frontend.stream import stream_of

__all__ = ["add_branch", "is_half", "parallel", "unprojected"]


def unprojected(context: Context) -> Linear:
    """Attention without an output projection: the identity, as a linear layer of its heads' outputs."""
    width = context.shape[1]
    eye = Group(np.arange(width), torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64))
    return Linear(node=context.node, shape=context.shape, source=context, groups=[eye])


def add_branch(reader: Reader, node: fx.Node, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The residual stream plus what half a block computed from it."""
    found = [reader.find(x) for x in (left, right)]
    for x, branch, other in ((left, found[1], right), (right, found[0], left)):
        if branch is None or not isinstance(branch[0], (Linear, Context, Mixture, Weighted, Leaf)):
            continue
        stream = stream_of(reader, x, node)
        if stream is None or stream_of(reader, other, node) is not None:
            continue
        meaning = unprojected(branch[0]) if isinstance(branch[0], Context) else branch[0]
        return _residual(reader, node, stream, (meaning, branch[1]))
    if all(f is not None and is_half(f[0]) for f in found):
        raise parallel("two halves of a block")
    what = ["several tensors" if f is None else f[0].what for f in found]
    raise Refusal(
        f"a sum of {what[0]} and {what[1]}",
        expected="the residual stream plus what attention or an MLP returns",
        nearest=PRE_NORM,
    )


def parallel(what: str) -> Refusal:
    """Of branches that are added to each other before they reach the stream."""
    return Refusal(
        f"a parallel block ({what} added to each other)",
        expected="one after the other: attention added to the stream, then the MLP of a norm of that",
        nearest=PRE_NORM,
    )


def is_half(meaning: Meaning) -> bool:
    """Whether a meaning is what attention, an MLP or a mixture returns."""
    if isinstance(meaning, Linear):
        return isinstance(meaning.source, (Context, Hidden))
    return isinstance(meaning, (Context, Mixture, Weighted, Leaf))


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
    return reader.add(Residual(node=node, shape=before.shape, before=before, block=block)) + place


def _block(before: Stream, branch: Meaning, pick: np.ndarray) -> Block:
    if isinstance(branch, Leaf):
        norm = norm_of(branch.source, before, branch, "a mixture")
        return Block("mixture", norm, {}, {}, {"leaf": branch.number, "columns": pick})
    if isinstance(branch, (Mixture, Weighted)):
        terms = [(branch, pick)] if isinstance(branch, Weighted) else [(w, c[pick]) for w, c in branch.terms]
        return mixture(before, branch, terms)
    assert isinstance(branch, Linear)
    group = branch.rows(pick)
    if group is not None and isinstance(branch.source, Context):
        return _attention(before, branch, branch.source, group)
    if group is not None and isinstance(branch.source, Hidden):
        return dense(before, branch, group)
    raise Refusal(
        f"a linear layer of {branch.source.what}, added to the residual stream",
        expected="the output projection of attention, or the second layer of an MLP",
        nearest=PRE_NORM,
        node=branch.node,
    )


def _attention(before: Stream, proj: Linear, context: Context, group: Group) -> Block:
    scores = context.probs.scores
    heads, head_dim = context.value_columns.shape
    if scores.query_columns.shape != context.value_columns.shape:
        raise Refusal(
            f"attention of {heads} heads of {scores.query_columns.shape[1]} channels of q and k, and {head_dim} of v",
            expected="as many channels of q, k and v",
            nearest=f"{heads} heads of {head_dim} channels",
            node=context.node,
        )
    parts = [
        first_layer(linear, columns.reshape(-1), before, "attention")
        for linear, columns in (
            (scores.query, scores.query_columns),
            (scores.key, scores.key_columns),
            (context.value, context.value_columns),
        )
    ]
    if not all(same_norm(parts[0][0], norm) for norm, _, _ in parts):
        raise Refusal("q, k and v of different norms", expected="one norm", nearest=PRE_NORM, node=scores.node)
    # The canonical model divides scores by the root of the head's dimension; any other scale goes into the queries.
    factor = (scores.scale * head_dim**0.5).repeat_interleave(head_dim)
    weights, biases = [w.double() for _, w, _ in parts], [b.double() for _, _, b in parts]
    weights[0], biases[0] = weights[0] * factor[:, None], biases[0] * factor
    proj_weight, proj_bias = all_channels(group, heads * head_dim, proj, "the output projection")
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
        {"heads": heads, "head_dim": head_dim},
    )


def _union(*names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in names for name in group))
