"""What quantisation costs a network, layer by layer, in figures."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from moesaic.flow.calibration import Calibration, covering, doubted, shown
from moesaic.flow.quantise_report import (
    Beyond,
    BlockAgreement,
    LayerCost,
    LayerWorth,
    QuantiseReport,
    SkippedFile,
)
from moesaic.flow.quantised import load_float, quantised
from moesaic.flow.request import Request
from moesaic.flow.stages import Stages
from moesaic.golden.evaluation.agreement import agreement
from moesaic.golden.evaluation.beyond import beyond_calibration
from moesaic.golden.evaluation.sensitivity import Cost, sensitivity, tensor_noise
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.memory import kept_memory
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import prepared
from moesaic.golden.saturation import Saturation
from moesaic.golden.threads import one_thread

__all__ = ["quantise"]

_TOKENS = (
    1056  # that every rounding alone is measured on, or as near as whole images come: 8 of m3vit-tiny, 1 of m3vit-small
)
_NAMED = 8  # layers to spend bits on, at most
_WORTH = 0.03  # of all noise, or of all tokens: less is not worth bits


def _decibels(noise: float) -> float | None:
    """Of a ratio of noise to power; None for no noise at all."""
    return -10 * math.log10(noise) if noise > 0 else None


def _blocks(rows: Mapping[str, Sequence[BlockAgreement]]) -> tuple[BlockAgreement, ...]:
    """A row for each block: of each figure the worst over the tasks."""
    result = []
    for together in zip(*rows.values(), strict=True):
        result.append(
            BlockAgreement(
                name=together[0].name,
                kind=together[0].kind,
                sqnr_db=min(row.sqnr_db for row in together),
                cosine=min(row.cosine for row in together),
                routing_agreement=_least_routed(together),
            )
        )
    return tuple(result)


def _least_routed(rows: Sequence[BlockAgreement]) -> float | None:
    return min((row.routing_agreement for row in rows if row.routing_agreement is not None), default=None)


def _layers(costs: list[Cost], noise: dict[tuple[int, str], float]) -> tuple[LayerCost, ...]:
    whole = sum(cost.noise for cost in costs) or 1.0
    return tuple(
        LayerCost(
            name=f"blocks.{cost.block}.{cost.part}",
            sqnr_db=_decibels(noise[cost.block, cost.part]) if (cost.block, cost.part) in noise else None,
            alone_db=_decibels(cost.noise),
            share=cost.noise / whole,
            rerouted=cost.rerouted,
        )
        for cost in costs
    )


def _spend(layers: Sequence[LayerCost]) -> tuple[LayerWorth, ...]:
    """Layers that more bits would help most, the best first."""
    worth = [row for row in layers if row.share >= _WORTH or row.rerouted >= _WORTH / 3]
    worth.sort(key=lambda row: -max(row.share, 3 * row.rerouted))
    return tuple(LayerWorth(name=row.name, share=row.share, rerouted=row.rerouted) for row in worth[:_NAMED])


@one_thread()
def quantise(
    request: Request, stages: Stages, *, seen: Calibration | None = None, cache: Path | None = None
) -> tuple[QuantModel, QuantiseReport]:
    """Quantise (or find in the cache) and measure.

    Returns
    -------
    QuantModel
    QuantiseReport
        `blocks` and `tasks` are measured on the images to judge by, `layers` on the first `layers_measured_on` of them.

    Raises
    ------
    ImageError, CalibrationError, WeightError, InputError
    """
    seen = shown(request, stages) if seen is None else seen
    with stages.stage("weights", f"float {request.model.name}"):
        network = load_float(request)
    seen = covering(seen, network.model, stages)
    with stages.stage("quantise", "calibration and quantisation"):
        made = quantised(network, request, cache=cache, seen=seen, note=stages.note)
        stages.note("from the cache" if made.found else "")
    qmodel = made.model
    seen, saturation = doubted(seen, qmodel, stages), Saturation()
    tasks = dict[str, tuple[BlockAgreement, ...]]()
    with kept_memory():
        with stages.stage("agreement", f"integers against float, {seen.unseen_source}"):
            for task in request.model.tasks:
                integer = IntM3ViT.of(qmodel, request.accelerator)
                rows = agreement(network.model, integer, seen.unseen, task, saturation=saturation, note=stages.note)
                tasks[task] = tuple(BlockAgreement(**row) for row in rows)
            beyond = beyond_calibration(network.model, seen.images, seen.unseen, saturation)
        few = seen.unseen[: max(1, _TOKENS // request.model.tokens)]
        with stages.stage("layers", f"every rounding alone, {len(few)} of these images"):
            stages.note("all together")
            model = prepared(network.model, seen.images, wide=qmodel.wide)
            noise = tensor_noise(model, qmodel, few)
            layers = _layers(sensitivity(model, qmodel, few, note=stages.note), noise)
    blocks = _blocks(tasks)
    return qmodel, QuantiseReport(
        model=request.model.name,
        weights=network.kind,
        widths=request.widths,
        finer=tuple(made.finer),
        recentred=request.recentre,
        reconstructed=request.reconstruct,
        calibrated_on=seen.source,
        skipped=tuple(SkippedFile(file=name, reason=reason) for name, reason in seen.skipped),
        warnings=tuple(seen.warnings),
        measured_on=seen.unseen_source,
        layers_measured_on=len(few),
        beyond_calibration=Beyond(**beyond),
        sqnr_db=min(row.sqnr_db for row in blocks),
        routing_agreement=_least_routed(blocks),
        blocks=blocks,
        tasks=tasks,
        layers=layers,
        spend=_spend(layers),
        coverage=seen.coverage,
    )
