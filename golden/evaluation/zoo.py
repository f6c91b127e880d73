"""How well networks with awkward weights are quantised, beside what 8 bits reach in a float simulation.

python -m moesaic.golden.evaluation.zoo [EXHIBIT ...] [--write FILE]
"""

import argparse
import statistics
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from moesaic.golden.calibrate import calibration_images
from moesaic.golden.evaluation.awkward import EXHIBITS, Exhibit
from moesaic.golden.evaluation.metrics import Distance
from moesaic.golden.evaluation.page import write_between
from moesaic.golden.evaluation.simulation import CLIPS, simulated
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.quantize import quantize
from moesaic.golden.threads import one_thread
from moesaic.golden.training.scenes import render_batch

__all__ = ["BEGIN", "END", "MARGIN_DB", "SETTINGS", "Row", "judge", "main", "median_lead", "table"]

UNSEEN, TOKENS = 16, 1040  # rendered scenes that no step was chosen by, and their tokens, at most; 4 at least
KEY_BLOCK = 64
MARGIN_DB = 1.0  # of the simulation over the integers, at most
SETTINGS = {
    ("min–max" if clip == 1 else f"{100 * clip:g} %") + (", gains folded" if folded else ""): (clip, folded)
    for folded in (True, False)
    for clip in CLIPS
}
"""Of the simulation, by the name that the table has for them: share of magnitudes not clipped, gains folded or not."""
BEGIN, END = "<!-- zoo -->", "<!-- end of zoo -->"


@dataclass(frozen=True)
class Row:
    """What an exhibit was found to keep.

    Parameters
    ----------
    name, what : str
    integers, simulation : float
        SQNR of the last block's residual against float over unseen images and all tasks, decibels: of the integer model
        with the usual calibration, and of the best float simulation on the same images.
    setting : str
        Which simulation that was.
    """

    name: str
    what: str
    integers: float
    simulation: float
    setting: str

    @property
    def lead(self) -> float:
        """By how much the integers are better, decibels."""
        return self.integers - self.simulation


def _distance(wanted: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> float:
    distance = Distance()
    for a, b in zip(wanted, found, strict=True):
        distance.add(a.numpy(), b.numpy())
    return distance.sqnr_db


@one_thread()
@torch.no_grad()
def judge(name: str, exhibit: Exhibit, settings: Collection[str] = SETTINGS) -> Row:
    """Quantise an exhibit and compare with the best of these simulations."""
    model = exhibit.model()
    network = model.network
    few = min(max(TOKENS // network.tokens, 4), UNSEEN)
    seen, unseen = calibration_images(network), render_batch(range(few), network.image.size)[0]
    qmodel = quantize(model, seen, weights="seeded")
    wanted = [model(unseen, task)[-1] for task in network.tasks]
    integer, step = IntM3ViT(qmodel, KEY_BLOCK), qmodel.blocks[-1].residual_step
    found = [
        torch.stack([torch.from_numpy(integer.run(image, task)[-1] * step) for image in unseen])
        for task in network.tasks
    ]
    best, which = max(
        (_distance(wanted, simulated(model, qmodel, seen, unseen, clip, folded=folded)), setting)
        for setting, (clip, folded) in SETTINGS.items()
        if setting in settings
    )
    return Row(name, exhibit.what, _distance(wanted, found), best, which)


def median_lead(rows: Sequence[Row]) -> float:
    """Median over the exhibits, decibels."""
    return statistics.median(row.lead for row in rows)


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| network | weights | integers, dB | best simulation, dB | lead, dB | that simulation |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row.name} | {row.what} | {row.integers:.1f} | {row.simulation:.1f} | {row.lead:+.1f} | {row.setting} |"
        )
    return "\n".join([*lines, "", f"Median lead: {median_lead(rows):+.1f} dB."])


def main(arguments: Sequence[str] | None = None, note: Callable[[str], None] = print) -> None:
    """Print the table, and write it into a page between `BEGIN` and `END` if wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("exhibits", nargs="*", metavar="EXHIBIT", help="some of: " + ", ".join(EXHIBITS))
    parser.add_argument("--write", type=Path, help="page to write the table into")
    options = parser.parse_args(arguments)
    wrong = [name for name in options.exhibits if name not in EXHIBITS]
    if wrong:
        parser.error(f"exhibits must be some of {', '.join(EXHIBITS)}, not {wrong[0]!r}")
    rows = []
    for name in options.exhibits or EXHIBITS:
        rows.append(judge(name, EXHIBITS[name]))
        note(f"{name}: {rows[-1].integers:.1f} dB, simulation {rows[-1].simulation:.1f} dB ({rows[-1].setting})")
    note(table(rows))
    if options.write is not None:
        write_between(options.write, BEGIN, END, table(rows))


if __name__ == "__main__":
    main()
