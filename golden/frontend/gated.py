"""Recognises gated units: a linear layer's values, each times the activation of another linear layer's value."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from moesaic.golden.frontend.activations import GATES
from moesaic.golden.frontend.meaning import Gated, Linear, Pointwise
from moesaic.golden.frontend.pointwise import applied, as_activation
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal

__all__ = ["HANDLERS", "gate"]

GATED_MLP = "a gated MLP: down(value(x) * activation(gate(x))), with GELU, ReLU, SiLU or sigmoid as activation"


def gate(reader: Reader, node: fx.Node, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor | None:
    """A product of values and activated gates; None if they are neither."""
    found = [reader.find(x) for x in (left, right)]
    if found[0] is None or found[1] is None or not all(isinstance(f[0], (Linear, Pointwise)) for f in found if f):
        return None
    linear = [f for f in found if f is not None and isinstance(f[0], Linear)]
    if len(linear) != 1:
        what = "two linear layers (a gate without activation)" if linear else "two activations"
        raise Refusal(f"a product of {what}, element by element", expected="a gated unit", nearest=GATED_MLP)
    value, values = linear[0]
    activated, gates = found[1] if found[0] is linear[0] else found[0]
    assert isinstance(value, Linear) and isinstance(activated, Pointwise)
    if activated.kind not in GATES:
        raise as_activation(activated, GATES)
    width, of = value.shape[1], activated.linear.shape[1]
    column, partner = values % width, gates % of
    table = torch.full((width,), -1)
    table[column.flatten()] = partner.flatten()
    if not torch.equal(values // width, gates // of) or not torch.equal(table[column], partner):
        raise Refusal(
            "values times gates of other tokens or channels", expected="each value times its gate", nearest=GATED_MLP
        )
    assert activated.kind is not None
    unit = Gated(
        node=node,
        shape=value.shape,
        value=value,
        gate=activated.linear,
        gate_columns=table.numpy(),
        kind=activated.kind,
    )
    return reader.add(unit) + values


def _glu(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    """The first half of the channels times the sigmoid of the second."""
    values, gates = args[0].chunk(2, int(kwargs.get("dim", args[1] if len(args) > 1 else -1)))
    result = gate(reader, node, values, applied(reader, node, gates, "glu", torch.sigmoid))
    if result is None:
        raise Refusal("GLU of something else than a linear layer", expected="a gated unit", nearest=GATED_MLP)
    return result


HANDLERS = {"glu": _glu}
