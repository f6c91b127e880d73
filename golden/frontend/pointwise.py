"""Activations, by name or written out: a function of a linear layer's output, value by value, and which one it is."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import fx

from moesaic.golden.frontend.activations import GATES, PLAIN, kind_of, title_of
from moesaic.golden.frontend.known import Known
from moesaic.golden.frontend.meaning import Linear, Meaning, Pointwise
from moesaic.golden.frontend.nearest import nearest
from moesaic.golden.frontend.nodes import function_of, name_of
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal
from moesaic.golden.layers.activations import TITLES, Function

__all__ = ["HANDLERS", "applied", "as_activation", "combined", "with_constant"]

_UNARY = (
    "abs",
    "celu",
    "clamp",
    "clamp_max",
    "clamp_min",
    "elu",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log",
    "log1p",
    "log_sigmoid",
    "mish",
    "neg",
    "reciprocal",
    "relu",
    "relu6",
    "rsqrt",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "sqrt",
    "square",
    "tanh",
    "threshold",
)
_CHANGING = ("elu_", "hardswish_", "leaky_relu_", "relu_", "sigmoid_", "silu_", "tanh_", "clamp_", "clamp_min_")


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
    return reader.add(
        Pointwise(node=node, shape=linear.shape, linear=linear, function=function, kind=kind_of(function))
    )


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


def as_activation(meaning: Pointwise, accepted: Sequence[str] = PLAIN) -> Refusal:
    """Why an activation is refused that is none of the accepted ones."""
    *most, last = (TITLES[kind].partition(",")[0] for kind in accepted)
    between = "a gate's activation" if accepted is GATES else "an activation between two linear layers"
    return Refusal(
        title_of(meaning.function),
        expected=between,
        nearest=f"{', '.join(most)} or {last}",
        node=meaning.node,
    )


def _unary(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    name, function = name_of(node), function_of(node)
    if not isinstance(args[0], torch.Tensor) or any(isinstance(x, torch.Tensor) for x in (*args[1:], *kwargs.values())):
        raise Refusal(f"'{name}'", expected="a layer of a pre-norm vision transformer", nearest=nearest(name))
    rest = [x.value if isinstance(x, Known) else x for x in args[1:]]
    more = {key: x.value if isinstance(x, Known) else x for key, x in kwargs.items()}
    return applied(reader, node, args[0], name, lambda x: function(x.clone(), *rest, **more))


def _larger(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    """The larger of a value and a number, which is ReLU for zero."""
    for ids, other in (args[:2], args[1::-1]):
        number = torch.as_tensor(other.value, dtype=torch.float64) if isinstance(other, Known) else None
        if isinstance(ids, torch.Tensor) and number is not None and bool((number == number.flatten()[0]).all()):
            least = number.flatten()[0]
            return applied(
                reader,
                node,
                ids.expand(torch.broadcast_shapes(ids.shape, number.shape)),
                "maximum",
                partial(torch.maximum, least),
            )
    raise Refusal("the larger of two tensors", expected="an activation", nearest=nearest("relu"))


def applied(reader: Reader, node: fx.Node, ids: torch.Tensor, name: str, function: Function) -> torch.Tensor:
    """A function of every value of a linear layer, or of what already is one."""
    found = reader.find(ids)
    inner = None if found is None else _function(found[0])
    if found is None or inner is None:
        what = "several tensors" if found is None else found[0].what
        raise Refusal(f"'{name}' of {what}", expected="an activation of a linear layer", nearest=nearest(name))
    linear, before = inner
    return _found(reader, node, linear, lambda x: function(before(x))) + found[1]


def power(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    """A power of every value."""
    ids, exponent = args[:2]
    if not isinstance(ids, torch.Tensor) or not isinstance(exponent, (int, float)) or not math.isfinite(exponent):
        raise Refusal("a power", expected="a layer of a pre-norm vision transformer", nearest=nearest("pow"))
    return applied(reader, node, ids, "pow", lambda x: x**exponent)


HANDLERS = {"maximum": _larger, "pow": power} | dict.fromkeys((*_UNARY, *_CHANGING), _unary)
