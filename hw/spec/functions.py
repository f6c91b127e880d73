"""What may happen to a finished accumulator: each function with how it may be used.

A new one is a line of `Function`, a row of `FUNCTIONS`, and its unit in `hw/functions`; an activation is a curve of
`hw.spec.curves` in place of a unit.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["FUNCTIONS", "Function", "Stationary", "Use", "functions_of", "functions_that"]


class Stationary(enum.IntEnum):
    """Where the stationary block comes from."""

    WEIGHTS = 0  # next block of the weight stream: `rows` output channels x `lanes` input channels
    KEYS = 1  # key/value memory, one row per key: `rows` keys x `lanes` channels
    VALUES = 2  # key/value memory, one lane per key: `rows` channels x `lanes` keys (the transpose, for free)


class Function(enum.IntEnum):
    """What happens to a finished accumulator."""

    INT8 = 0  # requantise to int8, write
    GELU = 1  # requantise to Q5.10, GELU, requantise to int8, write
    ADD = 2  # requantise to int16, (times the expert's score), add to the residual, update LayerNorm sums
    SOFTMAX = 3  # one block of scores: distances from its maximum, written as bytes, and the query's level
    ATTEND = 4  # requantise by 1/sum of the probabilities that were streamed to int8, write
    ROUTE = 5  # gate logits to the router: top-k, scores, expert queues
    RELU = 6  # as GELU, with ReLU; in any fixed point
    RELU2 = 7  # requantise to int16, ReLU, its square, shift, write
    SILU = 8  # as GELU, with SiLU
    SIGMOID = 9  # as GELU, with the sigmoid, of Q6.9


@dataclass(frozen=True, kw_only=True)
class Use:
    """How a MATMUL may use a function.

    Parameters
    ----------
    stationary : Stationary
        What it works on.
    written : bool
        The result goes to `dst_memory`.
    wide : bool
        `wide_result` has a meaning.
    expert : bool
        It may run for an expert's queue.
    tap : bool
        `tap` may go with it: its result leaves the activation memory alone.
    activation : str or None
        Its curve in `hw.spec.curves`: a function of one value that is rescaled by `scalar` and `post_shift`.
    squared : bool
        In place of `scalar` the activation is multiplied by itself.
    gate : bool
        `gated` has a meaning.
    option : str or None
        Setting of the configuration without which there is no unit for it.
    """

    stationary: Stationary = Stationary.WEIGHTS
    written: bool = False
    wide: bool = False
    expert: bool = False
    tap: bool = False
    activation: str | None = None
    squared: bool = False
    gate: bool = False
    option: str | None = None


def _activation(curve: str, *, squared: bool = False, option: str | None = None) -> Use:
    return Use(written=True, wide=True, expert=True, activation=curve, squared=squared, gate=not squared, option=option)


FUNCTIONS: Mapping[Function, Use] = MappingProxyType(
    {
        Function.INT8: Use(written=True, wide=True, expert=True, tap=True),
        Function.GELU: _activation("gelu"),
        Function.ADD: Use(expert=True),
        Function.SOFTMAX: Use(stationary=Stationary.KEYS),
        Function.ATTEND: Use(stationary=Stationary.VALUES, written=True, wide=True),
        Function.ROUTE: Use(wide=True, tap=True),
        Function.RELU: _activation("relu"),
        Function.RELU2: _activation("relu", squared=True),
        Function.SILU: _activation("silu", option="silu"),
        Function.SIGMOID: _activation("sigmoid", option="sigmoid"),
    }
)


def functions_of(config: object) -> tuple[Function, ...]:
    """Activations that a configuration has the units for."""
    return tuple(
        function
        for function, use in FUNCTIONS.items()
        if use.activation is not None and (use.option is None or getattr(config, use.option))
    )


def functions_that(name: str, value: object = True) -> tuple[Function, ...]:
    """Functions whose `Use` has `value` for its parameter `name`."""
    return tuple(function for function, use in FUNCTIONS.items() if getattr(use, name) == value)
