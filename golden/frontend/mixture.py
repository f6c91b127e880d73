"""Recognises mixtures of experts written with fixed shapes: all experts on all tokens, times a table of factors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from moesaic.golden.frontend.meaning import (
    Chosen,
    Combine,
    GateProbs,
    GateScores,
    Linear,
    Meaning,
    Mixture,
    Ranked,
    RankedIndex,
    RankedTotal,
    ScoredChoice,
    Weighted,
)  # fmt: skip
from moesaic.golden.frontend.nearest import MIXTURE_RECIPE
from moesaic.golden.frontend.reader import Known, Reader
from moesaic.golden.frontend.refusal import Refusal

__all__ = ["HANDLERS", "combine_experts", "gate_softmax", "merge", "normalise", "total", "weigh"]

Pair = tuple[Meaning, torch.Tensor]


def _refusal(found: str, expected: str) -> Refusal:
    return Refusal(found, expected=expected, nearest=MIXTURE_RECIPE)


# Gates: logits, probabilities, the largest of them, factors.


def _rows(meaning: Meaning, local: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Elements of a [tokens, columns] meaning along a dimension, as rows: the token of each row, columns [rows, n]."""
    if len(meaning.shape) != 2:
        return None
    rows = local.movedim(dim, -1).reshape(-1, local.shape[dim])
    token, column = rows // meaning.shape[1], rows % meaning.shape[1]
    return (token[:, 0], column) if bool((token == token[:, :1]).all()) else None


def _whole(columns: torch.Tensor, count: int) -> bool:
    """Whether each row has the columns 0 to count - 1 in order."""
    return columns.shape[1] == count and bool((columns == torch.arange(count)).all())


def gate_softmax(reader: Reader, node: fx.Node, meaning: Meaning, local: torch.Tensor, dim: int) -> torch.Tensor | None:
    """Softmax of a gate's logits, over all experts or over the largest k; None if it is neither."""
    read = _rows(meaning, local, dim)
    if read is None:
        return None
    if isinstance(meaning, Linear) and _whole(read[1], meaning.shape[1]):
        return reader.add(GateProbs(node=node, shape=meaning.shape, logits=meaning)) + local
    if isinstance(meaning, Ranked) and isinstance(meaning.of, Linear):
        k = read[1].shape[1]
        if _whole(read[1], k):
            scores = GateScores(node=node, shape=(meaning.shape[0], k), logits=meaning.of, kind="noisy")
            return reader.add(scores) + local // meaning.shape[1] * k + local % meaning.shape[1]
    return None


def _top(reader: Reader, node: fx.Node, ids: Any, k: int, dim: int) -> list[torch.Tensor]:
    found = reader.find(ids)
    meaning = None if found is None else found[0]
    read = None if found is None or meaning is None else _rows(meaning, found[1], dim)
    if read is None or not isinstance(meaning, (Linear, GateProbs)) or not _whole(read[1], meaning.shape[1]):
        raise _refusal("the largest of something else than a gate's logits", "top-k of logits or of their softmax")
    logits = meaning.logits if isinstance(meaning, GateProbs) else meaning
    shape = (meaning.shape[0], k)
    place = read[0][:, None] * k + torch.arange(k)
    moved = list(ids.movedim(dim, -1).shape)
    place = place.view(*moved[:-1], k).movedim(-1, dim)
    ranked, index = Ranked(node=node, shape=shape, of=meaning), RankedIndex(node=node, shape=shape, logits=logits)
    return [reader.add(ranked) + place, reader.add(index) + place]


