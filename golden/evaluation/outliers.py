"""What options of training do to outliers, and what those cost in 8 bits: trains a small model with each, and measures.

python -m moesaic.golden.evaluation.outliers [VARIANT ...] [--steps N] [--data FILE] [--write PAGE]
"""

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moesaic.golden import weights
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.config import network_of, preset
from moesaic.golden.evaluation import metrics
from moesaic.golden.evaluation.metrics import Distance
from moesaic.golden.evaluation.page import write_between
from moesaic.golden.evaluation.simulation import simulated
from moesaic.golden.heads import Heads
from moesaic.golden.hollow import hollow_model
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.quantize import quantize
from moesaic.golden.threads import one_thread
from moesaic.golden.trained_with import TrainedWith, trained_with
from moesaic.golden.training.scenes import CLASSES, render_batch
from moesaic.golden.training.train import main as train

__all__ = ["BEGIN", "END", "VARIANTS", "Row", "Variant", "main", "measure", "peak_and_kurtosis", "read_rows", "table"]

MODEL, STEPS, BATCH, SCENES, KEY_BLOCK = "m3vit-micro", 250, 4, 64, 8
BEGIN, END = "<!-- outliers -->", "<!-- end of outliers -->"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to train.

    Parameters
    ----------
    what : str
        For the table.
    chosen : TrainedWith
    """

    what: str
    chosen: TrainedWith = field(default_factory=TrainedWith)

    @property
    def words(self) -> list[str]:
        """Arguments of a training, without the recipe's own loss on outliers."""
        chosen = self.chosen
        given = {"--clipped-softmax": chosen.clipped_softmax, "--registers": chosen.registers, "--outlier-loss": 0}
        words = [f"{name}={value}" for name, value in given.items() if value is not None]
        return words + ["--gated-attention"] * chosen.head_gates


