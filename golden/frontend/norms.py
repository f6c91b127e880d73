"""Recognises norms of the residual stream: LayerNorm, and RMSNorm by name or written out."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from moesaic.golden.frontend.behind_norm import same_stream
from moesaic.golden.frontend.columns import by_column
from moesaic.golden.frontend.known import Known
from moesaic.golden.frontend.meaning import (
    Context,
    Embed,
    Energy,
    Hidden,
    Linear,
    Meaning,
    Norm,
    NormedPatches,
    Pointwise,
    Squared,
)
from moesaic.golden.frontend.nearest import nearest
from moesaic.golden.frontend.patches import normed_patches
from moesaic.golden.frontend.pointwise import HANDLERS as POINTWISE
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal
from moesaic.golden.frontend.stream import as_stream, stream_of
from moesaic.golden.layers.sizes import NormSizes

__all__ = ["HANDLERS", "changed", "product", "quotient", "summed"]

NORM = "nn.LayerNorm(dim) or nn.RMSNorm(dim)"
BEFORE = (
    "a norm before attention and before the MLP, and one of the embedded tokens (none of q, k or v, none inside "
    "an MLP, none of what attention or an MLP returns)"
)


def _of(reader: Reader, ids: torch.Tensor) -> str:
    """What a norm is of that is not of the residual stream, in words."""
    found = reader.find(ids)
    meaning = None if found is None else found[0]
    if isinstance(meaning, Linear) and isinstance(meaning.source, (Context, Hidden)):
        half = "attention" if isinstance(meaning.source, Context) else "an MLP"
        return f"what {half} returns (post-norm)"
    if isinstance(meaning, Linear):
        return f"{meaning.what} (q, k or v, or the inside of an MLP)"
    if isinstance(meaning, Hidden):
        return f"{meaning.what}, inside an MLP"
    if isinstance(meaning, Norm) and isinstance(meaning.stream, Embed):
        return "the embedded tokens behind two norms of their own"
    return "several tensors" if meaning is None else meaning.what


def _norm(reader: Reader, node: fx.Node, kind: str, given: Mapping[str, Any], eps: float) -> torch.Tensor:
    """A norm over the channels of the residual stream."""
    x, shape, weight, bias = given["input"], given["normalized_shape"], given.get("weight"), given.get("bias")
    name = {"layernorm": "LayerNorm", "rmsnorm": "RMSNorm"}[kind]
    if list(shape) == [x.shape[-1]]:
        values = [None if value is None else value.value for value in (weight, bias)]
        patches = normed_patches(reader, node, x, NormSizes(kind=kind, eps=eps), *values)
        if patches is not None:
            return patches
    stream, local = as_stream(reader, x, node, found=f"{name} of {_of(reader, x)}", nearest=BEFORE)
    dim = stream.shape[1]
    columns = local % dim
    if list(shape) != [dim] or not torch.equal(
        columns, columns.reshape(-1, dim)[:1].expand(x.numel() // dim, -1).view(x.shape)
    ):
        raise Refusal(f"{name} over {list(shape)}", expected=f"a norm over the {dim} channels of a token", nearest=NORM)
    order = columns.reshape(-1, dim)[0]
    gain, offset = torch.ones(dim, dtype=torch.float64), torch.zeros(dim, dtype=torch.float64)
    if weight is not None:
        gain[order] = weight.value.double()
    if bias is not None:
        offset[order] = bias.value.double()
    names = tuple(value.names if isinstance(value, Known) else () for value in (weight, bias))
    norm = Norm(
        node=node,
        shape=stream.shape,
        stream=stream,
        kind=kind,
        weight=gain,
        bias=offset,
        eps=eps,
        names=(names[0], names[1]),
    )
    return reader.add(norm) + local


def _layer_norm(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    given = dict(zip(("input", "normalized_shape", "weight", "bias", "eps"), args, strict=False)) | dict(kwargs)
    return _norm(reader, node, "layernorm", given, float(given.get("eps", 1e-5)))


def _rms_norm(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    given = dict(zip(("input", "normalized_shape", "weight", "eps"), args, strict=False)) | dict(kwargs)
    eps = given.get("eps")
    return _norm(reader, node, "rmsnorm", given, torch.finfo(torch.float32).eps if eps is None else float(eps))


def _fused_rms_norm(
    reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[torch.Tensor]:
    """RMSNorm, and what it divided by."""
    ids = _rms_norm(reader, node, args, kwargs)
    found = reader.find(ids)
    if found is not None and isinstance(found[0], NormedPatches):
        return [ids]
    assert found is not None and isinstance(found[0], Norm)
    norm, (count, dim) = found[0], found[0].shape
    energy = Energy(node=node, shape=(count, 1), stream=norm.stream, factor=1 / dim, constant=norm.eps, exponent=-0.5)
    return [ids, reader.add(energy) + found[1][..., :1] // dim]


# RMSNorm written out: x * rsqrt(mean(x ** 2) + eps), step by step.


def _squared(reader: Reader, node: fx.Node, ids: torch.Tensor) -> torch.Tensor | None:
    found = stream_of(reader, ids, node)
    if found is None:
        return None
    return reader.add(Squared(node=node, shape=found[0].shape, stream=found[0])) + found[1]


def summed(
    reader: Reader, node: fx.Node, ids: torch.Tensor, dims: Sequence[int], keep: bool, *, mean: bool
) -> torch.Tensor | None:
    """A sum or mean of a token's squares; None if it is not one."""
    found = reader.find(ids)
    if found is None or not isinstance(found[0], Squared) or [d % ids.ndim for d in dims] != [ids.ndim - 1]:
        return None
    count, dim = found[0].shape
    token, column = found[1] // dim, found[1] % dim
    if not bool((token == token[..., :1]).all()) or not bool((column.sort(-1).values == torch.arange(dim)).all()):
        return None
    energy = Energy(
        node=node,
        shape=(count, 1),
        stream=found[0].stream,
        factor=1 / dim if mean else 1.0,
        constant=0.0,
        exponent=1.0,
    )
    result = reader.add(energy) + token[..., :1]
    return result if keep else result[..., 0]


