"""Multi-head attention on integers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from moesaic.golden import numerics, ops_int
from moesaic.golden.layers.layer import Inference, Matrix, QuantLayer, Source
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.norm import QuantNorm, hollow_gain
from moesaic.golden.layers.sizes import AttentionSizes
from moesaic.golden.layers.stored import reading_stored
from moesaic.golden.nodes import Node
from moesaic.golden.numerics import Array
from moesaic.golden.saturation import Saturation

__all__ = ["QuantAttention", "attend"]


@dataclass(frozen=True)
class QuantAttention(QuantLayer):
    """Multi-head attention; `proj` requantises into the residual (function ADD).

    `score_mult`/`score_shift` take the accumulator of q.k to log2 units with 8 fraction bits; `context_mult`/
    `context_shift` are the SOFTMAX/ATTEND scalars; `residual_shift` is applied to the old residual when `proj` is
    added.

    With a `gain` (a diagonal matrix of the norm's gain, and its offset), q, k and v read what that makes of the
    normalised tokens: they are those of layers behind other norms too.
    """

    kind: ClassVar[str] = "attention"

    name: str
    norm: QuantNorm
    q: QuantLinear
    k: QuantLinear
    v: QuantLinear
    score_mult: int
    score_shift: int
    context_mult: int
    context_shift: int
    context_step: float
    proj: QuantLinear
    residual_shift: int
    heads: int
    gain: QuantLinear | None = None

    @classmethod
    def zeros(cls, node: Node, norm_name: str, tasks: Sequence[str], *, bits: int, finer: str | None = None) -> Self:
        """The attention of a node, without weights."""
        sizes, name, dim = node.sizes, node.name, node.output.channels
        assert isinstance(sizes, AttentionSizes)
        gain = hollow_gain(node, finer=finer)

        def matrix(leaf: str, out: int, inputs: int, reads: str = "int8") -> QuantLinear:
            return QuantLinear.zeros(f"{name}.{leaf}", out, inputs, reads=reads, finer=finer, owner=node.piece(leaf))

        reads = "streamed" if gain is None else "int8"
        q, k, v = (matrix(part, sizes.inner, dim, reads) for part in "qkv")
        return cls(
            name=name,
            norm=QuantNorm.zeros(norm_name, node),
            q=q,
            k=k,
            v=v,
            score_mult=1,
            score_shift=1,
            context_mult=1,
            context_shift=1,
            context_step=1.0,
            proj=matrix("proj", dim, sizes.inner),
            residual_shift=0,
            heads=sizes.heads,
            gain=gain,
        )

    @property
    def first(self) -> QuantLinear:
        return self.q

    @property
    def wide(self) -> bool:
        return self.proj.reads == "int16"

    @property
    def inner(self) -> int:
        """Channels of all heads together."""
        return len(self.q.weight)

    @property
    def head_dim(self) -> int:
        """Channels of a head."""
        return self.inner // self.heads

    def matrices(self, tasks: Sequence[str]) -> Iterator[Matrix]:
        source = Source.NORMALISED
        if self.gain is not None:
            yield Matrix(linear=self.gain, shape=(self.norm.dim, self.norm.dim), source=source)
            source = Source.STORED
        for linear in (self.k, self.q, self.v):
            yield Matrix(linear=linear, shape=(self.inner, self.norm.dim), source=source)
        yield Matrix(linear=self.proj, shape=(self.norm.dim, self.inner), source=Source.STORED)

    def macs(self, tokens: int) -> int:
        return tokens * self.inner * (4 * self.norm.dim + 2 * tokens)

    def run(self, x: Array, inference: Inference) -> Array:
        name, trace, kept = self.name, inference.trace, np.int16 if self.wide else np.int8
        saturation = inference.saturation
        normed = ops_int.norm(self.norm, x, saturation)
        trace.record(self.norm.name, normed.astype(np.int16))
        parts, inputs = [], ops_int.first_inputs(self.q, normed, self.gain, saturation)
        for part, linear in (("q", self.q), ("k", self.k), ("v", self.v)):
            result = ops_int.linear_int16(linear, inputs, saturation)
            tensor = saturation.stored(f"{name}.{part}.stored", result, wide=self.wide)
            trace.record(f"{name}.{part}", tensor.astype(kept))
            parts.append(np.split(tensor, self.heads, axis=1))
        sizes = {"key_block": inference.key_block(self.head_dim), "bits": inference.probability_bits}
        done = [attend(self, q, k, v, saturation, **sizes) for q, k, v in zip(*parts, strict=True)]
        if trace.wants(f"{name}.scores"):
            trace.record(f"{name}.scores", np.stack([scores for scores, _, _ in done]).astype(np.int16))
        if trace.wants(f"{name}.probs"):
            trace.record(f"{name}.probs", np.stack([p for _, p, _ in done]).astype(np.int16))
        context = np.concatenate([c for _, _, c in done], axis=1)
        trace.record(f"{name}.context", context.astype(kept))
        out = ops_int.linear_int16(self.proj, context, saturation)
        trace.record(f"{name}.proj", out.astype(np.int16))
        return ops_int.add(f"{name}.residual", x, out, saturation, residual_shift=self.residual_shift)

    @property
    def balanced(self) -> dict[str, int]:
        return {self.q.name: 1, self.k.name: 1, self.v.name: 1, self.proj.name: 0}

    def reading_stored(self) -> Self:
        if self.gain is not None:
            return replace(self, gain=reading_stored(self.gain))
        return replace(self, q=reading_stored(self.q), k=reading_stored(self.k), v=reading_stored(self.v))


def attend(
    attention: QuantAttention, q: Array, k: Array, v: Array, saturation: Saturation, *, key_block: int, bits: int
) -> tuple[Array, Array, Array]:
    """One head: single-pass softmax over blocks of `key_block` keys, and the context of probabilities of `bits` bits.

    Parameters
    ----------
    q, k, v : [tokens, head_dim] int8, or 16 bits if the attention is wide

    Returns
    -------
    scores : [tokens, tokens] int16, log2 units with 8 fraction bits
    probabilities : [tokens, tokens], of `bits` bits, at each query's final level
    context : [tokens, head_dim] as q, k and v
    """
    exact = numerics.round_shift(ops_int.matmul(q, k) * attention.score_mult, attention.score_shift)
    scores = saturation.fit(f"{attention.name}.scores", exact, 16)
    level = None
    parts: list[tuple[Array, Array]] = []
    for low in range(0, len(k), key_block):
        codes, maximum, level = numerics.softmax_block(scores[:, low : low + key_block], level, bits=bits)
        parts.append((codes, maximum))
    assert level is not None
    probabilities = np.concatenate(
        [numerics.probability(codes, (level - 4 * maximum)[:, None], bits=bits) for codes, maximum in parts], axis=1
    )
    r, e = numerics.reciprocal(probabilities.sum(axis=1))  # of what is used: they weigh one together
    multiplier = (r * attention.context_mult + (1 << 15)) >> 16
    context = numerics.round_shift(
        ops_int.matmul(probabilities, v.T) * multiplier[:, None], (attention.context_shift + e)[:, None]
    )
    return scores, probabilities, saturation.stored(f"{attention.name}.context", context, wide=attention.wide)