VARIANTS: dict[str, Variant] = {
    "vanilla": Variant(what="nothing"),
    "clipped": Variant(what="`--clipped-softmax -0.03`", chosen=TrainedWith(clipped_softmax=-0.03)),
    "gates": Variant(what="`--gated-attention`", chosen=TrainedWith(head_gates=True)),
    "registers": Variant(what="`--registers 4`", chosen=TrainedWith(registers=4)),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trained network on unseen scenes, all tasks.

    Parameters
    ----------
    name : str
        In `VARIANTS`.
    peaks : tuple of float
        Infinity norm of the residual behind each block: mean over images and tasks of the largest magnitude.
    kurtosis : float
        Of all values of the residual behind a block, mean over the blocks; 3 of a normal distribution.
    miou, rmse_m : float
        Of floats.
    sqnr_db, miou_8, rmse_m_8 : float
        Of 8 bits simulated in the plain way: range of a tensor from least to largest, gains of norms not folded.
    integers_db : float or None
        SQNR of the integers of this project; None where they do not run it.
    """

    name: str
    peaks: tuple[float, ...]
    kurtosis: float
    miou: float
    rmse_m: float
    sqnr_db: float
    miou_8: float
    rmse_m_8: float
    integers_db: float | None


def peak_and_kurtosis(x: torch.Tensor) -> tuple[float, float]:
    """Mean over images of the largest magnitude, and fourth moment over the square of the second, of [B, tokens, dim].

    Kurtosis is over all values together, as in Bondarenko, Nagel, Blankevoort, NeurIPS 2023.
    """
    apart = x.double() - x.double().mean()
    kurtosis = apart.pow(4).mean() / apart.square().mean().square()
    return float(x.abs().flatten(1).amax(dim=1).mean()), float(kurtosis)


def _scores(heads: Heads, outputs: Sequence[torch.Tensor], labels: Any, depths: Any) -> tuple[float, float]:
    """MIoU and depth RMSE of the last block's outputs of both tasks."""
    maps = {task: heads[task](x).numpy() for task, x in zip(heads, outputs, strict=True)}
    matrix = metrics.confusion(maps["semseg"].argmax(axis=1), labels, len(CLASSES))
    return metrics.mean_iou(matrix), metrics.depth_rmse(maps["depth"], depths)


def _decibels(wanted: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> float:
    distance = Distance()
    for a, b in zip(wanted, found, strict=True):
        distance.add(a.numpy(), b.numpy())
    return distance.sqnr_db


def _integers(model: M3ViT, seen: np.ndarray[Any, Any], unseen: np.ndarray[Any, Any]) -> list[torch.Tensor]:
    """Outputs of the last block of this project's integers, of each task."""
    qmodel = quantize(model, seen, weights="trained")
    run, step = IntM3ViT(qmodel, KEY_BLOCK), qmodel.blocks[-1].residual_step
    tasks = model.network.tasks
    return [torch.stack([torch.from_numpy(run.run(x, task)[-1] * step) for x in unseen]) for task in tasks]


@one_thread()
@torch.no_grad()
def measure(name: str, path: Path, scenes: int = SCENES) -> Row:
    """The network in a file of weights, on `scenes` rendered scenes that no training has seen."""
    model, heads, _ = weights.load(MODEL, path=path)
    network, chosen = model.network, trained_with(path, MODEL)
    seen, (unseen, labels, depths) = calibration_images(network), render_batch(range(scenes), network.image.size)
    blocks = [model(unseen, task) for task in network.tasks]
    found = [peak_and_kurtosis(torch.cat(parts)) for parts in zip(*blocks, strict=True)]
    wanted = [parts[-1] for parts in blocks]
    plain = dataclasses.replace(chosen, clipped_softmax=None, head_gates=False)  # names and sizes of the same
    hollow = hollow_model(network_of(plain.network(preset(MODEL))))
    rounded = simulated(model, hollow, seen, unseen, 1.0, folded=False)
    floats, eight = (_scores(heads, outputs, labels, depths) for outputs in (wanted, rounded))
    runs = plain == chosen
    return Row(
        name=name,
        peaks=tuple(round(peak, 3) for peak, _ in found),
        kurtosis=round(float(np.mean([kurtosis for _, kurtosis in found])), 3),
        miou=round(floats[0], 4),
        rmse_m=round(floats[1], 3),
        sqnr_db=round(_decibels(wanted, rounded), 2),
        miou_8=round(eight[0], 4),
        rmse_m_8=round(eight[1], 3),
        integers_db=round(_decibels(wanted, _integers(model, seen, unseen)), 2) if runs else None,
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| trained with | largest magnitude | kurtosis | mIoU, RMSE | 8 bits, simulated | mIoU, RMSE | integers |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        integers = "does not run" if row.integers_db is None else f"{row.integers_db:.1f} dB"
        lines.append(
            f"| {VARIANTS[row.name].what} | {max(row.peaks):.1f} | {row.kurtosis:.1f} | {row.miou:.3f}, "
            f"{row.rmse_m:.2f} m | {row.sqnr_db:.1f} dB | {row.miou_8:.3f}, {row.rmse_m_8:.2f} m | {integers} |"
        )
    return "\n".join(lines)


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a data file, in the order of `VARIANTS`."""
    rows = {row["name"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}
    for name in VARIANTS:
        if name in rows:
            yield Row(**{**rows[name], "peaks": tuple(rows[name]["peaks"])})


def _is_of(path: Path, steps: int) -> bool:
    """Whether a data file is there, and its networks were trained for so long."""
    return path.is_file() and bool(json.loads(path.read_text(encoding="utf-8"))["steps"] == steps)


def _trained(name: str, work: Path, steps: int) -> Path:
    """Weights of a variant; trained if they are not there."""
    folder = work / f"{name}-{steps}"
    path = folder / f"{MODEL}{VARIANTS[name].chosen.suffix}.safetensors"
    if not path.is_file():
        places = ["--out", str(folder), "--work", str(folder)]
        length = ["--steps", str(steps), "--batch", str(BATCH), "--threads", "1"]
        train(["--model", MODEL, *length, *places, *VARIANTS[name].words])
    return path


def main(arguments: Sequence[str] | None = None, note: Callable[[str], None] = print) -> None:
    """Train what is not there yet, measure, write data and table where wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="some of: " + ", ".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=STEPS, help="updates of each (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("out/outliers"), help="weights (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="JSON file for figures; it keeps those of other variants")
    parser.add_argument("--write", type=Path, help="page to write the table into")
    options = parser.parse_args(arguments)
    if wrong := [name for name in options.variants if name not in VARIANTS]:
        parser.error(f"variants must be some of {', '.join(VARIANTS)}, not {wrong[0]!r}")
    if options.steps < 1:
        parser.error(f"steps must be positive, not {options.steps!r}")
    rows = []
    for name in options.variants or VARIANTS:
        rows.append(measure(name, _trained(name, options.work, options.steps)))
        note(f"{name}: {rows[-1]}")
    if options.data is not None:
        known = {row.name: row for row in read_rows(options.data)} if _is_of(options.data, options.steps) else {}
        known |= {row.name: row for row in rows}
        data = {"model": MODEL, "steps": options.steps, "rows": [dataclasses.asdict(row) for row in known.values()]}
        options.data.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        rows = list(read_rows(options.data))
    text = table(rows)
    note(text)
    if options.write is not None:
        write_between(options.write, BEGIN, END, text)


if __name__ == "__main__":
    main()
