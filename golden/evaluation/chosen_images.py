"""What it is worth to choose images to calibrate on for the experts, against the first ones that are there.

python -m moesaic.golden.evaluation.chosen_images [CASE ...] [--data FILE] [--write PAGE]
"""

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moesaic.golden import weights
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.cover import Cover, choose_sufficient, expert_tokens
from moesaic.golden.evaluation.awkward import EXHIBITS
from moesaic.golden.evaluation.metrics import Distance
from moesaic.golden.evaluation.page import write_between
from moesaic.golden.image_choice import NEED
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.quantize import quantize
from moesaic.golden.threads import one_thread
from moesaic.golden.training.scenes import render_batch

__all__ = ["BEGIN", "CASES", "END", "MINIMA", "Case", "Row", "judge", "main", "read_rows", "table"]

POOL, UNSEEN, KEY_BLOCK = 4, 16, 64  # images to choose of, times those that are chosen; scenes to judge by
MINIMA = (32, 64)  # tokens of every expert
BEGIN, END = "<!-- choice -->", "<!-- end of choice -->"


@dataclass(frozen=True)
class Case:
    """A network and how many images it is calibrated on.

    Parameters
    ----------
    what : str
        For the table.
    model : callable
        Makes it.
    images : int
    """

    what: str
    model: Callable[[], M3ViT]
    images: int


CASES: dict[str, Case] = {
    "micro-32": Case("`m3vit-micro`, trained", lambda: weights.load("m3vit-micro")[0], 32),
    "micro-4": Case("`m3vit-micro`, trained", lambda: weights.load("m3vit-micro")[0], 4),
    "rare-32": Case("rare experts, of the zoo", EXHIBITS["rare experts"].model, 32),
    "rare-8": Case("rare experts, of the zoo", EXHIBITS["rare experts"].model, 8),
    "rare-4": Case("rare experts, of the zoo", EXHIBITS["rare experts"].model, 4),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case.

    Parameters
    ----------
    name : str
        In `CASES`.
    empty, thin : tuple of int
        Experts of each task without a token, and with fewer than `NEED`: of the first images, of as many next ones, and
        of those chosen for each of `MINIMA`.
    sqnr_db : tuple of float
        Of the last block's residual of the integers against float, over unseen scenes and all tasks, for the same.
    """

    name: str
    empty: tuple[int, ...]
    thin: tuple[int, ...]
    sqnr_db: tuple[float, ...]


@torch.no_grad()
def _fidelity(model: M3ViT, images: np.ndarray[Any, Any], unseen: np.ndarray[Any, Any]) -> float:
    qmodel, distance = quantize(model, images, weights="seeded"), Distance()
    integer, step = IntM3ViT(qmodel, KEY_BLOCK), qmodel.blocks[-1].residual_step
    for task in model.network.tasks:
        for image in unseen:
            distance.add(model(image, task)[-1].numpy(), integer.run(image, task)[-1] * step)
    return distance.sqnr_db


@one_thread()
def judge(name: str, case: Case, unseen: int = UNSEEN) -> Row:
    """Calibrate on each choice of images, and compare with float on `unseen` scenes."""
    model, count = case.model(), case.images
    pool = calibration_images(model.network, POOL * count)
    tokens = expert_tokens(model, pool)
    choices = [list(range(count)), list(range(count, 2 * count))]
    choices += [choose_sufficient(Cover(tokens, need), count) for need in MINIMA]
    scenes = render_batch(range(unseen), model.network.image.size)[0]
    found = {images: _fidelity(model, pool[list(images)], scenes) for images in dict.fromkeys(map(tuple, choices))}
    return Row(
        name=name,
        empty=tuple(Cover(tokens).unused(images) for images in choices),
        thin=tuple(int((Cover(tokens).of(images) < NEED).sum()) for images in choices),
        sqnr_db=tuple(round(found[tuple(images)], 2) for images in choices),
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    heads = ["the first", "the next", *(f"`experts:{need}`" for need in MINIMA)]
    lines = [f"| network | images | {' | '.join(heads)} |", "|---" * (2 + len(heads)) + "|"]
    for row in rows:
        ways = zip(row.sqnr_db, row.empty, row.thin, strict=True)
        cells = [f"{db:.1f} dB; {empty}, {thin}" for db, empty, thin in ways]
        lines.append(f"| {CASES[row.name].what} | {CASES[row.name].images} | {' | '.join(cells)} |")
    return "\n".join(lines)


def read_rows(path: Path) -> Iterator[Row]:
    """Rows of a data file, in the order of `CASES`."""
    rows = {row["name"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}
    for name in CASES:
        if name in rows:
            row = rows[name]
            yield Row(name=name, empty=tuple(row["empty"]), thin=tuple(row["thin"]), sqnr_db=tuple(row["sqnr_db"]))


def main(arguments: Sequence[str] | None = None, note: Callable[[str], None] = print) -> None:
    """Measure cases, write data and table where wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="some of: " + ", ".join(CASES))
    parser.add_argument("--data", type=Path, help="JSON file for the figures, those of other cases are kept")
    parser.add_argument("--write", type=Path, help="page to write the table into")
    options = parser.parse_args(arguments)
    if wrong := [name for name in options.cases if name not in CASES]:
        parser.error(f"cases must be some of {', '.join(CASES)}, not {wrong[0]!r}")
    rows = []
    for name in options.cases or CASES:
        rows.append(judge(name, CASES[name]))
        note(f"{name}: {rows[-1]}")
    if options.data is not None:
        known = {row.name: row for row in read_rows(options.data)} if options.data.is_file() else {}
        known |= {row.name: row for row in rows}
        data = {"rows": [dataclasses.asdict(row) for row in known.values()]}
        options.data.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        rows = list(read_rows(options.data))
    text = table(rows)
    note(text)
    if options.write is not None:
        write_between(options.write, BEGIN, END, text)


if __name__ == "__main__":
    main()
