"""Recognises attention, fused (scaled_dot_product_attention) or written out as two matrix products and a softmax."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from moesaic.golden.frontend.known import Known
from moesaic.golden.frontend.meaning import Context, Linear, Probs, Scores
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal

__all__ = ["HANDLERS", "attend", "rotary", "scores"]

ATTENTION = (
    "softmax(q k^T * scale) v with q, k and v from linear layers of the same LayerNorm, no mask, no position bias"
)


def rotary(found: str = "a rotary embedding") -> Refusal:
    """Why q and k are refused that are turned by their places."""
    return Refusal(
        f"{found} (q or k times constants of every token)",
        expected="q and k as their linear layers return them",
        nearest="learnt or fixed positions, added once to the embedded tokens",
    )


def _heads(reader: Reader, ids: torch.Tensor) -> tuple[Linear, torch.Tensor, np.ndarray] | None:
    """A linear's elements [heads, tokens, channels]: its meaning, the token of each row, columns [heads, channels]."""
    found = reader.find(ids)
    if found is None or not isinstance(found[0], Linear):
        return None
    width = found[0].shape[1]
    token, column = found[1] // width, found[1] % width
    if not bool((token == token[:1, :, :1]).all()) or not bool((column == column[:, :1]).all()):
        return None
    return found[0], token[0, :, 0], column[:, 0].numpy()


def scores(reader: Reader, node: fx.Node, query: torch.Tensor, key: torch.Tensor, scale: float) -> torch.Tensor | None:
    """Elements [heads, queries, keys] of q k^T from q and k [heads, tokens, channels]; None if they are no q and k."""
    q, k = _heads(reader, query), _heads(reader, key)
    if (q is None or k is None) and _windows(reader, query) and _windows(reader, key):
        raise Refusal("window attention", expected="every token to every token", nearest=ATTENTION)
    if q is None or k is None or q[2].shape != k[2].shape:
        return None
    tokens, heads = q[0].shape[0], len(q[2])
    if not _all_tokens(q[1], tokens) or not _all_tokens(k[1], tokens) or k[0].shape[0] != tokens:
        raise Refusal("attention between some of the tokens", expected="every token to every token", nearest=ATTENTION)
    meaning = Scores(
        node=node,
        shape=(heads, tokens, tokens),
        query=q[0],
        query_columns=q[2],
        key=k[0],
        key_columns=k[2],
        scale=torch.full((heads,), scale, dtype=torch.float64),
    )
    start = reader.add(meaning)
    return start + (torch.arange(heads)[:, None, None] * tokens + q[1][:, None]) * tokens + k[1]


def _windows(reader: Reader, ids: torch.Tensor) -> bool:
    """Whether elements [batch, tokens, channels] are of a linear layer, and of other tokens in each batch."""
    found = reader.find(ids)
    if found is None or not isinstance(found[0], Linear):
        return False
    token = found[1] // found[0].shape[1]
    return bool((token == token[:, :, :1]).all()) and not bool((token == token[:1, :, :1]).all())


def _all_tokens(token: torch.Tensor, count: int) -> bool:
    return len(token) == count and len(token.unique()) == count


