"""Matrix products of two tensors: linear layers written out, the two halves of attention, sums over experts."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from moesaic.golden.frontend.attention import ATTENTION, attend, scores
from moesaic.golden.frontend.known import Known
from moesaic.golden.frontend.layers import product
from moesaic.golden.frontend.mixture import combine_experts
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal

__all__ = ["HANDLERS"]


def _batched(reader: Reader, node: fx.Node, left: Any, right: Any, bias: Known | None = None) -> torch.Tensor:
    """Elements [batch, rows, columns] of left @ right, either of which may be constant."""
    if isinstance(left, Known):  # (A B)^T = B^T A^T
        turned = Known(left.value.transpose(1, 2), left.names)
        return _batched(reader, node, right.transpose(1, 2), turned).transpose(1, 2)
    if isinstance(right, Known):
        weight, names = right.value, ((), ()) if bias is None else ((), bias.names)
        batches = [(rows, matrix.T) for rows, matrix in zip(left, weight, strict=True)]
        if len(weight) > 1 and bool((weight == weight[:1]).all()):  # one matrix, repeated for every batch
            rows = left.reshape(-1, left.shape[-1])
            with contextlib.suppress(Refusal):  # experts may be alike too, all of them zero for one
                joined = product(reader, node, [(rows, weight[0].T)], None, (right.names, names[1]))
                return joined.reshape(*left.shape[:2], -1)
        return product(reader, node, batches, None if bias is None else bias.value, (right.names, names[1]))
    ids: torch.Tensor | None = scores(reader, node, left, right.transpose(1, 2), 1.0)
    if ids is None:
        ids = attend(reader, node, left, right)
    if ids is None:
        swapped = attend(reader, node, right.transpose(1, 2), left.transpose(1, 2))
        ids = None if swapped is None else swapped.transpose(1, 2)
    if ids is None:
        ids = combine_experts(reader, node, left, right)
    if ids is None:
        one, other = ("several tensors" if f is None else f[0].what for f in (reader.find(left), reader.find(right)))
        raise Refusal(f"a product of {one} and {other}", expected="q k^T, or probabilities times v", nearest=ATTENTION)
    return ids


def _bmm(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    return _batched(reader, node, args[0], args[1])


def _mm(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    left, right = (Known(x.value[None], x.names) if isinstance(x, Known) else x[None] for x in args[:2])
    return _batched(reader, node, left, right)[0]


def _addmm(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    bias, left, right = args[:3]
    if kwargs or not isinstance(bias, Known) or not isinstance(right, Known) or isinstance(left, Known):
        raise Refusal("a scaled sum of products", expected="a linear layer", nearest="nn.Linear(dim, ...)")
    return _batched(reader, node, left[None], Known(right.value[None], right.names), bias)[0]


def _baddbmm(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    if not isinstance(args[0], Known) or bool(args[0].value.any()) or kwargs.get("alpha", 1) != 1:
        raise Refusal("attention with a mask or a position bias", expected="no mask", nearest=ATTENTION)
    return _batched(reader, node, args[1], args[2])


def _matmul(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    left, right = args[:2]
    shape = torch.matmul(
        *(torch.empty((x.value if isinstance(x, Known) else x).shape, device="meta") for x in (left, right))
    ).shape
    if isinstance(left, torch.Tensor) and isinstance(right, Known) and right.value.ndim == 2:
        rows = left.reshape(1, -1, left.shape[-1])
        return _batched(reader, node, rows, Known(right.value[None], right.names)).reshape(shape)
    batch = shape[:-2]

    def three(x: Any) -> Any:
        tensor = x.value if isinstance(x, Known) else x
        tensor = tensor.expand(*batch, *tensor.shape[-2:]).reshape(-1, *tensor.shape[-2:])
        return Known(tensor, x.names) if isinstance(x, Known) else tensor

    return _batched(reader, node, three(left), three(right)).reshape(shape)


def _einsum(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    """Two operands, as one batched product: shared letters that stay are the batch, those that go are summed over."""
    equation, operands = str(args[0]).replace(" ", ""), args[1]
    sides, _, out = equation.partition("->")
    letters = sides.split(",")
    if len(operands) != 2 or "." in equation or not out or any(len(set(word)) != len(word) for word in (*letters, out)):
        raise Refusal(f"einsum '{equation}'", expected="einsum of two tensors, with '->'", nearest=ATTENTION)
    a, b = letters
    if any(letter not in out and not (letter in a and letter in b) for letter in a + b):
        raise Refusal(
            f"einsum '{equation}', which sums a letter of one tensor", expected="a matrix product", nearest=ATTENTION
        )
    batch, inner = [x for x in a if x in b and x in out], [x for x in a if x in b and x not in out]
    left, right = [x for x in a if x not in b], [x for x in b if x not in a]
    sizes: dict[str, int] = {}

    def arranged(operand: Any, word: str, order: Sequence[Sequence[str]]) -> Any:
        tensor = operand.value if isinstance(operand, Known) else operand
        sizes.update(zip(word, tensor.shape, strict=True))
        tensor = tensor.permute([word.index(x) for group in order for x in group])
        tensor = tensor.reshape([math.prod(sizes[x] for x in group) for group in order])
        return Known(tensor, operand.names) if isinstance(operand, Known) else tensor

    one, other = arranged(operands[0], a, (batch, left, inner)), arranged(operands[1], b, (batch, inner, right))
    have = [*batch, *left, *right]
    return _batched(reader, node, one, other).reshape([sizes[x] for x in have]).permute([have.index(x) for x in out])


HANDLERS = {"einsum": _einsum, "addmm": _addmm, "baddbmm": _baddbmm, "bmm": _bmm, "matmul": _matmul, "mm": _mm}
