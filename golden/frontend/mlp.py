"""Recognises MLPs, dense ones and the experts of a mixture: two linear layers with an activation between, or gated."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from moesaic.golden.frontend.behind_norm import PRE_NORM, first_layer, same_norm
from moesaic.golden.frontend.meaning import (
    Block,
    Gated,
    Group,
    Hidden,
    Linear,
    Meaning,
    Norm,
    Pointwise,
    Stream,
    Weighted,
)
from moesaic.golden.frontend.nearest import MIXTURE_RECIPE
from moesaic.golden.frontend.refusal import Refusal

__all__ = ["activation_facts", "dense", "mixture"]

_DENSE = {"up": "fc1", "gate": "gate_proj", "down": "fc2"}
_EXPERTS = {"up": "experts.htoh4", "gate": "experts.gate_proj", "down": "experts.h4toh"}


@dataclass(frozen=True)
class _Part:
    """One of an MLP's linear layers: "up" (or the value of a gated one), "gate", "down"."""

    weight: torch.Tensor
    bias: torch.Tensor
    weight_names: tuple[str, ...]
    bias_names: tuple[str, ...]


@dataclass(frozen=True)
class _Mlp:
    norm: Norm
    parts: dict[str, _Part]
    kind: str
    gated: bool


def activation_facts(kind: str, *, gated: bool = False) -> dict[str, Any]:
    """Facts of a block about its activation."""
    gelu = {"gelu": "exact", "gelu_tanh": "tanh"}.get(kind)
    return {"hidden": {"activation": kind, "gated": gated}} | ({} if gelu is None else {"gelu": gelu})


def _part(linear: Linear, weight: torch.Tensor, bias: torch.Tensor) -> _Part:
    return _Part(weight, bias, linear.weight_names, linear.bias_names)


def _read(before: Stream, second: Linear, group: Group, what: str) -> _Mlp:
    """The linear layers of an MLP, of which `group` is the second one's matrix."""
    unit = second.source
    parts = {"down": _part(second, group.weight, group.bias)}
    if isinstance(unit, Pointwise):
        norm, weight, bias = first_layer(unit.linear, group.columns, before, what)
        assert unit.kind is not None  # `product` refuses others
        return _Mlp(norm, parts | {"up": _part(unit.linear, weight, bias)}, unit.kind, False)
    assert isinstance(unit, Gated)
    norm, weight, bias = first_layer(unit.value, group.columns, before, what)
    parts["up"] = _part(unit.value, weight, bias)
    gate_norm, weight, bias = first_layer(unit.gate, unit.gate_columns[group.columns], before, what)
    parts["gate"] = _part(unit.gate, weight, bias)
    if not same_norm(norm, gate_norm):
        raise Refusal("a value and a gate of different norms", expected="one norm", nearest=PRE_NORM, node=unit.node)
    return _Mlp(norm, parts, unit.kind, True)


def dense(before: Stream, second: Linear, group: Group) -> Block:
    """A dense MLP."""
    mlp = _read(before, second, group, "an MLP")
    parameters, names = dict[str, torch.Tensor](), dict[str, tuple[str, ...]]()
    for role, part in mlp.parts.items():
        key = f"mlp.{_DENSE[role]}"
        parameters |= {f"{key}.weight": part.weight, f"{key}.bias": part.bias}
        names |= {f"{key}.weight": part.weight_names, f"{key}.bias": part.bias_names}
    return Block("mlp", mlp.norm, parameters, names, activation_facts(mlp.kind, gated=mlp.gated))


def _refuse(found: str, expected: str, at: Meaning) -> Refusal:
    return Refusal(found, expected=expected, nearest=MIXTURE_RECIPE, node=at.node)


def _experts(before: Stream, branch: Meaning, terms: list[tuple[Weighted, np.ndarray]]) -> list[_Mlp]:
    """Each expert of a mixture, in the gate's order."""
    scores = terms[0][0].combine.scores
    gate = scores.logits
    experts: dict[int, _Mlp] = {}
    for weighted, columns in terms:
        mine = weighted.combine.scores
        if (mine.logits, mine.kind, mine.shape) != (gate, scores.kind, scores.shape):
            raise _refuse("experts of several gates", "one gate", branch)
        numbers = np.unique(weighted.expert[columns])
        group = weighted.linear.rows(columns)
        if len(numbers) != 1 or group is None or int(numbers[0]) in experts:
            raise _refuse("an expert's output in parts, or twice", "each expert's whole output once", branch)
        if not isinstance(weighted.linear.source, Hidden):
            raise _refuse(
                f"an expert of {weighted.linear.source.what}",
                "experts of two linear layers with an activation between, or gated ones",
                branch,
            )
        experts[int(numbers[0])] = _read(before, weighted.linear, group, "an expert")
    count, found = gate.shape[1], list(experts.values())
    if sorted(experts) != list(range(count)) or len({e.parts["up"].weight.shape for e in found}) != 1:
        raise _refuse(
            f"{len(experts)} experts for a gate of {count}", "as many experts as the gate has, all of one size", branch
        )
    if len({(e.kind, e.gated) for e in found}) != 1:
        raise _refuse("experts of several activations", "one activation for all experts of a mixture", branch)
    if not all(same_norm(found[0].norm, e.norm) for e in found):
        raise _refuse("experts of different norms", "one norm", branch)
    return [experts[number] for number in range(count)]


def mixture(before: Stream, branch: Meaning, terms: list[tuple[Weighted, np.ndarray]]) -> Block:
    """A mixture of experts: each term's columns are an expert's output."""
    experts = _experts(before, branch, terms)
    first, scores = experts[0], terms[0][0].combine.scores
    gate = scores.logits
    gate_norm, weight, bias = first_layer(gate, np.arange(gate.shape[1]), before, "a gate")
    if not same_norm(gate_norm, first.norm):
        raise _refuse("a gate and experts of different norms", "one norm", branch)
    parameters = {"gate.weight": weight.T, "gate.bias": bias}
    names = {"gate.weight": gate.weight_names, "gate.bias": gate.bias_names}
    for role in first.parts:
        key, each = f"mlp.{_EXPERTS[role]}", [expert.parts[role] for expert in experts]
        parameters |= {
            f"{key}.weight": torch.stack([part.weight for part in each]),
            f"{key}.bias": torch.stack([part.bias for part in each]),
        }
        names |= {
            f"{key}.weight": tuple(dict.fromkeys(name for part in each for name in part.weight_names)),
            f"{key}.bias": tuple(dict.fromkeys(name for part in each for name in part.bias_names)),
        }
    facts = activation_facts(first.kind, gated=first.gated)
    facts |= {"top_k": scores.shape[1], "gate_kind": scores.kind, "experts": len(experts)}
    return Block("mixture", first.norm, parameters, names, facts)