def attend(reader: Reader, node: fx.Node, weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor | None:
    """Elements [heads, queries, channels] of P v from P [heads, queries, keys] and v [heads, keys, channels]."""
    found, v = reader.find(weights), _heads(reader, values)
    if found is None or not isinstance(found[0], Probs):
        if found is not None and isinstance(found[0], Scores):
            raise Refusal("attention without softmax", expected="softmax over the keys", nearest=ATTENTION)
        return None
    probs, local = found[0], found[1]
    heads, queries, keys = probs.shape
    if v is None or len(v[2]) != heads:
        raise Refusal("attention of values that are no linear layer's", expected="v of every head", nearest=ATTENTION)
    head, query, key = local // (queries * keys), local // keys % queries, local % keys
    if (
        not bool((head == torch.arange(heads)[:, None, None]).all())
        or not bool((query == query[:1, :, :1]).all())
        or not bool((key == v[1]).all())
        or local.shape[2] != keys
    ):
        raise Refusal("probabilities and values in different orders", expected="the same tokens", nearest=ATTENTION)
    width = heads * v[2].shape[1]
    context = Context(node=node, shape=(queries, width), probs=probs, value=v[0], value_columns=v[2])
    start = reader.add(context)
    return start + query[0, :, :1] * width + torch.arange(width).view(heads, 1, -1)


def attention_probs(reader: Reader, node: fx.Node, meaning: Scores, ids: torch.Tensor, dim: int) -> torch.Tensor:
    """Softmax of scores over the keys."""
    rows = ids.movedim(dim, -1).reshape(-1, ids.shape[dim])
    heads, queries, keys = meaning.shape
    if rows.shape[1] == keys and bool((rows // keys == rows[:, :1] // keys).all()):
        return reader.add(Probs(node=node, shape=meaning.shape, scores=meaning)) + ids
    columns, head = rows % keys, rows // (queries * keys)
    if rows.shape[1] == queries and bool((columns == columns[:, :1]).all()) and bool((head == head[:, :1]).all()):
        # k q^T with a softmax over what its author calls keys: the two have changed their roles.
        swapped = Scores(
            node=meaning.node,
            shape=(heads, keys, queries),
            query=meaning.key,
            query_columns=meaning.key_columns,
            key=meaning.query,
            key_columns=meaning.query_columns,
            scale=meaning.scale,
        )
        turned = (ids // (queries * keys) * keys + ids % keys) * queries + ids // keys % queries
        return reader.add(Probs(node=node, shape=swapped.shape, scores=swapped)) + turned
    raise Refusal("softmax over something else than all keys", expected="softmax over the keys", nearest=ATTENTION)


def _fused(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    mask = given.get("attn_mask")
    if mask is not None and not (isinstance(mask, Known) and _no_mask(mask.value)):
        raise Refusal("attention with a mask or a position bias", expected="no mask", nearest=ATTENTION)
    if given.get("is_causal"):
        raise Refusal("causal attention", expected="every token to every token", nearest=ATTENTION)
    if given.get("dropout_p"):
        raise Refusal(
            "attention dropout that is active in inference mode",
            expected="dropout_p=0",
            nearest="dropout_p=self.p if self.training else 0.0",
        )
    query, key, value = (given[name] for name in names[:3])
    if not all(isinstance(x, torch.Tensor) for x in (query, key, value)):
        raise Refusal("attention to constants", expected="q, k and v of the tokens", nearest=ATTENTION)
    if not query.shape == key.shape == value.shape:
        raise Refusal(
            f"attention with q {list(query.shape)}, k {list(key.shape)} and v {list(value.shape)}",
            expected="as many heads, tokens and channels of each",
            nearest=ATTENTION,
        )
    scale = given.get("scale")
    flat = [x.reshape(-1, *x.shape[-2:]) for x in (query, key, value)]
    ids = scores(reader, node, flat[0], flat[1], query.shape[-1] ** -0.5 if scale is None else float(scale))
    if ids is None:
        raise Refusal("attention of tensors that are no linear layers'", expected="q, k and v", nearest=ATTENTION)
    found = reader.find(ids)
    assert found is not None and isinstance(found[0], Scores)
    result = attend(reader, node, attention_probs(reader, node, found[0], found[1], -1), flat[2])
    assert result is not None
    return result.reshape(query.shape)


def _no_mask(mask: torch.Tensor) -> bool:
    return bool(mask.all()) if mask.dtype == torch.bool else not bool(mask.any())


def canonical_scale(head_dim: int) -> float:
    """The scale of scores in the canonical model."""
    return 1 / math.sqrt(head_dim)


def _masked(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    found = reader.find(args[0]) if isinstance(args[0], torch.Tensor) else None
    if found is not None and isinstance(found[0], Scores):
        raise Refusal("attention with a mask", expected="no mask", nearest=ATTENTION)
    raise Refusal("'masked_fill'", expected="a layer of a pre-norm vision transformer", nearest=ATTENTION)


def _complex(reader: Reader, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.Tensor:
    raise rotary("complex numbers, as of a rotary embedding")


HANDLERS = {"masked_fill": _masked, "view_as_complex": _complex, "scaled_dot_product_attention": _fused}
