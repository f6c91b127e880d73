"""Sums, products and softmax, element by element: biases, scales, residuals, and the arithmetic of gates."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from moesaic.golden.frontend import gates, mixture, norms
from moesaic.golden.frontend.attention import ATTENTION, attention_probs, rotary
from moesaic.golden.frontend.blocks import add_branch, is_half, parallel, unprojected
from moesaic.golden.frontend.columns import by_column
from moesaic.golden.frontend.gated import GATED_MLP, gate
from moesaic.golden.frontend.known import Known
from moesaic.golden.frontend.meaning import (
    Context,
    Embed,
    Group,
    Linear,
    Meaning,
    Mixture,
    Norm,
    Pixels,
    Pointwise,
    Probs,
    Scores,
    Weighted,
)
from moesaic.golden.frontend.nearest import nearest
from moesaic.golden.frontend.pointwise import combined, with_constant
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal
from moesaic.golden.frontend.stream import is_embedding, stream_of

__all__ = ["HANDLERS"]


def _numbers(known: Any, shape: torch.Size) -> tuple[torch.Tensor, tuple[str, ...]]:
    """A constant operand, float64 in the shape of the other one."""
    value, names = (known.value, known.names) if isinstance(known, Known) else (known, ())
    return torch.as_tensor(value, dtype=torch.float64).expand(shape), names


def _expanded(ids: torch.Tensor, other: Any) -> torch.Tensor:
    shape = other.value.shape if isinstance(other, Known) and isinstance(other.value, torch.Tensor) else ()
    return ids.expand(torch.broadcast_shapes(ids.shape, shape))


def _words(reader: Reader, ids: torch.Tensor) -> str:
    found = reader.find(ids)
    return "several tensors" if found is None else found[0].what


# Sums.


def _add(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    left, right = args[:2]
    if kwargs.get("alpha", 1) != 1:
        raise Refusal("a scaled sum", expected="a plain sum", nearest="x + f(norm(x))")
    if not isinstance(right, torch.Tensor):
        return _add_constant(reader, node, _expanded(left, right), *_numbers(right, _expanded(left, right).shape))
    if not isinstance(left, torch.Tensor):
        return _add_constant(reader, node, _expanded(right, left), *_numbers(left, _expanded(right, left).shape))
    left, right = torch.broadcast_tensors(left, right)
    activation = combined(reader, node, left, right, torch.add)
    if activation is not None:
        return activation
    found = [reader.find(x) for x in (left, right)]
    if all(f is not None and isinstance(f[0], (Weighted, Mixture)) for f in found):
        return mixture.merge(reader, node, left, right)
    return add_branch(reader, node, left, right)


def _add_constant(
    reader: Reader, node: fx.Node, ids: torch.Tensor, values: torch.Tensor, names: tuple[str, ...]
) -> torch.Tensor:
    if not bool(values.any()):
        return ids
    found = reader.find(ids)
    meaning = None if found is None else found[0]
    norm = norms.changed(reader, node, found, values, names, times=False)
    if norm is not None:
        return norm
    if is_embedding(reader, ids):
        return _add_positions(reader, node, ids, values, names)
    if found is not None and isinstance(meaning, Linear):
        return _shifted(reader, node, meaning, found[1], values, names)
    if found is not None and isinstance(meaning, Pixels):
        return _pixels(reader, node, meaning, found[1], lambda scale, offset, x: (scale, offset + x), values)
    activation = with_constant(reader, node, ids, values, torch.add)
    if activation is not None:
        return activation
    if isinstance(meaning, Scores):
        raise Refusal(
            "a constant added to attention scores (relative position bias or mask)",
            expected="plain scores",
            nearest=ATTENTION,
        )
    raise Refusal(
        f"a constant added to {_words(reader, ids)}",
        expected="a bias of a linear layer, or positions of embedded tokens",
        nearest="learnt positions, added once to the embedded tokens",
    )


def _add_positions(
    reader: Reader, node: fx.Node, ids: torch.Tensor, values: torch.Tensor, names: tuple[str, ...]
) -> torch.Tensor:
    stream = stream_of(reader, ids, node)
    assert stream is not None and isinstance(stream[0], Embed)
    embed, local = stream[0], stream[1]
    table = embed.table.flatten().clone()
    table[local.flatten()] += values.flatten()
    added = Embed(
        node=node,
        shape=embed.shape,
        linear=embed.linear,
        table=table.view(embed.shape),
        names=tuple(dict.fromkeys((*embed.names, *names))),
        norm=embed.norm,
    )
    return reader.add(added) + local


def _shifted(
    reader: Reader, node: fx.Node, linear: Linear, local: torch.Tensor, values: torch.Tensor, names: tuple[str, ...]
) -> torch.Tensor:
    bias = by_column(local % linear.shape[1], values, linear.shape[1], 0.0)
    if bias is None:
        raise Refusal(
            "a constant of every token added after a linear layer",
            expected="a bias, the same for every token",
            nearest="learnt positions, added once to the embedded tokens",
        )
    parts = bias.view(len(linear.groups), -1)
    groups = [Group(g.columns, g.weight, g.bias.double() + part) for g, part in zip(linear.groups, parts, strict=True)]
    root, factor, constant = linear.affine or (linear, 1.0, 0.0)
    shifted = _like(linear, groups, bias=names)
    # Only the elements of `local` are ever read of the new layer.
    shifted.affine = (root, factor, constant + float(values.flatten()[0].detach())) if _uniform(values) else None
    return reader.add(shifted) + local


def _uniform(values: torch.Tensor) -> bool:
    return bool((values == values.flatten()[0]).all())


def _like(linear: Linear, groups: list[Group], *, bias: tuple[str, ...] = (), weight: tuple[str, ...] = ()) -> Linear:
    return Linear(
        node=linear.node,
        shape=linear.shape,
        source=linear.source,
        groups=groups,
        weight_names=tuple(dict.fromkeys((*linear.weight_names, *weight))),
        bias_names=tuple(dict.fromkeys((*linear.bias_names, *bias, *weight))),
    )


def _sub(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    left, right = args[:2]
    if isinstance(left, torch.Tensor) and not isinstance(right, torch.Tensor) and kwargs.get("alpha", 1) == 1:
        minus = Known(-right.value, right.names) if isinstance(right, Known) else -right
        return _add(reader, node, (left, minus), {})
    if isinstance(right, torch.Tensor) and kwargs.get("alpha", 1) == 1:
        if not isinstance(left, torch.Tensor):
            return _add(reader, node, (_mul(reader, node, (right, -1.0), {}), left), {})
        one, other = torch.broadcast_tensors(left, right)
        activation = combined(reader, node, one, other, torch.sub)
        if activation is not None:
            return activation
    raise Refusal("a difference", expected="a sum", nearest="x + f(norm(x)); nn.LayerNorm for a norm written out")


def _rsub(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    return _sub(reader, node, (args[1], args[0]), {"alpha": args[2] if len(args) > 2 else kwargs.get("alpha", 1)})


# Products.


def _mul(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    left, right = args[:2]
    if not isinstance(right, torch.Tensor):
        ids = _expanded(left, right)
        return _scaled(reader, node, ids, *_numbers(right, ids.shape))
    if not isinstance(left, torch.Tensor):
        ids = _expanded(right, left)
        return _scaled(reader, node, ids, *_numbers(left, ids.shape))
    left, right = torch.broadcast_tensors(left, right)
    weighed = norms.product(reader, node, left, right)
    if weighed is None:
        weighed = combined(reader, node, left, right, torch.mul)
    if weighed is None:
        weighed = gate(reader, node, left, right)
    if weighed is None:
        weighed = mixture.weigh(reader, node, left, right)
    if weighed is None:
        raise Refusal(
            f"a product of {_words(reader, left)} and {_words(reader, right)}, element by element",
            expected="a value times a gate, or an expert's output times its factor",
            nearest=GATED_MLP,
        )
    return weighed


def _div(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    left, right = args[:2]
    if isinstance(left, torch.Tensor) and not isinstance(right, torch.Tensor) and not kwargs.get("rounding_mode"):
        ids = _expanded(left, right)
        values, names = _numbers(right, ids.shape)
        return _scaled(reader, node, ids, 1 / values, names)
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        left, right = torch.broadcast_tensors(left, right)
        ids_or_none = norms.quotient(reader, node, left, right)
        if ids_or_none is None:
            ids_or_none = combined(reader, node, left, right, torch.div)
        if ids_or_none is None:
            ids_or_none = gates.normalise(reader, node, left, right)
        if ids_or_none is not None:
            return ids_or_none
    raise Refusal("a quotient", expected="a product with a constant", nearest="nn.LayerNorm for a norm written out")


def _scaled(
    reader: Reader, node: fx.Node, ids: torch.Tensor, factor: torch.Tensor, names: tuple[str, ...]
) -> torch.Tensor:
    if bool((factor == 1).all()):
        return ids
    found = reader.find(ids)
    meaning: Meaning | None = None if found is None else found[0]
    if found is not None and isinstance(meaning, Linear):
        return _scaled_linear(reader, meaning, found[1], factor, names)
    if found is not None and isinstance(meaning, Scores):
        heads, queries, keys = meaning.shape
        scale = by_column(found[1] // (queries * keys), factor, heads, 1.0)
        if scale is not None:
            new = Scores(
                node=meaning.node,
                shape=meaning.shape,
                query=meaning.query,
                query_columns=meaning.query_columns,
                key=meaning.key,
                key_columns=meaning.key_columns,
                scale=meaning.scale * scale,
            )
            return reader.add(new) + found[1]
    if found is not None and isinstance(meaning, Pixels):
        return _pixels(reader, node, meaning, found[1], lambda scale, offset, x: (scale * x, offset * x), factor)
    if found is not None and isinstance(meaning, Context):  # LayerScale of attention without an output projection
        linear = unprojected(meaning)
        return _scaled_linear(reader, linear, found[1], factor, names)
    for changed in (
        norms.changed(reader, node, found, factor, names, times=True),
        with_constant(reader, node, ids, factor, torch.mul),
    ):
        if changed is not None:
            return changed
    if _turned(reader, ids) and not _uniform(factor):
        raise rotary()
    if isinstance(meaning, Probs):
        raise Refusal(f"{meaning.what} times a constant", expected="no factor there", nearest=ATTENTION)
    raise Refusal(
        f"{_words(reader, ids)} times a constant",
        expected="a factor of a linear layer's output (LayerScale) or of scores",
        nearest="LayerScale on what attention or the MLP returns, before it is added",
    )


def _turned(reader: Reader, ids: torch.Tensor) -> bool:
    """Whether elements are of q or k, some of them negative, as a rotary embedding joins them."""
    owners = [reader.meanings[o] for o in reader.owners(ids)[0].unique().tolist()]
    linears = [m.linear if isinstance(m, Pointwise) else m for m in owners]
    return len(owners) > 1 and all(isinstance(m, Linear) and isinstance(m.source, Norm) for m in linears)


def _scaled_linear(
    reader: Reader, linear: Linear, local: torch.Tensor, factor: torch.Tensor, names: tuple[str, ...]
) -> torch.Tensor:
    scale = by_column(local % linear.shape[1], factor, linear.shape[1], 1.0)
    if scale is None and isinstance(linear.source, Norm):
        raise rotary()
    if scale is None:
        raise Refusal(
            "a factor of every token after a linear layer",
            expected="a factor of every channel, the same for every token",
            nearest="LayerScale: a parameter [dim] times what attention or the MLP returns",
        )
    parts = scale.view(len(linear.groups), -1)
    groups = [
        Group(g.columns, g.weight.double() * part[:, None], g.bias.double() * part)
        for g, part in zip(linear.groups, parts, strict=True)
    ]
    root, before, constant = linear.affine or (linear, 1.0, 0.0)
    new, number = _like(linear, groups, weight=names), float(factor.flatten()[0].detach())
    new.affine = (root, number * before, number * constant) if _uniform(factor) else None
    return reader.add(new) + local


Change = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def _pixels(
    reader: Reader, node: fx.Node, pixels: Pixels, local: torch.Tensor, change: Change, values: torch.Tensor
) -> torch.Tensor:
    channel = local // (pixels.shape[1] * pixels.shape[2])
    by_channel = by_column(channel, values, pixels.shape[0], float(values.flatten()[0]))  # of unused ones as well
    if by_channel is None:
        raise Refusal(
            "pixels changed by their place", expected="one mean and deviation per channel", nearest="(x - mean) / std"
        )
    scale, offset = change(pixels.scale, pixels.offset, by_channel)
    return reader.add(Pixels(node=node, shape=pixels.shape, scale=scale, offset=offset)) + local


# Softmax.


def _softmax(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    ids, dim = args[0], int(args[1])
    found = reader.find(ids)
    if found is not None and isinstance(found[0], Scores):
        return attention_probs(reader, node, found[0], found[1], dim)
    if found is not None:
        result = gates.gate_softmax(reader, node, found[0], found[1], dim)
        if result is not None:
            return result
    raise Refusal(
        f"softmax of {_words(reader, ids)}",
        expected="softmax of attention scores over keys, or of a gate over experts",
        nearest=ATTENTION,
    )


def _sum(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    dims = args[1] if len(args) > 1 else None
    dims = [dims] if isinstance(dims, int) else dims
    keep = bool(args[2]) if len(args) > 2 else bool(kwargs.get("keepdim", False))
    ids = None if not dims or len(dims) != 1 else mixture.total(reader, node, args[0], int(dims[0]), keep)
    if ids is None and dims:
        ids = norms.summed(reader, node, args[0], dims, keep, mean=False)
    if ids is None:
        if all(is_half(reader.meanings[owner]) for owner in reader.owners(args[0])[0].unique().tolist()):
            raise parallel("branches of a block")
        raise Refusal(
            f"a sum over {_words(reader, args[0])}", expected="a sum over experts", nearest=nearest("scatter")
        )
    return ids


HANDLERS = {
    "add": _add,
    "add_": _add,
    "div": _div,
    "mul": _mul,
    "softmax": _softmax,
    "_softmax": _softmax,
    "rsub": _rsub,
    "sub": _sub,
    "sum": _sum,
}
