"""LayerNorm and RMSNorm in floats, and how they are quantised."""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from moesaic.errors import InputError
from moesaic.golden.layers.norm import QuantNorm
from moesaic.golden.layers.sizes import NormSizes
from moesaic.golden.scales import FloatArray, mult_shift
from moesaic.hw.spec.tables import STREAMED_SHIFT

__all__ = ["FloatNorm", "finest_residual", "plain_norm", "quantise_norm"]

EPSILON_BITS = 40  # of a norm's epsilon, in squared residual steps


def plain_norm(x: torch.Tensor, sizes: NormSizes) -> torch.Tensor:
    """Vectors [..., n] behind a norm without gain and offset."""
    norm = F.layer_norm if sizes.centred else F.rms_norm
    return norm(x, x.shape[-1:], eps=sizes.eps)


class FloatNorm(nn.LayerNorm):
    """A norm of tokens with gain and offset, both always there: LayerNorm (Ba et al. 2016), or RMSNorm (Zhang &
    Sennrich 2019), which subtracts no mean.

    Parameters
    ----------
    dim : int
        Channels of a token.
    sizes : NormSizes
    """

    def __init__(self, dim: int, sizes: NormSizes) -> None:
        super().__init__(dim, eps=sizes.eps)
        self.sizes = sizes

    def plain(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens [..., dim] without gain and offset."""
        return plain_norm(x, self.sizes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.sizes.centred:
            return super().forward(x)
        return self.plain(x) * self.weight + self.bias

    def rows(self, x: Any) -> FloatArray:
        """`plain` of rows [tokens, dim] in float64."""
        x = np.asarray(x, np.float64)
        if self.sizes.centred:
            x = x - x.mean(axis=1, keepdims=True)
        return np.asarray(x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + self.eps))


def finest_residual(dim: int, eps: float) -> float:
    """The finest step of a residual whose norms still hold `eps` in squared steps."""
    return dim * math.sqrt(eps / ((1 << EPSILON_BITS) - 1)) * (1 + 1e-9)


def quantise_norm(name: str, sizes: NormSizes, dim: int, *, residual_step: float, step: float) -> QuantNorm:
    """Constants of a norm on a residual of that step, of whose output one pass is to take units of about `step`.

    Raises
    ------
    InputError
        If a constant does not fit its instruction field.
    """
    step = max(step, dim / 65534)  # of a wide model, what the multiplier can do
    scale, shift = mult_shift(dim / (2 * step), name=f"{name}: dim / step")
    shift += 3 - STREAMED_SHIFT
    if not 0 <= shift <= 36:
        raise InputError(f"{name}: shift must be from 0 to 36, not {shift!r}")
    epsilon = max(1, round(dim**2 * sizes.eps / residual_step**2))
    if epsilon >= 1 << EPSILON_BITS:
        raise InputError(
            f"{name}: epsilon must be below 2^{EPSILON_BITS} in squared residual steps, not {epsilon!r}: use coarser "
            f"steps or a smaller eps"
        )
    return QuantNorm(
        name=name,
        dim=dim,
        scale=scale,
        shift=shift,
        epsilon=epsilon,
        step=dim / math.ldexp(scale, 4 - shift),
        centred=sizes.centred,
    )
