"""What quantisation costs a task on unseen scenes: `python -m moesaic.golden.evaluation.evaluate --model NAME`."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from moesaic.errors import InputError
from moesaic.golden import weights
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.config import PRESETS
from moesaic.golden.evaluation import metrics
from moesaic.golden.evaluation.agreement import CHOICES, Agreement
from moesaic.golden.gate import Routing
from moesaic.golden.heads import Heads
from moesaic.golden.hollow import check_finer
from moesaic.golden.image_io import write_image
from moesaic.golden.layers.linear import FINER
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.pictures import depth_picture, label_picture, sheet
from moesaic.golden.qmodel import DEFAULT_WIDTHS, WIDTHS, QuantModel
from moesaic.golden.quantize import quantize
from moesaic.golden.scales import METHODS
from moesaic.golden.threads import one_thread
from moesaic.golden.trace import Trace
from moesaic.golden.training.scenes import CLASSES, render_batch

__all__ = ["Seen", "evaluate", "write_sheet"]

COLUMNS = ("truth", "float", "integers")


@dataclass
class Seen:
    """The first scenes' maps, for pictures.

    Parameters
    ----------
    scenes : int
        How many to keep.

    Members
    -------
    images : uint8 [n, 3, H, W]
    maps : dict of task to dict
        By column (truth, float, integers): classes or metres, [n, H, W].
    """

    scenes: int
    images: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.uint8))
    maps: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


@one_thread()
@torch.no_grad()
def evaluate(
    model: M3ViT,
    heads: Heads,
    qmodel: QuantModel,
    *,
    scenes: int = 200,
    key_block: int = 64,
    quiet: bool = False,
    seen: Seen | None = None,
) -> dict[str, Any]:
    """Task metrics of the float and of the integer model on scenes 0..`scenes`, which no model is trained on.

    Parameters
    ----------
    key_block : int
        Keys that the accelerator takes at a time (its rows): part of the integer arithmetic.
    seen : Seen, optional
        Receives the first scenes' maps.

    Returns
    -------
    dict of task to dict
        Segmentation: `miou_float`, `miou_integer`, `difference_points` (integer minus float, hundredths), `same_pixels`
        (fraction with the same class). Depth: `rmse_float_m`, `rmse_integer_m`, `change_percent`. Both: `blocks`, how
        near the integers are to float after each (as `agreement.agreement` says), over all these scenes.
    """
    network = model.network
    integer = IntM3ViT(qmodel, key_block)
    step = qmodel.blocks[-1].residual_step
    images, labels, depths = render_batch(range(scenes), network.image.size)
    result: dict[str, Any] = {}
    for task in network.tasks:
        head = heads[task]
        by_float, by_integer, near = [], [], Agreement(qmodel)
        for image in track(images, description=task, disable=quiet, console=Console(stderr=True)):
            routings: list[Routing] = []
            outputs, trace = model(image, task, routings=routings), Trace(only=CHOICES)
            residuals = integer.run(image, task, trace=trace)
            near.add(outputs, routings, residuals, trace)
            by_float.append(head(outputs[-1]).numpy())
            by_integer.append(head(torch.from_numpy(residuals[-1] * np.float32(step))).numpy())
        a, b = np.stack(by_float), np.stack(by_integer)
        if seen is not None:
            few = slice(0, seen.scenes)
            seen.images = images[few]
            chosen = (depths, a, b) if task == "depth" else (labels, a.argmax(axis=1), b.argmax(axis=1))
            seen.maps[task] = {name: part[few] for name, part in zip(COLUMNS, chosen, strict=True)}
        if task == "depth":
            before, after = metrics.depth_rmse(a, depths), metrics.depth_rmse(b, depths)
            result[task] = {
                "rmse_float_m": before,
                "rmse_integer_m": after,
                "change_percent": 100 * (after / before - 1),
            }
        else:
            a, b = a.argmax(axis=1), b.argmax(axis=1)
            before, after = (metrics.mean_iou(metrics.confusion(x, labels, len(CLASSES))) for x in (a, b))
            result[task] = {
                "miou_float": before,
                "miou_integer": after,
                "difference_points": 100 * (after - before),
                "same_pixels": float((a == b).mean()),
            }
        result[task]["blocks"] = near.rows()
    return result


def _routed(rows: list[dict[str, Any]]) -> dict[str, float] | None:
    """Fraction of tokens that go to the experts they go to in float: over all mixtures, and in the worst."""
    alike = [row["routing_agreement"] for row in rows if row["routing_agreement"] is not None]
    return {"mean": float(np.mean(alike)), "worst": min(alike)} if alike else None


def write_sheet(path: Path, seen: Seen) -> None:
    """Write a PNG: a row for each scene; its image, then each task's map by the truth, by float, and by integers."""
    titles = ["image", *(f"{task}: {name}" for task in seen.maps for name in COLUMNS)]
    rows = []
    for i, image in enumerate(seen.images):
        row = [image]
        for task, maps in seen.maps.items():
            draw = depth_picture if task == "depth" else label_picture
            row += [draw(maps[name][i]) for name in COLUMNS]
        rows.append(row)
    write_image(path, sheet(titles, rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m moesaic.golden.evaluation.evaluate", description=__doc__)
    parser.add_argument("--model", default="m3vit-micro", choices=sorted(PRESETS), help="default: %(default)s")
    parser.add_argument("--method", default="mse", choices=METHODS, help="how scales are chosen (default: %(default)s)")
    parser.add_argument(
        "--widths",
        default=DEFAULT_WIDTHS,
        choices=WIDTHS,
        help="w4a8: 4-bit weights of experts; w16a16 (default: %(default)s)",
    )
    parser.add_argument(
        "--finer",
        nargs="*",
        default=[],
        metavar="LAYER=HOW",
        help=f"layers with more bits, such as blocks.0.mlp=activations; one of {', '.join(FINER)}",
    )
    parser.add_argument(
        "--reconstruct", action="store_true", help="fit second matrices of 4-bit experts to what integers give"
    )
    parser.add_argument("--scenes", type=int, default=200, help="unseen scenes (default: %(default)s)")
    parser.add_argument("--key-block", type=int, default=64, help="rows of the accelerator (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of weights, where there are no trained ones (default: %(default)s)"
    )
    parser.add_argument("--weights", type=Path, help="parameters (.safetensors) in place of the shipped ones")
    parser.add_argument("--out", type=Path, help="JSON file to write; else it is printed only")
    parser.add_argument(
        "--pictures", type=Path, help="PNG to write: maps of the first scenes, by float and by integers"
    )
    parser.add_argument("--rows", type=int, default=6, help="scenes in the picture (default: %(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Quantise, evaluate, and write JSON."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.scenes < 1:
        parser.error(f"scenes must be positive, not {options.scenes!r}")
    if options.rows < 1:
        parser.error(f"rows must be positive, not {options.rows!r}")
    try:
        model, heads, kind = weights.load(options.model, options.seed, options.weights)
    except (OSError, weights.WeightError) as error:
        parser.error(str(error))
    network = model.network
    if WIDTHS[options.widths] == 4 and not network.most_experts:
        parser.error(
            f"widths must be {DEFAULT_WIDTHS} for {network.name}, which has no experts, not {options.widths!r}"
        )
    finer = {name: how for name, _, how in (text.partition("=") for text in options.finer)}
    try:
        check_finer(network, finer)
    except InputError as error:
        parser.error(str(error))
    qmodel = quantize(
        model,
        calibration_images(network),
        weights=kind,
        method=options.method,
        expert_bits=WIDTHS[options.widths],
        finer=finer,
        reconstruct=options.reconstruct,
    )
    seen = Seen(options.rows)
    tasks = evaluate(model, heads, qmodel, scenes=options.scenes, key_block=options.key_block, seen=seen)
    blocks = {task: found.pop("blocks") for task, found in tasks.items()}
    result = {
        "model": network.name,
        "weights": kind,
        "method": options.method,
        "widths": options.widths,
        "finer": finer,
        "reconstruct": options.reconstruct,
        "scenes": options.scenes,
        "key_block": options.key_block,
        "tasks": tasks,
        "routing_agreement": {task: _routed(rows) for task, rows in blocks.items()},
        "blocks": blocks,
    }
    if options.pictures is not None:
        write_sheet(options.pictures, seen)
    text = json.dumps(result, indent=1)
    if options.out is not None:
        partial = options.out.with_name(options.out.name + ".partial")
        try:
            partial.write_text(text + "\n", encoding="utf-8")
            partial.replace(options.out)
        finally:
            partial.unlink(missing_ok=True)
    print(text)


if __name__ == "__main__":
    main()
