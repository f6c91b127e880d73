"""Float model to `QuantModel`: calibration, residual steps, patch embedding, then layer by layer."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from moesaic.errors import InputError
from moesaic.golden.balance import balanced
from moesaic.golden.calibrate import calibrate_layers, check_images, check_parameters, inference, residual_peaks
from moesaic.golden.embedding import quantise_embedding
from moesaic.golden.finer import NO_FINER
from moesaic.golden.hollow import check_finer
from moesaic.golden.layers.float_layer import FloatLayer
from moesaic.golden.layers.layer import QuantLayer
from moesaic.golden.layers.norm_float import finest_residual
from moesaic.golden.layers.quantiser import HEADROOM, LayerQuantiser, floats
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.network import check_runs
from moesaic.golden.qlinear import ACC_BITS, RANGES, WIDE_ACC_BITS
from moesaic.golden.qmodel import WEIGHTS, QuantBlock, QuantModel
from moesaic.golden.quantfile import load, save
from moesaic.golden.scales import METHODS
from moesaic.golden.threads import one_thread

__all__ = ["load", "prepared", "quantize", "residual_steps", "save"]

MAX_RESIDUAL_SHIFT = 7


def residual_steps(
    peaks: Sequence[float], *, finest: float = 1e-9, fixed: Collection[int] = frozenset()
) -> list[float]:
    """Steps of the residual before block 0 and after each block: each the one before times 1, 2, 4 and so on.

    No step is below `finest`: a residual of next to nothing needs none. Blocks in `fixed` leave the step as it is.
    """
    needed = [max(HEADROOM * peak / 32767, finest) for peak in peaks]
    # Steps grow by at most 2^7 at a time: early blocks are coarser where a later one grows faster than that.
    for i in range(len(needed) - 1, 0, -1):
        needed[i - 1] = max(needed[i - 1], needed[i] * (1.0 if i - 1 in fixed else 2.0**-MAX_RESIDUAL_SHIFT))
    steps = [needed[0]]
    for need in needed[1:]:
        growth = max(0, math.ceil(math.log2(need / steps[-1]) - 1e-12))
        steps.append(math.ldexp(steps[-1], growth))
    return steps


@one_thread()
def quantize(
    model: M3ViT,
    images: Any,
    *,
    weights: str,
    method: str = "mse",
    compensate: bool = True,
    acc_bits: int | None = None,
    expert_bits: int = 8,
    finer: Mapping[str, str] = NO_FINER,
    reconstruct: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> QuantModel:
    """Quantise a float model: activations and weights of 8 bits, the experts' weights of 4 if wanted; or all of 16.

    Layers can be made finer than the rest, each by itself.

    Parameters
    ----------
    model : M3ViT
    images : uint8 [n, channels, H, W]
        Calibration; every image is run for every task.
    weights : "trained", "seeded", "imported" or "partly seeded"
        Where the parameters come from, for reports.
    method : "mse", "percentile" or "minmax"
        How steps are chosen.
    compensate : bool
        Round weights with regard to their inputs in calibration, and correct the bias (better, and slower).
    acc_bits : int, optional
        Width of the accumulators that no layer may overflow: 27, or 40 with 16-bit operands, if left out.
    expert_bits : int
        Of the weights of experts: 8 or 4; or 16, which then is the width of all weights and activations.
    finer : mapping of name to str
        Layers that have more than 8 bits somewhere, and what (`linear.FINER`); of those that share their matrices, the
        owner's name stands for all.
    reconstruct : bool
        Fit second matrices of experts of 4 bits to what the first ones' integers give (`golden.reconstruct`).
    note : callable of str
        Told how far it is.

    Raises
    ------
    InputError
        If experts shall have 4 bits and there are none, a layer is for training alone, or cannot be finer in that
        way, a parameter is not finite, the images do not fit the model, or a layer does not fit the arithmetic (named).
    """
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if weights not in WEIGHTS:
        raise InputError(f"weights must be one of {', '.join(WEIGHTS)}, not {weights!r}")
    if expert_bits not in RANGES:
        raise InputError(f"expert_bits must be 16, 8 or 4, not {expert_bits!r}")
    network = model.network
    if expert_bits == 4 and not network.most_experts:
        raise InputError(f"expert_bits must be 8 for {network.name}, which has no experts, not {expert_bits!r}")
    check_runs(network)
    check_finer(network, finer)
    if acc_bits is None:
        acc_bits = WIDE_ACC_BITS if expert_bits > 8 or set(finer.values()) - {"planes"} else ACC_BITS
    images = np.asarray(images)
    check_images(images, network)
    check_parameters(model)
    with inference(model):
        return _quantised(
            model,
            images,
            weights=weights,
            method=method,
            compensate=compensate,
            acc_bits=acc_bits,
            expert_bits=expert_bits,
            finer=finer,
            reconstruct=reconstruct,
            note=note,
        )


def prepared(model: M3ViT, images: Any, *, wide: bool = False) -> M3ViT:
    """The float network whose tensors those of `quantize`, on the same images, stand for: a copy that computes as good
    as the same; `wide`: for operands of 16 bits.
    """
    with inference(model):
        return balanced(model, residual_peaks(model, np.asarray(images), wide=wide).ranges).eval()


def _quantised(
    model: M3ViT,
    images: Any,
    *,
    weights: str,
    method: str,
    compensate: bool,
    acc_bits: int,
    expert_bits: int,
    finer: Mapping[str, str],
    reconstruct: bool,
    note: Callable[[str], None],
) -> QuantModel:
    network = model.network
    note("how large everything becomes")
    peaks = residual_peaks(model, images, wide=expert_bits > 8)
    finest = max(1e-9, *(finest_residual(network.dim, node.norm.eps) for node in network.layers if node.norm))
    fixed = {block for block in range(network.depth) if not model.steps_of(block)[0].layer.rescales}
    steps = residual_steps([peaks.embed, *peaks.blocks], finest=finest, fixed=fixed)
    embedding = quantise_embedding(
        model, images, steps[0], method=method, compensate=compensate, acc_bits=acc_bits, bits=max(8, expert_bits)
    )
    model, old_step = balanced(model, peaks.ranges), steps[0]
    layers, waiting, noted = dict[str, QuantLayer](), dict[str, list[tuple[FloatLayer, LayerQuantiser]]](), -1
    members = Counter(node.owner for node in network.layers)
    for node, step, activity in zip(network.layers, model.steps(), calibrate_layers(model, images), strict=True):
        if step.block != noted:
            note(f"block {step.block + 1} of {network.depth}")
            noted = step.block
        gates = {}
        if step.layer.routes:
            folded = {task: model.folded_gate(step.block, task) for task in network.tasks}
            gates = {task: (floats(weight).T, floats(bias)) for task, (weight, bias) in folded.items()}
        quantiser = LayerQuantiser(
            step.norm,
            step.norm_name,
            activity,
            gates,
            old_step=old_step,
            step=steps[step.block + 1],
            method=method,
            compensate=compensate,
            acc_bits=acc_bits,
            expert_bits=expert_bits,
            sharing=node.sharing,
            finer="wide" if expert_bits > 8 else finer.get(node.owner),
            reconstruct=reconstruct,
        )
        old_step = steps[step.block + 1]
        # Matrices that several layers have in common are quantised when all of these have been seen.
        uses = waiting.setdefault(node.owner, [])
        uses.append((step.layer, quantiser))
        if len(uses) == members[node.owner]:
            common = uses[0][0].common(LayerQuantiser.together([use for _, use in uses]))
            layers |= {use.name: layer.quantise(use, common) for layer, use in waiting.pop(node.owner)}
    blocks = tuple(
        QuantBlock(name=block.name, layers=tuple(layers[node.name] for node in block.nodes), residual_step=step)
        for block, step in zip(network.blocks, steps[1:], strict=True)
    )
    return QuantModel(
        network=network,
        embed=embedding.embed,
        position=embedding.position,
        blocks=blocks,
        embed_step=steps[0],
        weights=weights,
        embed_norm=embedding.norm,
    )