def _mean(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    dims = args[1] if len(args) > 1 else kwargs.get("dim")
    keep = bool(args[2] if len(args) > 2 else kwargs.get("keepdim", False))
    ids = None if not isinstance(dims, (list, tuple)) else summed(reader, node, args[0], dims, keep, mean=True)
    if ids is None:
        raise Refusal("'mean'", expected="the mean of a token's squares, in RMSNorm", nearest=nearest("mean"))
    return ids


def _raised(reader: Reader, node: fx.Node, ids: Any, exponent: float) -> torch.Tensor | None:
    """A power of a token's sum of squares, or the stream's squares; None if it is neither."""
    found = reader.find(ids) if isinstance(ids, torch.Tensor) else None
    if found is None:
        return _squared(reader, node, ids) if isinstance(ids, torch.Tensor) and exponent == 2 else None
    if not isinstance(found[0], Energy):
        return _squared(reader, node, ids) if exponent == 2 else None
    energy = found[0]
    return reader.add(_like(node, energy, exponent=energy.exponent * exponent)) + found[1]


def _like(node: fx.Node, energy: Energy, **changes: float) -> Energy:
    fields = {"factor": energy.factor, "constant": energy.constant, "exponent": energy.exponent} | changes
    return Energy(node=node, shape=energy.shape, stream=energy.stream, **fields)


def _power(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    ids = _raised(reader, node, args[0], float(args[1])) if isinstance(args[1], (int, float)) else None
    return POINTWISE["pow"](reader, node, args, kwargs) if ids is None else ids


def _fixed_power(name: str, exponent: float) -> Any:
    def handler(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
        ids = _raised(reader, node, args[0], exponent)
        return POINTWISE[name](reader, node, args, kwargs) if ids is None else ids

    return handler


def _length(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    given = dict(zip(("input", "ord", "dim", "keepdim"), args, strict=False)) | dict(kwargs)
    squares = _squared(reader, node, given["input"]) if given.get("ord", 2) == 2 and given.get("dim") else None
    ids = None
    if squares is not None:
        ids = summed(reader, node, squares, given["dim"], bool(given.get("keepdim")), mean=False)
    if ids is None:
        raise Refusal("a length", expected="the root of a token's mean square, in RMSNorm", nearest=NORM)
    raised = _raised(reader, node, ids, 0.5)
    assert raised is not None
    return raised


def product(reader: Reader, node: fx.Node, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor | None:
    """The stream times itself, or over its root mean square; None if it is neither."""
    found = [reader.find(x) for x in (left, right)]
    for x, by in ((left, found[1]), (right, found[0])):
        if by is not None and isinstance(by[0], Energy):
            return _normed(reader, node, x, by[0], by[1])
    if torch.equal(left, right) and not (found[0] is not None and isinstance(found[0][0], Pointwise)):
        return _squared(reader, node, left)
    return None


def quotient(reader: Reader, node: fx.Node, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor | None:
    """The stream over its root mean square; None if it is not that."""
    by = reader.find(right)
    if by is None or not isinstance(by[0], Energy):
        return None
    return _normed(reader, node, left, _like(node, by[0], exponent=-by[0].exponent), by[1])


def _normed(reader: Reader, node: fx.Node, ids: torch.Tensor, energy: Energy, token: torch.Tensor) -> torch.Tensor:
    found = stream_of(reader, ids, node)
    if found is None or not same_stream(found[0], energy.stream) or energy.exponent != -0.5:
        raise Refusal(
            f"{_of(reader, ids)} times a power of a token's mean square",
            expected="x * rsqrt(mean(x ** 2) + eps) of the residual stream x, as in RMSNorm",
            nearest=NORM,
        )
    (stream, local), dim = found, found[0].shape[1]
    if not torch.equal(local // dim, token):
        raise Refusal("tokens over other tokens' mean squares", expected="its own", nearest=NORM)
    if not energy.factor > 0:
        raise Refusal("a mean square times a number that is not positive", expected="a mean", nearest=NORM)
    # (f S + c) ** -0.5 = (f d) ** -0.5 * (S / d + c / (f d)) ** -0.5 with the sum of squares S
    whole = energy.factor * dim
    norm = Norm(
        node=node,
        shape=stream.shape,
        stream=stream,
        kind="rmsnorm",
        weight=torch.full((dim,), whole**-0.5, dtype=torch.float64),
        bias=torch.zeros(dim, dtype=torch.float64),
        eps=energy.constant / whole,
    )
    return reader.add(norm) + local


def changed(
    reader: Reader,
    node: fx.Node,
    found: tuple[Meaning, torch.Tensor] | None,
    values: torch.Tensor,
    names: tuple[str, ...],
    *,
    times: bool,
) -> torch.Tensor | None:
    """A norm, or a token's mean square, times a constant or plus one; None if it is neither, or differs by token."""
    if found is None or not isinstance(found[0], (Energy, Norm)):
        return None
    meaning, local = found
    if isinstance(meaning, Energy):
        number = float(values.flatten()[0])
        if meaning.exponent != 1 and times and number > 0:  # (c x) ** e = c ** e x ** e
            number = math.pow(number, 1 / meaning.exponent)
        elif meaning.exponent != 1:
            return None
        if not bool((values == values.flatten()[0]).all()):
            return None
        if times:
            new = _like(node, meaning, factor=meaning.factor * number, constant=meaning.constant * number)
        else:
            new = _like(node, meaning, constant=meaning.constant + number)
        return reader.add(new) + local
    assert isinstance(meaning, Norm)
    dim = meaning.shape[1]
    table = by_column(local % dim, values, dim, 1.0 if times else 0.0)
    if table is None:
        return None
    gains, offsets = meaning.names
    norm = Norm(
        node=meaning.node,
        shape=meaning.shape,
        stream=meaning.stream,
        kind=meaning.kind,
        weight=meaning.weight * table if times else meaning.weight,
        bias=meaning.bias * table if times else meaning.bias + table,
        eps=meaning.eps,
        names=((*gains, *names), offsets) if times else (gains, (*offsets, *names)),
    )
    return reader.add(norm) + local


HANDLERS = {
    "_fused_rms_norm": _fused_rms_norm,
    "layer_norm": _layer_norm,
    "linalg_vector_norm": _length,
    "mean": _mean,
    "pow": _power,
    "reciprocal": _fixed_power("reciprocal", -1.0),
    "rms_norm": _rms_norm,
    "rsqrt": _fixed_power("rsqrt", -0.5),
    "sqrt": _fixed_power("sqrt", 0.5),
    "square": _fixed_power("square", 2.0),
}
