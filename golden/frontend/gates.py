"""Recognises gates: logits, their softmax, the largest of them, and the factors of the chosen experts."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx

from moesaic.golden.frontend.meaning import GateProbs, GateScores, Linear, Meaning, Ranked, RankedIndex, RankedTotal
from moesaic.golden.frontend.nearest import MIXTURE_RECIPE
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal

__all__ = ["HANDLERS", "as_scores", "gate_softmax", "normalise", "refusal", "rows_of", "whole"]


def refusal(found: str, expected: str) -> Refusal:
    """A refusal that points at the recipe for mixtures."""
    return Refusal(found, expected=expected, nearest=MIXTURE_RECIPE)


def rows_of(meaning: Meaning, local: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Elements of a [tokens, columns] meaning along a dimension, as rows: the token of each row, columns [rows, n]."""
    if len(meaning.shape) != 2:
        return None
    rows = local.movedim(dim, -1).reshape(-1, local.shape[dim])
    token, column = rows // meaning.shape[1], rows % meaning.shape[1]
    return (token[:, 0], column) if bool((token == token[:, :1]).all()) else None


def whole(columns: torch.Tensor, count: int) -> bool:
    """Whether each row has the columns 0 to count - 1 in order."""
    return columns.shape[1] == count and bool((columns == torch.arange(count)).all())


def gate_softmax(reader: Reader, node: fx.Node, meaning: Meaning, local: torch.Tensor, dim: int) -> torch.Tensor | None:
    """Softmax of a gate's logits, over all experts or over the largest k; None if it is neither."""
    read = rows_of(meaning, local, dim)
    if read is None:
        return None
    if isinstance(meaning, Linear) and whole(read[1], meaning.shape[1]):
        return reader.add(GateProbs(node=node, shape=meaning.shape, logits=meaning)) + local
    if isinstance(meaning, Ranked) and isinstance(meaning.of, Linear):
        k = read[1].shape[1]
        if whole(read[1], k):
            scores = GateScores(node=node, shape=(meaning.shape[0], k), logits=meaning.of, kind="noisy")
            return reader.add(scores) + local // meaning.shape[1] * k + local % meaning.shape[1]
    return None


def _top(reader: Reader, node: fx.Node, ids: Any, k: int, dim: int) -> list[torch.Tensor]:
    found = reader.find(ids)
    meaning = None if found is None else found[0]
    read = None if found is None or meaning is None else rows_of(meaning, found[1], dim)
    if read is None or not isinstance(meaning, (Linear, GateProbs)) or not whole(read[1], meaning.shape[1]):
        raise refusal("the largest of something else than a gate's logits", "top-k of logits or of their softmax")
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
        raise refusal("the smallest of a gate's logits", "the largest")
    return _top(reader, node, given["input"], int(given["k"]), int(given.get("dim", -1)))


def _sort(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
    names = ("input", "stable", "dim", "descending") if "stable" in str(node.target) else ("input", "dim", "descending")
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    if not given.get("descending"):
        raise refusal("a gate's logits in rising order", "falling order")
    dim = int(given.get("dim", -1))
    return _top(reader, node, given["input"], given["input"].shape[dim], dim)


def _gather(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    if isinstance(args[0], torch.Tensor) and isinstance(args[2], torch.Tensor):
        values, index = reader.find(args[0]), reader.find(args[2])
        if (
            values is not None
            and index is not None
            and isinstance(values[0], GateProbs)
            and isinstance(index[0], RankedIndex)
        ):
            every, ranks = rows_of(values[0], values[1], int(args[1])), rows_of(index[0], index[1], int(args[1]))
            same = values[0].logits is index[0].logits
            if every and ranks and same and whole(every[1], values[0].shape[1]) and torch.equal(every[0], ranks[0]):
                return reader.add(Ranked(node=node, shape=index[0].shape, of=values[0])) + index[1]
    raise refusal("a choice by an index", "the chosen experts' probabilities")


def normalise(reader: Reader, node: fx.Node, values: torch.Tensor, divisor: torch.Tensor) -> torch.Tensor | None:
    """The k largest probabilities over their sum, which is the softmax of the k largest logits; None if it is
    not that.
    """
    found, by = reader.find(values), reader.find(divisor)
    if found is None or by is None or not isinstance(found[0], Ranked) or not isinstance(by[0], RankedTotal):
        return None
    ranked, sums = found[0], by[0]
    token, rank = found[1] // ranked.shape[1], found[1] % ranked.shape[1]
    if sums.ranked is not ranked or not torch.equal(token, by[1]) or not bool((rank < sums.k).all()):
        return None
    scores = GateScores(node=node, shape=(ranked.shape[0], sums.k), logits=ranked.logits, kind="noisy")
    return reader.add(scores) + token * sums.k + rank


def as_scores(reader: Reader, node: fx.Node, ids: torch.Tensor) -> tuple[GateScores, torch.Tensor, torch.Tensor] | None:
    """Factors [tokens, k]: their meaning, and the token and rank of each element; None if they are none."""
    found = reader.find(ids)
    if found is None or not isinstance(found[0], (GateScores, Ranked)):
        return None
    token, rank = found[1] // found[0].shape[1], found[1] % found[0].shape[1]
    if isinstance(found[0], GateScores):
        return found[0], token, rank
    if isinstance(found[0].of, Linear):
        raise refusal("logits as factors of the experts", "a softmax of them")
    k = int(rank.max()) + 1
    scores = GateScores(node=node, shape=(found[0].shape[0], k), logits=found[0].logits, kind="noisy_vmoe")
    return scores, token, rank


HANDLERS = {"gather": _gather, "sort": _sort, "topk": _topk}
