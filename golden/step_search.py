"""Steps chosen by what they do to the layer that follows, not to the tensor itself."""

from collections.abc import Callable
from typing import Any

import numpy as np

from moesaic.golden.scales import TOP, FloatArray, tensor_step

__all__ = ["context_error", "importance", "refined", "step_for"]

Array = np.ndarray[Any, Any]

COARSE, FINE = np.geomspace(0.03, 2.5, 12), np.geomspace(0.75, 1.33, 8)  # of the first guess, of the best of these
ROWS = 2048  # of a tensor that are looked at
QUERIES = 96  # of a head and image
RUNS = 6  # images


def refined(first: float, peak: float, error: Callable[[float], float], *, top: int = TOP) -> float:
    """The step with the least `error`, near `first` and not beyond what holds `peak`; `first` among equals."""
    if not peak:
        return first
    best, least = first, error(first)
    for factors in (COARSE, FINE):
        for step in np.unique(np.minimum(best * factors, peak / top)):
            value = error(float(step))
            if value < least:
                best, least = float(step), value
    return best


def rounded(x: FloatArray, step: float, *, top: int = TOP) -> FloatArray:
    """What integers up to `top` of that step hold."""
    return np.asarray(np.clip(np.rint(x / step), -top - 1, top) * step)


def importance(weight: FloatArray) -> FloatArray:
    """What the matrices [..., out, in] make of an error of 1 in each input: [in], the squares of all outputs
    added up.
    """
    return np.asarray(np.square(weight).reshape(-1, weight.shape[-1]).sum(axis=0))


def step_for(x: Array, matters: FloatArray, method: str, *, top: int = TOP) -> float:
    """Step of a tensor [n, in] whose channels matter as much as `matters` [in] says (`importance`).

    `mse`: the least squared error of the products to come, its mean aside (the bias takes it up), as if errors
    of different channels had nothing to do with each other. Other methods look at the tensor only, and so does this one
    where tokens differ by less than any step holds.
    """
    first = tensor_step(x, method, top=top)
    if method != "mse" or not len(x):
        return first
    few = np.asarray(x[:: -(-len(x) // ROWS)], np.float64)

    def error(step: float) -> float:
        return float((rounded(few, step, top=top) - few).var(axis=0) @ matters)

    step = refined(first, float(np.abs(x).max()), error, top=top)
    # Where no step holds what varies, clipping costs nothing, and the search would end at the finest.
    return step if error(step) < float(few.var(axis=0) @ matters) / 2 else first


def _softmax(scores: FloatArray) -> FloatArray:
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def context_error(
    q: list[Array], k: list[Array], v: list[Array], heads: int
) -> Callable[[float | None, float | None], float]:
    """Squared error of the context as a function of the steps of queries and keys (None: not rounded).

    Looks at a few runs (arrays [tokens, dim]) and queries.
    """

    def split(x: Array) -> FloatArray:
        return np.asarray(x, np.float64).reshape(len(x), heads, -1).transpose(1, 0, 2)  # [heads, tokens, head_dim]

    samples = []
    for run in range(0, len(q), -(-len(q) // RUNS)):
        some, keys, values = split(q[run][:: -(-len(q[run]) // QUERIES)]), split(k[run]), split(v[run])
        scale = keys.shape[2] ** -0.5
        samples.append((some * scale, keys, values, _softmax(some @ keys.transpose(0, 2, 1) * scale) @ values, scale))

    def error(q_step: float | None, k_step: float | None) -> float:
        total = 0.0
        for some, keys, values, wanted, scale in samples:
            a = some if q_step is None else rounded(some, q_step * scale)
            b = keys if k_step is None else rounded(keys, k_step)
            total += float(np.square(_softmax(a @ b.transpose(0, 2, 1)) @ values - wanted).sum())
        return total

    return error
