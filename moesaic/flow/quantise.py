"""What quantisation costs a network, layer by layer, in figures."""

import json
import math
from pathlib import Path
from typing import Any

from moesaic.flow.calibration import Calibration, doubted, shown
from moesaic.flow.quantised import load_float, quantised
from moesaic.flow.request import Request
from moesaic.flow.stages import Stages
from moesaic.golden import quantfile
from moesaic.golden.evaluation.agreement import agreement
from moesaic.golden.evaluation.beyond import beyond_calibration
from moesaic.golden.evaluation.sensitivity import Cost, sensitivity, tensor_noise
from moesaic.golden.memory import kept_memory
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import prepared
from moesaic.golden.saturation import Saturation
from moesaic.golden.threads import one_thread

__all__ = ["MARKER", "quantise", "save"]

MARKER = "quantise.json"  # by which a result folder is known
_NETWORK = "network.safetensors"
_TOKENS = (
    1056  # that every rounding alone is measured on, or as near as whole images come: 8 of m3vit-tiny, 1 of m3vit-small
)
_NAMED = 8  # layers to spend bits on, at most
_WORTH = 0.03  # of all noise, or of all tokens: less is not worth bits


def _decibels(noise: float) -> float | None:
    """Of a ratio of noise to power; None for no noise at all."""
    return -10 * math.log10(noise) if noise > 0 else None


def _blocks(rows: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row for each block: of each figure the worst over the tasks."""
    result = []
    for together in zip(*rows.values(), strict=True):
        routed = [row["routing_agreement"] for row in together if row["routing_agreement"] is not None]
        result.append(
            {
                "name": together[0]["name"],
                "kind": together[0]["kind"],
                "sqnr_db": min(row["sqnr_db"] for row in together),
                "cosine": min(row["cosine"] for row in together),
                "routing_agreement": min(routed) if routed else None,
            }
        )
    return result


def _layers(costs: list[Cost], noise: dict[tuple[int, str], float]) -> list[dict[str, Any]]:
    whole = sum(cost.noise for cost in costs) or 1.0
    return [
        {
            "name": f"blocks.{cost.block}.{cost.part}",
            "sqnr_db": _decibels(noise[cost.block, cost.part]) if (cost.block, cost.part) in noise else None,
            "alone_db": _decibels(cost.noise),
            "share": cost.noise / whole,
            "rerouted": cost.rerouted,
        }
        for cost in costs
    ]


def _spend(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Layers that more bits would help most, the best first."""
    worth = [row for row in layers if row["share"] >= _WORTH or row["rerouted"] >= _WORTH / 3]
    worth.sort(key=lambda row: -max(row["share"], 3 * row["rerouted"]))
    return [{key: row[key] for key in ("name", "share", "rerouted")} for row in worth[:_NAMED]]


@one_thread()
def quantise(
    request: Request, stages: Stages, *, seen: Calibration | None = None, cache: Path | None = None
) -> tuple[QuantModel, dict[str, Any]]:
    """Quantise (or find in the cache) and measure.

    Returns
    -------
    QuantModel
    dict
        `blocks`: on the images to judge by, of each SQNR of the integers against float (decibels), cosine, fraction of
        tokens that are routed alike, the worst of all tasks. `tasks`: the same of each. `layers`: on the first
        `layers_measured_on` of these images, of each rounding the SQNR of the tensor with all roundings on (None for
        weights), the SQNR of the block's output if it were the only one, its share of the sum of all those errors, and
        the fraction of tokens that it sends to other experts. `spend`: the layers that more bits would help most.
        `finer`: layers that were given more bits (`golden.finer.FinerLayer`).
        `beyond_calibration`: how far the images to judge by lie from those that steps were chosen by.

    Raises
    ------
    ImageError, CalibrationError, WeightError, InputError
    """
    seen = shown(request, stages) if seen is None else seen
    with stages.stage("weights", f"float {request.model.name}"):
        network = load_float(request)
    with stages.stage("quantise", "calibration and quantisation"):
        made = quantised(network, request, cache=cache, seen=seen, note=stages.note)
        stages.note("from the cache" if made.found else "")
    qmodel = made.model
    seen, saturation = doubted(seen, qmodel, stages), Saturation()
    tasks = {}
    with kept_memory():
        with stages.stage("agreement", f"integers against float, {seen.unseen_source}"):
            for task in request.model.tasks:
                tasks[task] = agreement(
                    network.model,
                    qmodel,
                    seen.unseen,
                    task,
                    key_block=request.accelerator.rows,
                    probability_bits=request.accelerator.probability_width,
                    saturation=saturation,
                    note=stages.note,
                )
            beyond = beyond_calibration(network.model, seen.images, seen.unseen, saturation)
        few = seen.unseen[: max(1, _TOKENS // request.model.tokens)]
        with stages.stage("layers", f"every rounding alone, {len(few)} of these images"):
            stages.note("all together")
            model = prepared(network.model, seen.images, wide=qmodel.wide)
            noise = tensor_noise(model, qmodel, few)
            layers = _layers(sensitivity(model, qmodel, few, note=stages.note), noise)
    blocks = _blocks(tasks)
    routed = [row["routing_agreement"] for row in blocks if row["routing_agreement"] is not None]
    return qmodel, {
        "model": request.model.name,
        "weights": network.kind,
        "widths": request.widths,
        "finer": [row.to_dict() for row in made.finer],
        "recentred": request.recentre,
        "reconstructed": request.reconstruct,
        **seen.to_dict(),
        "measured_on": seen.unseen_source,
        "layers_measured_on": len(few),
        "beyond_calibration": beyond,
        "sqnr_db": min(row["sqnr_db"] for row in blocks),
        "routing_agreement": min(routed) if routed else None,
        "blocks": blocks,
        "tasks": tasks,
        "layers": layers,
        "spend": _spend(layers),
    }


def save(qmodel: QuantModel, report: dict[str, Any], folder: Path) -> None:
    """Write the quantised network and the figures."""
    quantfile.save(qmodel, folder / _NETWORK)
    (folder / MARKER).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
