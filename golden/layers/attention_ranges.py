"""Channels of queries, keys and values made alike in size, at no change of what attention computes.

Softmax does not see what all keys have in common, for it adds the same to all scores of a query: keys are centred, so
that neither they nor the scores, which have 16 bits, need room for it. A score is a sum over channels of query times
key: what one is divided by, the other can be multiplied with. A context is a weighted sum of values, channel by
channel: what they are divided by, the next weights can be multiplied with. (After Nagel et al. 2019, cross-layer
equalisation.) GELU and LayerNorm stand in the way everywhere else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moesaic.golden.layers.activity import LayerActivity

__all__ = ["AttentionRanges", "key_scales", "ranges_of", "value_scales"]

Array = np.ndarray[Any, Any]

SHARE = 0.75  # of a context channel's size that moves into the weights of `proj`
LEAST = 1e-3  # of the largest channel: smaller ones count as that


@dataclass(frozen=True)
class AttentionRanges:
    """How large the channels of an attention become, each [heads * head dimension].

    Parameters
    ----------
    q, k
        Largest magnitudes of queries, and of keys less `centre`.
    centre
        Middle of the keys' ranges.
    context
        Root mean square of the context.
    """

    q: Array
    k: Array
    centre: Array
    context: Array

    @classmethod
    def together(cls, parts: Sequence["AttentionRanges"]) -> "AttentionRanges":
        """Of layers of the same matrices, over equally many tokens each."""
        if len(parts) == 1:
            return parts[0]  # to the last bit
        high = np.max([part.centre + part.k for part in parts], axis=0)
        low = np.min([part.centre - part.k for part in parts], axis=0)
        return cls(
            q=np.max([part.q for part in parts], axis=0),
            k=(high - low) / 2,
            centre=(high + low) / 2,
            context=np.sqrt(np.mean([np.square(part.context) for part in parts], axis=0)),
        )


def ranges_of(activity: LayerActivity) -> AttentionRanges:
    """Of an attention in calibration."""
    keys = activity.all("k").astype(np.float64)
    low, high = keys.min(axis=0), keys.max(axis=0)
    return AttentionRanges(
        q=np.abs(activity.all("q")).max(axis=0),
        k=(high - low) / 2,
        centre=(high + low) / 2,
        context=np.sqrt(np.square(activity.all("context").astype(np.float64)).mean(axis=0)),
    )


def _positive(size: Array) -> Array:
    return np.maximum(np.asarray(size, np.float64), max(LEAST * float(np.max(size)), 1e-30))


def key_scales(ranges: AttentionRanges) -> Array:
    """Factors that make a channel of queries, divided, and of keys, multiplied, equally large."""
    return np.asarray(np.sqrt(_positive(ranges.q) / _positive(ranges.k)))


def value_scales(ranges: AttentionRanges) -> Array:
    """Factors by which values are divided and the inputs of `proj` multiplied; 1 on the (geometric) average."""
    scales = _positive(ranges.context) ** SHARE
    return np.asarray(scales / np.exp(np.log(scales).mean()))
