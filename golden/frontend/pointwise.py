"""Activations written out: a function of a linear layer's output, value by value, and whether it is GELU."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx

from moesaic.golden.frontend.meaning import Gelu, Linear, Meaning, Pointwise
from moesaic.golden.frontend.nearest import nearest
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal

__all__ = ["GELU_TOLERANCE", "HANDLERS", "as_activation", "combined", "with_constant"]

Function = Callable[[torch.Tensor], torch.Tensor]

GELU_TOLERANCE = 1e-6  # absolute, of every value from -16 to 16, which is what the accelerator's GELU takes
_GRID = torch.linspace(-16, 16, 4097, dtype=torch.float64)
_GELU = {"exact": F.gelu(_GRID), "tanh": F.gelu(_GRID, approximate="tanh")}
_OTHERS = {
    "quick GELU, x * sigmoid(1.702 x), which is up to 0.02 away from GELU": _GRID * torch.sigmoid(1.702 * _GRID),
    "SiLU, x * sigmoid(x)": F.silu(_GRID),
    "tanh": torch.tanh(_GRID),
    "sigmoid": torch.sigmoid(_GRID),
    "the square": _GRID.square(),
}
_UNARY: Mapping[str, Function] = {
    "erf": torch.erf,
    "exp": torch.exp,
    "neg": torch.neg,
    "reciprocal": torch.reciprocal,
    "sigmoid": torch.sigmoid,
    "square": torch.square,
    "tanh": torch.tanh,
}


def _function(meaning: Meaning) -> tuple[Linear, Function] | None:
    """A linear layer and the function of its values that a meaning is."""
    if isinstance(meaning, Pointwise):
        return meaning.linear, meaning.function
    if isinstance(meaning, Linear) and meaning.affine is not None:
        root, factor, constant = meaning.affine
        return root, lambda x: factor * x + constant
    if isinstance(meaning, Linear):
        return meaning, lambda x: x
    return None


def _found(reader: Reader, node: fx.Node, linear: Linear, function: Function) -> int:
    """GELU if the function is one, to `GELU_TOLERANCE`; else the function, for what comes."""
    values = function(_GRID)
    for kind, wanted in _GELU.items():
        if bool(((values - wanted).abs() <= GELU_TOLERANCE).all()):
            return reader.add(Gelu(node=node, shape=linear.shape, linear=linear, kind=kind))
    return reader.add(Pointwise(node=node, shape=linear.shape, linear=linear, function=function))


def combined(
    reader: Reader, node: fx.Node, left: torch.Tensor, right: torch.Tensor, operation: Callable[..., torch.Tensor]
) -> torch.Tensor | None:
    """Sum, product and so on of two functions of the same values; None if they are not."""
    found = [reader.find(x) for x in (left, right)]
    if found[0] is None or found[1] is None or not torch.equal(found[0][1], found[1][1]):
        return None
    meanings = [f[0] for f in found if f is not None]
    functions = [_function(meaning) for meaning in meanings]
    if functions[0] is None or functions[1] is None or functions[0][0] is not functions[1][0]:
        return None
    if operation in (torch.add, torch.sub) and all(isinstance(m, Linear) for m in meanings):  # none: it is linear
        return None
    one, other = functions[0][1], functions[1][1]
    return _found(reader, node, functions[0][0], lambda x: operation(one(x), other(x))) + found[0][1]


def with_constant(
    reader: Reader, node: fx.Node, ids: torch.Tensor, values: torch.Tensor, operation: Callable[..., torch.Tensor]
) -> torch.Tensor | None:
    """Sum or product of an activation and a number; None if it is no activation, or not one number."""
    found = reader.find(ids)
    if found is None or not isinstance(found[0], Pointwise) or not bool((values == values.flatten()[0]).all()):
        return None
    function, number = found[0].function, values.flatten()[0]
    return _found(reader, node, found[0].linear, lambda x: operation(function(x), number)) + found[1]


def as_activation(meaning: Pointwise) -> Refusal:
    """Why an activation is refused that is not GELU."""
    values = meaning.function(_GRID)
    name = next(
        (n for n, other in _OTHERS.items() if bool(((values - other).abs() <= GELU_TOLERANCE).all())),
        "an activation written out that is not GELU",
    )
    return Refusal(name, expected="GELU", nearest=nearest("relu"), node=meaning.node)


def _unary(name: str) -> Callable[[Reader, fx.Node, Sequence[Any], Mapping[str, Any]], torch.Tensor]:
    function = _UNARY[name]

    def handler(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
        return _applied(reader, node, args[0], name, function)

    return handler


def _power(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    ids, power = args[:2]
    if not isinstance(ids, torch.Tensor) or not isinstance(power, (int, float)) or not math.isfinite(power):
        raise Refusal("a power", expected="a layer of a pre-norm vision transformer", nearest=nearest("pow"))
    return _applied(reader, node, ids, "pow", lambda x: x**power)


def _applied(reader: Reader, node: fx.Node, ids: torch.Tensor, name: str, function: Function) -> torch.Tensor:
    found = reader.find(ids)
    inner = None if found is None else _function(found[0])
    if found is None or inner is None:
        raise Refusal(f"'{name}'", expected="a layer of a pre-norm vision transformer", nearest=nearest(name))
    linear, before = inner
    return _found(reader, node, linear, lambda x: function(before(x))) + found[1]


HANDLERS = {"pow": _power} | {name: _unary(name) for name in _UNARY}
