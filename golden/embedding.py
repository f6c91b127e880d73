"""The patch embedding from floats to integers, with the norm behind it if there is one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from moesaic.errors import InputError
from moesaic.golden.layers.activity import LayerActivity
from moesaic.golden.layers.embed_norm import EMBED_NORM, QuantEmbedNorm
from moesaic.golden.layers.linear import QuantLinear
from moesaic.golden.layers.norm_float import finest_residual
from moesaic.golden.layers.quantiser import HEADROOM, LayerQuantiser, floats
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.numerics import Array, IntArray
from moesaic.golden.ops_int import linear_int16, patch_vectors
from moesaic.golden.patch_matrix import patch_matrix
from moesaic.golden.qlinear import quantise_linear
from moesaic.golden.saturation import Saturation
from moesaic.golden.scales import FloatArray
from moesaic.golden.step_search import importance

__all__ = ["Embedding", "quantise_embedding"]


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Of a `QuantModel`, what stands before its blocks."""

    embed: QuantLinear
    position: IntArray
    norm: QuantEmbedNorm | None


def quantise_embedding(
    model: M3ViT, images: Any, step: float, *, method: str, compensate: bool, acc_bits: int, bits: int
) -> Embedding:
    """The patch embedding on `patch_vectors`, and what the residual of that step holds before it.

    Raises
    ------
    InputError
        If a position does not fit the residual's int16, or a matrix the arithmetic.
    """
    network, learnt = model.network, model.network.prefix_tokens
    flat, bias = patch_matrix(model)
    vectors = None
    if compensate:
        vectors = np.concatenate([patch_vectors(image, network)[learnt:] for image in images]).astype(np.float64)
    patches = _patches(model, images) if network.embed_norm is not None else []
    first = _step_before_norm(model, patches) if patches else step
    embed = quantise_linear(
        "embed", flat, bias, in_step=1.0, out_step=first, method=method, inputs=vectors, acc_bits=acc_bits, bits=bits
    )
    nothing = linear_int16(embed, np.zeros((learnt, flat.shape[1]), np.int64), Saturation())
    norm = None
    if patches:
        norm = _quantise_norm(
            model, patches, nothing, first, step, method=method, compensate=compensate, acc_bits=acc_bits, bits=bits
        )
        nothing = norm.run(np.zeros((learnt, network.dim), np.int64), Saturation())
    position = floats(model.pos_embed[0])
    position[:learnt] += floats(model.prefix()[0])
    return Embedding(embed=embed, position=_whole(position, step, nothing), norm=norm)


def _whole(position: FloatArray, step: float, nothing: Array) -> IntArray:
    """Positions [tokens, dim] in steps; of the first, learnt tokens what `nothing` makes of them is taken out."""
    whole = np.rint(position / step).astype(np.int64)
    whole[: len(nothing)] -= nothing
    if np.abs(whole).max() > 32767:
        raise InputError(f"embed: positions must fit int16 in residual steps, not {int(np.abs(whole).max())!r}")
    return whole.astype(np.int16)


@torch.no_grad()
def _patches(model: M3ViT, images: Any) -> list[Any]:
    """What the norm of the embedding reads, [patches, dim] of each image."""
    return [model.patches(model.normalise(torch.from_numpy(image)[None]))[0].numpy() for image in images]


def _step_before_norm(model: M3ViT, patches: list[Any]) -> float:
    """Step of the residual that the norm of the embedding reads."""
    assert model.embed_norm is not None and model.patch_pos is not None
    added = floats(model.patch_pos[0])
    peak = max(float(np.abs(added).max()), *(float(max(np.abs(x).max(), np.abs(x - added).max())) for x in patches))
    return max(HEADROOM * peak / 32767, finest_residual(model.network.dim, model.embed_norm.eps), 1e-9)


def _quantise_norm(
    model: M3ViT,
    patches: list[Any],
    nothing: Array,
    old_step: float,
    step: float,
    *,
    method: str,
    compensate: bool,
    acc_bits: int,
    bits: int,
) -> QuantEmbedNorm:
    assert model.embed_norm is not None and model.patch_pos is not None
    quantiser = LayerQuantiser(
        model.embed_norm,
        EMBED_NORM,
        LayerActivity(EMBED_NORM, -1, before=patches),
        {},
        old_step=old_step,
        step=step,
        method=method,
        compensate=compensate,
        acc_bits=acc_bits,
        expert_bits=bits,
        finer="wide" if bits > 8 else None,
    )
    gain, bias = np.diag(floats(model.embed_norm.weight)), floats(model.embed_norm.bias)
    norm, x = quantiser.norm(gain)
    stored = quantiser.stored_step(x, importance(gain))
    plain = quantiser.after_norm("plain", np.eye(len(gain)), np.zeros(len(gain)), norm, "planes", stored, None)
    learnt = np.concatenate([np.zeros((len(nothing), len(gain))), floats(model.patch_pos[0])])
    return QuantEmbedNorm(
        before=_whole(learnt, old_step, nothing),
        norm=norm,
        plain=plain,
        gain=quantiser.linear("gain", gain, bias, stored, step, None),
    )