def _topk(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
    given = dict(zip(("input", "k", "dim", "largest"), args, strict=False)) | dict(kwargs)
    if not given.get("largest", True):
        raise _refusal("the smallest of a gate's logits", "the largest")
    return _top(reader, node, given["input"], int(given["k"]), int(given.get("dim", -1)))


def _sort(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
    names = ("input", "stable", "dim", "descending") if "stable" in str(node.target) else ("input", "dim", "descending")
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    if not given.get("descending"):
        raise _refusal("a gate's logits in rising order", "falling order")
    dim = int(given.get("dim", -1))
    return _top(reader, node, given["input"], given["input"].shape[dim], dim)


def _gather(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    if isinstance(args[0], torch.Tensor) and isinstance(args[2], torch.Tensor):
        values, index = reader.find(args[0]), reader.find(args[2])
        if values is not None and index is not None and isinstance(values[0], GateProbs) and isinstance(index[0], RankedIndex):
            whole, ranks = _rows(values[0], values[1], int(args[1])), _rows(index[0], index[1], int(args[1]))
            same = values[0].logits is index[0].logits
            if whole and ranks and same and _whole(whole[1], values[0].shape[1]) and torch.equal(whole[0], ranks[0]):
                return reader.add(Ranked(node=node, shape=index[0].shape, of=values[0])) + index[1]
    raise _refusal("a choice by an index", "the chosen experts' probabilities")


def normalise(reader: Reader, node: fx.Node, values: torch.Tensor, divisor: torch.Tensor) -> torch.Tensor | None:
    """The k largest probabilities over their sum, which is the softmax of the k largest logits; None if it is not that."""
    found, by = reader.find(values), reader.find(divisor)
    if found is None or by is None or not isinstance(found[0], Ranked) or not isinstance(by[0], RankedTotal):
        return None
    ranked, sums = found[0], by[0]
    token, rank = found[1] // ranked.shape[1], found[1] % ranked.shape[1]
    if sums.ranked is not ranked or not torch.equal(token, by[1]) or not bool((rank < sums.k).all()):
        return None
    scores = GateScores(node=node, shape=(ranked.shape[0], sums.k), logits=ranked.logits, kind="noisy")
    return reader.add(scores) + token * sums.k + rank


def _as_scores(reader: Reader, node: fx.Node, ids: torch.Tensor) -> tuple[GateScores, torch.Tensor, torch.Tensor] | None:
    """Factors [tokens, k]: their meaning, and the token and rank of each element; None if they are none."""
    found = reader.find(ids)
    if found is None or not isinstance(found[0], (GateScores, Ranked)):
        return None
    token, rank = found[1] // found[0].shape[1], found[1] % found[0].shape[1]
    if isinstance(found[0], GateScores):
        return found[0], token, rank
    if isinstance(found[0].of, Linear):
        raise _refusal("logits as factors of the experts", "a softmax of them")
    k = int(rank.max()) + 1
    cached = found[0].node.meta.setdefault("moesaic_scores", {}) if found[0].node is not None else {}
    scores = cached.get((id(found[0]), k))
    if scores is None:
        scores = GateScores(node=found[0].node, shape=(found[0].shape[0], k), logits=found[0].logits, kind="noisy_vmoe")
        cached[id(found[0]), k] = scores
    return scores, token, rank


# Tables of factors: scattered, or by comparing the chosen experts' numbers.


def _scatter(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    base, dim, index, source = args[:4]
    found = reader.find(index) if isinstance(index, torch.Tensor) else None
    if not isinstance(base, Known) or bool(base.value.any()) or found is None or not isinstance(found[0], RankedIndex) or kwargs:
        raise _refusal("a scatter", "factors scattered into zeros [tokens, experts]")
    ranked, experts = found[0], base.value.shape[dim]
    if experts != ranked.logits.shape[1]:
        raise _refusal(f"a table of {experts} experts for a gate of {ranked.logits.shape[1]}", "a column for every expert")
    if not isinstance(source, torch.Tensor):
        value = source.value if isinstance(source, Known) else source
        if not bool((torch.as_tensor(value) == 1).all()) or index.shape[dim] != 1:
            raise _refusal("a scatter of constants", "factors scattered into zeros [tokens, experts]")
        token, rank = (x.movedim(dim, -1) for x in (found[1] // ranked.shape[1], found[1] % ranked.shape[1]))
        place = (token * ranked.shape[1] + rank) * experts + torch.arange(experts)
        chosen = Chosen(node=node, shape=(*ranked.shape, experts), logits=ranked.logits)
        return reader.add(chosen) + place.movedim(-1, dim)
    scores = _as_scores(reader, node, source)
    where, what = _rows(ranked, found[1], dim), None if scores is None else scores[2].movedim(dim, -1).reshape(-1, index.shape[dim])
    if scores is None or where is None or what is None or scores[0].logits is not ranked.logits or not torch.equal(where[1], what):
        raise _refusal("factors and experts in different orders", "the gate's factors at the gate's experts")
    if not _whole(where[1], scores[0].shape[1]) or index.movedim(dim, -1).shape[:-1] != base.value.movedim(dim, -1).shape[:-1]:
        raise _refusal("a part of the factors", "all k factors of every token")
    combine = Combine(node=node, shape=(scores[0].shape[0], experts), scores=scores[0])
    place = where[0][:, None] * experts + torch.arange(experts)
    moved = base.value.movedim(dim, -1).shape
    return reader.add(combine) + place.view(moved).movedim(-1, dim)


def _equal(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    index, number = (args[0], args[1]) if isinstance(args[0], torch.Tensor) else (args[1], args[0])
    found = None if isinstance(number, torch.Tensor) else reader.find(index)
    if found is None or not isinstance(found[0], RankedIndex):
        raise _refusal("a comparison", "the chosen experts' numbers compared with an expert's")
    experts = torch.as_tensor(number.value if isinstance(number, Known) else number)
    place, experts = torch.broadcast_tensors(found[1], experts)
    count = found[0].logits.shape[1]
    if bool(((experts < 0) | (experts >= count)).any()):
        raise _refusal(f"a comparison with an expert that the gate has not (of {count})", "numbers of experts")
    return reader.add(Chosen(node=node, shape=(*found[0].shape, count), logits=found[0].logits)) + place * count + experts.long()


def _one_hot(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    classes = kwargs.get("num_classes", args[1] if len(args) > 1 else -1)
    return _equal(reader, node, (args[0][..., None], Known(torch.arange(int(classes)))), {})


def _scored(reader: Reader, node: fx.Node, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor | None:
    """Factors times whether this is the expert."""
    chosen = reader.find(right)
    if chosen is None or not isinstance(chosen[0], Chosen):
        return None
    scores = _as_scores(reader, node, left)
    if scores is None:
        return None
    _, ranks, experts = chosen[0].shape
    token, rank, expert = chosen[1] // (ranks * experts), chosen[1] // experts % ranks, chosen[1] % experts
    if scores[0].logits is not chosen[0].logits or not torch.equal(token, scores[1]) or not torch.equal(rank, scores[2]):
        raise _refusal("factors and experts in different orders", "the gate's factors at the gate's experts")
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
    raise _refusal("a choice by a condition", "factors where the expert is chosen, zero elsewhere")


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
        raise _refusal("expert outputs times factors of other tokens or experts", "each expert's output times its factor")
    return reader.add(Weighted(node=node, shape=linear.shape, linear=linear, combine=combine, expert=expert.numpy())) + out[1]


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
            raise _refusal("a sum of experts in different orders", "the experts' outputs, channel by channel")
        pick = column[0].numpy()
        terms += [(meaning, pick)] if isinstance(meaning, Weighted) else [(w, c[pick]) for w, c in meaning.terms]
        mine = token * dim + torch.arange(dim)
        if place is not None and not torch.equal(place, mine):
            raise _refusal("a sum of experts of different tokens", "the experts' outputs, token by token")
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
    "eq": _equal, "gather": _gather, "one_hot": _one_hot, "scatter": _scatter, "scatter_add": _scatter, "sort": _sort,
    "topk": _topk, "where": _where,
}  # fmt: skip
