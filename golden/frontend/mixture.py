"""Recognises mixtures of experts written with fixed shapes: all experts on all tokens, times a table of factors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from moesaic.golden.frontend.gates import as_scores, refusal, rows_of, whole
from moesaic.golden.frontend.known import Known
from moesaic.golden.frontend.meaning import (
    Chosen,
    Combine,
    GateProbs,
    Linear,
    Mixture,
    Ranked,
    RankedIndex,
    RankedTotal,
    ScoredChoice,
    Scores,
    Weighted,
)
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal

__all__ = ["HANDLERS", "combine_experts", "merge", "total", "weigh"]

# Tables of factors: scattered, or by comparing the chosen experts' numbers.


def _scatter(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    base, dim, index, source = args[:4]
    found = reader.find(index) if isinstance(index, torch.Tensor) else None
    if (
        not isinstance(base, Known)
        or bool(base.value.any())
        or found is None
        or not isinstance(found[0], RankedIndex)
        or kwargs
    ):
        raise refusal("a scatter", "factors scattered into zeros [tokens, experts]")
    ranked, experts = found[0], base.value.shape[dim]
    if experts != ranked.logits.shape[1]:
        raise refusal(
            f"a table of {experts} experts for a gate of {ranked.logits.shape[1]}", "a column for every expert"
        )
    if not isinstance(source, torch.Tensor):
        value = source.value if isinstance(source, Known) else source
        if not bool((torch.as_tensor(value) == 1).all()) or index.shape[dim] != 1:
            raise refusal("a scatter of constants", "factors scattered into zeros [tokens, experts]")
        token, rank = (x.movedim(dim, -1) for x in (found[1] // ranked.shape[1], found[1] % ranked.shape[1]))
        place = (token * ranked.shape[1] + rank) * experts + torch.arange(experts)
        chosen = Chosen(node=node, shape=(*ranked.shape, experts), logits=ranked.logits)
        return reader.add(chosen) + place.movedim(-1, dim)
    scores = as_scores(reader, node, source)
    where, what = (
        rows_of(ranked, found[1], dim),
        None if scores is None else scores[2].movedim(dim, -1).reshape(-1, index.shape[dim]),
    )
    if (
        scores is None
        or where is None
        or what is None
        or scores[0].logits is not ranked.logits
        or not torch.equal(where[1], what)
    ):
        raise refusal("factors and experts in different orders", "the gate's factors at the gate's experts")
    if (
        not whole(where[1], scores[0].shape[1])
        or index.movedim(dim, -1).shape[:-1] != base.value.movedim(dim, -1).shape[:-1]
    ):
        raise refusal("a part of the factors", "all k factors of every token")
    combine = Combine(node=node, shape=(scores[0].shape[0], experts), scores=scores[0])
    place = where[0][:, None] * experts + torch.arange(experts)
    moved = base.value.movedim(dim, -1).shape
    return reader.add(combine) + place.view(moved).movedim(-1, dim)


def _equal(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    index, number = (args[0], args[1]) if isinstance(args[0], torch.Tensor) else (args[1], args[0])
    found = None if isinstance(number, torch.Tensor) else reader.find(index)
    if found is None or not isinstance(found[0], RankedIndex):
        raise refusal("a comparison", "the chosen experts' numbers compared with an expert's")
    experts = torch.as_tensor(number.value if isinstance(number, Known) else number)
    place, experts = torch.broadcast_tensors(found[1], experts)
    count = found[0].logits.shape[1]
    if bool(((experts < 0) | (experts >= count)).any()):
        raise refusal(f"a comparison with an expert that the gate has not (of {count})", "numbers of experts")
    return (
        reader.add(Chosen(node=node, shape=(*found[0].shape, count), logits=found[0].logits))
        + place * count
        + experts.long()
    )


def _one_hot(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    classes = kwargs.get("num_classes", args[1] if len(args) > 1 else -1)
    return _equal(reader, node, (args[0][..., None], Known(torch.arange(int(classes)))), {})


def _scored(reader: Reader, node: fx.Node, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor | None:
    """Factors times whether this is the expert."""
    chosen = reader.find(right)
    if chosen is None or not isinstance(chosen[0], Chosen):
        return None
    scores = as_scores(reader, node, left)
    if scores is None:
        return None
    _, ranks, experts = chosen[0].shape
    token, rank, expert = chosen[1] // (ranks * experts), chosen[1] // experts % ranks, chosen[1] % experts
    if (
        scores[0].logits is not chosen[0].logits
        or not torch.equal(token, scores[1])
        or not torch.equal(rank, scores[2])
    ):
        raise refusal("factors and experts in different orders", "the gate's factors at the gate's experts")
    k = scores[0].shape[1]
    meaning = ScoredChoice(node=node, shape=(scores[0].shape[0], k, experts), scores=scores[0])
    return reader.add(meaning) + (token * k + rank) * experts + expert


def _where(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    zero = args[2].value if isinstance(args[2], Known) else args[2]
    tokens = [isinstance(arg, torch.Tensor) for arg in args[:3]]
    if tokens == [True, True, False] and not bool(torch.as_tensor(zero).any()):
        chosen, scores = torch.broadcast_tensors(args[0], args[1])
        scored = _scored(reader, node, scores, chosen)
        if scored is not None:
            return scored
    scores = reader.find(args[1]) if isinstance(args[1], torch.Tensor) else None
    if scores is not None and isinstance(scores[0], Scores):
        raise Refusal("attention with a mask", expected="no mask", nearest="attention of every token to every token")
    raise refusal("a choice by a condition", "factors where the expert is chosen, zero elsewhere")


# Experts: outputs times factors, and their sum.


def weigh(reader: Reader, node: fx.Node, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor | None:
    """A product of factors and expert outputs, or of factors and choices; None if it is neither."""
    for one, other in ((left, right), (right, left)):
        ids = _scored(reader, node, one, other)
        if ids is None:
            ids = _weighted(reader, node, one, other)
        if ids is not None:
            return ids
    return None


def _weighted(reader: Reader, node: fx.Node, outputs: torch.Tensor, factors: torch.Tensor) -> torch.Tensor | None:
    out, by = reader.find(outputs), reader.find(factors)
    if out is None or by is None or not isinstance(out[0], Linear) or not isinstance(by[0], Combine):
        return None
    linear, combine = out[0], by[0]
    token, column = out[1] // linear.shape[1], out[1] % linear.shape[1]
    expert = torch.full((linear.shape[1],), -1)
    chosen = by[1] % combine.shape[1]
    expert[column.flatten()] = chosen.flatten()
    if not torch.equal(token, by[1] // combine.shape[1]) or not torch.equal(expert[column], chosen):
        raise refusal(
            "expert outputs times factors of other tokens or experts", "each expert's output times its factor"
        )
    return (
        reader.add(Weighted(node=node, shape=linear.shape, linear=linear, combine=combine, expert=expert.numpy()))
        + out[1]
    )


def total(reader: Reader, node: fx.Node, ids: torch.Tensor, dim: int, keep: bool) -> torch.Tensor | None:
    """A sum over ranks, or over experts; None if it is neither."""
    found = reader.find(ids)
    if found is None:
        return None
    meaning, local = found
    rows = local.movedim(dim, -1)
    result = None
    if isinstance(meaning, ScoredChoice):
        _, k, experts = meaning.shape
        token, rank, expert = rows // (k * experts), rows // experts % k, rows % experts
        if rows.shape[-1] == k and bool((rank == torch.arange(k)).all()) and bool((expert == expert[..., :1]).all()):
            combine = Combine(node=node, shape=(meaning.shape[0], experts), scores=meaning.scores)
            result = reader.add(combine) + (token * experts + expert)[..., 0]
    elif isinstance(meaning, Ranked) and isinstance(meaning.of, GateProbs):
        k = rows.shape[-1]
        if bool((rows % meaning.shape[1] == torch.arange(k)).all()):
            sums = RankedTotal(node=node, shape=(meaning.shape[0], 1), ranked=meaning, k=k)
            result = reader.add(sums) + rows[..., 0] // meaning.shape[1]
    elif isinstance(meaning, Weighted):
        result = _mixture(reader, node, meaning, rows)
    return None if result is None else result.unsqueeze(dim) if keep else result


def _mixture(reader: Reader, node: fx.Node, weighted: Weighted, rows: torch.Tensor) -> torch.Tensor | None:
    """The sum along the last axis of weighted outputs [..., experts]."""
    token, column = rows // weighted.shape[1], rows % weighted.shape[1]
    flat = column.reshape(-1, column.shape[-1])
    names, place = torch.unique(flat[:, 0], return_inverse=True)
    outputs = torch.empty(len(names), flat.shape[1], dtype=torch.int64)
    outputs[place] = flat
    if not bool((token == token[..., :1]).all()) or not torch.equal(outputs[place], flat):
        return None
    terms = [(weighted, outputs[:, i].numpy()) for i in range(outputs.shape[1])]
    mixture = Mixture(node=node, shape=(weighted.shape[0], len(outputs)), terms=terms)
    return reader.add(mixture) + token[..., 0] * len(outputs) + place.view(token.shape[:-1])


def merge(reader: Reader, node: fx.Node, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """The sum of two sums over experts."""
    terms: list[tuple[Weighted, np.ndarray]] = []
    place: torch.Tensor | None = None
    dim = left.shape[-1]
    for ids in (left, right):
        found = reader.find(ids)
        assert found is not None and isinstance(found[0], (Weighted, Mixture))
        meaning, width = found[0], found[0].shape[1]
        token, column = (x.reshape(-1, dim) for x in (found[1] // width, found[1] % width))
        if not bool((token == token[:, :1]).all()) or not bool((column == column[:1]).all()):
            raise refusal("a sum of experts in different orders", "the experts' outputs, channel by channel")
        pick = column[0].numpy()
        terms += [(meaning, pick)] if isinstance(meaning, Weighted) else [(w, c[pick]) for w, c in meaning.terms]
        mine = token * dim + torch.arange(dim)
        if place is not None and not torch.equal(place, mine):
            raise refusal("a sum of experts of different tokens", "the experts' outputs, token by token")
        place = mine
    assert place is not None
    rows = terms[0][0].shape[0]
    return reader.add(Mixture(node=node, shape=(rows, dim), terms=terms)) + place.view(left.shape)


def combine_experts(reader: Reader, node: fx.Node, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor | None:
    """A batched product of factors [1, experts] and expert outputs [experts, dim], or of factors and choices."""
    for one, other, turned in ((left, right, False), (right.transpose(1, 2), left.transpose(1, 2), True)):
        if one.shape[1] != 1:
            continue
        factors, outputs = torch.broadcast_tensors(one.transpose(1, 2), other)  # [batch, experts, dim]
        ids = _weighted(reader, node, outputs, factors)
        if ids is None:
            ids = _scored(reader, node, factors, outputs)
        summed = None if ids is None else total(reader, node, ids, 1, True)
        if summed is not None:
            return summed.transpose(1, 2) if turned else summed
    return None


HANDLERS = {
    "eq": _equal,
    "one_hot": _one_hot,
    "scatter": _scatter,
    "scatter_add": _scatter,
    "where": _where,
}
