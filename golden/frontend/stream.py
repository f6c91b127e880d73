"""The residual stream: embedded tokens, and what the blocks add to them."""

import torch
from torch import fx

from moesaic.golden.frontend.meaning import Constant, Embed, Linear, Meaning, Norm, Patches, Stream
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import Refusal
from moesaic.golden.layers.norm_float import plain_norm
from moesaic.golden.layers.sizes import NormSizes

__all__ = ["as_stream", "is_embedding", "stream_of"]

EMBEDDING = "patch embedding, learnt tokens joined with torch.cat, learnt positions added"


def is_embedding(reader: Reader, ids: torch.Tensor) -> bool:
    """Whether the elements are embedded patches, perhaps with learnt tokens."""
    owner = reader.owners(ids)[0].unique().tolist()
    meanings = [reader.meanings[o] for o in owner]
    return any(_patches(m) for m in meanings) and all(_patches(m) or isinstance(m, Constant) for m in meanings)


def _patches(meaning: Meaning) -> bool:
    return _embed(meaning) is not None


def _embed(meaning: Meaning) -> Embed | None:
    """Embedded patches, perhaps with learnt tokens and positions, perhaps behind a norm; None for anything else."""
    if isinstance(meaning, Embed):
        return meaning
    if isinstance(meaning, Linear) and isinstance(meaning.source, Patches):  # no learnt tokens, no positions yet
        table = torch.zeros(meaning.shape, dtype=torch.float64)
        return Embed(node=meaning.node, shape=meaning.shape, linear=meaning, table=table)
    if isinstance(meaning, Norm) and isinstance(meaning.stream, Embed) and meaning.stream.norm is None:
        return _behind(meaning, meaning.stream)
    return None


def _behind(norm: Norm, before: Embed) -> Embed:
    """Embedded tokens behind a norm: what it makes of learnt tokens, which see no image, is learnt itself."""
    learnt, table = before.table[: before.learnt], torch.zeros(before.shape, dtype=torch.float64)
    plain = plain_norm(learnt, NormSizes(kind=norm.kind, eps=norm.eps))
    table[: before.learnt] = plain * norm.weight + norm.bias
    return Embed(node=norm.node, shape=before.shape, linear=before.linear, table=table, names=before.names, norm=norm)


def stream_of(reader: Reader, ids: torch.Tensor, node: fx.Node) -> tuple[Stream, torch.Tensor] | None:
    """The residual stream that elements belong to, and their places in it; None if they are not of one."""
    found = reader.find(ids)
    if found is not None and isinstance(found[0], Stream):
        return found[0], found[1]
    if not is_embedding(reader, ids):
        return None
    embed = None if found is None else _embed(found[0])
    if found is not None and embed is not None:
        return _complete(embed, found[1], node)
    return _joined(reader, ids, node)


def as_stream(
    reader: Reader, ids: torch.Tensor, node: fx.Node, *, found: str, nearest: str
) -> tuple[Stream, torch.Tensor]:
    """`stream_of`; `Refusal` if there is none."""
    stream = stream_of(reader, ids, node)
    if stream is None:
        raise Refusal(found, expected="the residual stream [tokens, dim]", nearest=nearest)
    return stream


def _complete(embed: Embed, local: torch.Tensor, node: fx.Node) -> tuple[Stream, torch.Tensor]:
    if local.numel() != embed.shape[0] * embed.shape[1] or len(local.unique()) != local.numel():
        raise Refusal("a part of the embedded tokens", expected="every token once", nearest=EMBEDDING, node=node)
    return embed, local


def _joined(reader: Reader, ids: torch.Tensor, node: fx.Node) -> tuple[Stream, torch.Tensor]:
    """Learnt tokens and patches, as torch.cat joins them along any dimension before the channels."""
    refusal = Refusal(
        "tokens joined in an unknown way", expected="whole tokens side by side", nearest=EMBEDDING, node=node
    )
    rows = ids.reshape(-1, ids.shape[-1])
    owner, place = reader.owners(rows)
    if not bool((owner == owner[:, :1]).all()):
        raise refusal
    patches, names = None, dict[str, None]()
    for o in owner[:, 0].unique().tolist():
        meaning = reader.meanings[o]
        if isinstance(meaning, Constant):
            names.update(dict.fromkeys(meaning.names))
            continue
        if patches is not None:
            raise refusal
        patches = _embed(meaning)
    if patches is None or patches.shape[1] != rows.shape[1]:
        raise refusal
    before = patches.table
    names.update(dict.fromkeys(patches.names))
    learnt = torch.tensor([isinstance(reader.meanings[int(o)], Constant) for o in owner[:, 0]])
    count, dim = int(learnt.sum()), rows.shape[1]
    columns, row = place[~learnt] % dim, place[~learnt] // dim
    if not bool((columns == columns[:1]).all()) or not bool((row == row[:, :1]).all()):
        raise refusal
    order = columns[0]
    # Learnt tokens in two steps (registers, after positions): those of the first stay first.
    first = patches.learnt
    table = torch.cat((before[:first], torch.zeros(count, dim, dtype=torch.float64), before[first:]))
    token = torch.empty(len(rows), dtype=torch.int64)
    token[learnt], token[~learnt] = first + torch.arange(count), row[:, 0] + count * (row[:, 0] >= first)
    for r in learnt.nonzero().flatten().tolist():
        held = reader.meanings[int(owner[r, 0])]
        assert isinstance(held, Constant)
        table[token[r], order] = held.values[place[r]].double()
    embed = Embed(
        node=node,
        shape=(len(table), dim),
        linear=patches.linear,
        table=table,
        names=tuple(names),
        norm=patches.norm,
    )
    return _complete(embed, (token[:, None] * dim + order).reshape(ids.shape), node)
