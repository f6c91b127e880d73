"""Linear layers that read a norm of the residual stream: their matrices, and which norm it is."""

import numpy as np
import torch

from moesaic.golden.frontend.meaning import Embed, Group, Linear, Meaning, Norm, Residual, Stream
from moesaic.golden.frontend.refusal import Refusal

__all__ = ["PRE_NORM", "all_channels", "first_layer", "norm_of", "same_norm"]

PRE_NORM = "a pre-norm block: x + attention(norm(x)), then x + MLP(norm(x)) (norm_first=True)"


def same_stream(a: Stream, b: Stream) -> bool:
    """Whether two streams hold the same values."""
    if isinstance(a, Embed) and isinstance(b, Embed):
        return a.linear is b.linear and a.norm is b.norm and torch.equal(a.table, b.table)
    return a is b


def same_norm(a: Norm, b: Norm) -> bool:
    """Whether two norms compute the same."""
    same = torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias) and (a.eps, a.kind) == (b.eps, b.kind)
    return a is b or (same and same_stream(a.stream, b.stream))


def norm_of(source: Meaning, before: Stream, at: Meaning, what: str) -> Norm:
    """The norm that a layer reads; `Refusal` if it is no norm of the stream that the result is added to."""
    if not isinstance(source, Norm):
        found = f"{what} of {source.what}"
        if isinstance(source, Stream):
            found = f"{what} of the residual stream itself, without a norm before it (as in a post-norm block)"
        raise Refusal(found, expected=f"{what} of a norm, LayerNorm(x) or RMSNorm(x)", nearest=PRE_NORM, node=at.node)
    if same_stream(source.stream, before):
        return source
    if isinstance(before, Residual) and same_stream(source.stream, before.before):
        raise Refusal(
            f"a parallel block ({before.block.kind} and {what} of a norm of the same stream)",
            expected="one after the other, the second behind a norm of the stream that the first was added to",
            nearest=PRE_NORM,
            node=source.node,
        )
    raise Refusal(
        f"{what} of a norm of an earlier residual stream",
        expected="a norm of the stream that the result is added to",
        nearest=PRE_NORM,
        node=source.node,
    )


def all_channels(group: Group, width: int, at: Meaning, what: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight [out, width] and bias over the source's own channels."""
    if sorted(group.columns) != list(range(width)):
        raise Refusal(f"{what} of some of the channels", expected=f"all {width}", nearest=PRE_NORM, node=at.node)
    weight = torch.empty_like(group.weight)
    weight[:, torch.from_numpy(group.columns)] = group.weight
    return weight, group.bias


def first_layer(
    linear: Linear, columns: np.ndarray, before: Stream, what: str
) -> tuple[Norm, torch.Tensor, torch.Tensor]:
    """A layer that reads a norm: the norm, weight [columns, dim], bias."""
    group = linear.rows(columns)
    norm = norm_of(linear.source, before, linear, what)
    if group is None:
        raise Refusal(f"{what} of several matrices", expected="one linear layer", nearest=PRE_NORM, node=linear.node)
    return norm, *all_channels(group, norm.shape[1], linear, what)
