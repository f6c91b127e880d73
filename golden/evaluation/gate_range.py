"""What the range and the step of gates' logits cost, beside logits that have neither.

python -m moesaic.golden.evaluation.gate_range [FACTOR ...] [--write FILE]
"""

import argparse
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from moesaic.golden.calibrate import calibration_images
from moesaic.golden.config import network_of, preset
from moesaic.golden.evaluation.metrics import Distance
from moesaic.golden.evaluation.page import write_between
from moesaic.golden.m3vit import M3ViT, seeded
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.golden.threads import one_thread
from moesaic.golden.trace import Trace
from moesaic.golden.training.scenes import render_batch
from moesaic.hw.spec.tables import LOGIT_FRACTION_BITS

__all__ = ["BEGIN", "END", "FACTORS", "Row", "fidelity", "measure", "network", "table"]

FACTORS = (1.0, 18.0, 25.0)  # of the gates' weights
WIDTHS = {8: "W8A8", 16: "W16A16"}
SCENES, KEY_BLOCK, SEED = 2, 8, 3
BEGIN, END = "<!-- gates -->", "<!-- end of gates -->"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network in one width.

    Parameters
    ----------
    largest : float
        Logit, in natural units.
    bits, shift : int
        Of operands; by how many bits the gate's logits are coarser than the finest.
    sqnr_db, unbounded_db : float
        Of the residual against float, decibels; with logits of further bits that have no range.
    ties, tokens : int
        Tokens whose second and third expert have the same logit, of all.
    """

    largest: float
    bits: int
    shift: int
    sqnr_db: float
    unbounded_db: float
    ties: int
    tokens: int


def network(factor: float) -> M3ViT:
    """Two blocks of `m3vit-micro`'s sizes, seeded, one task, the weights of the gate times `factor`."""
    model = seeded(network_of(dataclasses.replace(preset("m3vit-micro"), depth=2, tasks=("semseg",))), SEED)
    for name, parameter in model.named_parameters():
        if name.endswith("w_gate"):
            parameter.data *= factor
    return model


@torch.no_grad()
def fidelity(model: M3ViT, qmodel: QuantModel, *, unbounded: bool, trace: Trace | None = None) -> float:
    """SQNR of the residual over scenes that were not calibrated on, decibels; `trace` is the first one's."""
    integer, distance, (task, *_) = IntM3ViT(qmodel, KEY_BLOCK), Distance(), model.network.tasks
    for seed, image in enumerate(render_batch(range(SCENES), model.network.image.size)[0]):
        wanted = model(image[None], task)[-1][0].numpy()
        found = integer.run(image, task, trace=trace if seed == 0 else None, unbounded=unbounded)[-1]
        distance.add(wanted, found * qmodel.blocks[-1].residual_step)
    return distance.sqnr_db


@one_thread()
def measure(model: M3ViT, bits: int) -> Row:
    """Quantise with operands of `bits` bits, and compare."""
    qmodel = quantize(model, calibration_images(model.network), weights="seeded", expert_bits=bits)
    trace = Trace(only=("gate.logits",))
    found = fidelity(model, qmodel, unbounded=False, trace=trace)
    (logits,), (gate,) = trace.values(), (m.linear for m in qmodel.matrices() if m.task is not None)
    ordered = np.sort(logits, axis=1)[:, ::-1]
    return Row(
        largest=float(np.abs(logits.astype(int)).max()) * gate.out_step,
        bits=bits,
        shift=round(np.log2(gate.out_step * np.log2(math.e))) + LOGIT_FRACTION_BITS,
        sqnr_db=found,
        unbounded_db=fidelity(model, qmodel, unbounded=True),
        ties=int((ordered[:, 1] == ordered[:, 2]).sum()),
        tokens=len(logits),
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = [
        "| logits | bits | shift | SQNR | without a range | ties between second and third expert |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        largest = f"{row.largest:.1f}" if row.largest < 10 else f"{row.largest:.0f}"
        lines.append(
            f"| ±{largest} | {WIDTHS[row.bits]} | {row.shift} | {row.sqnr_db:.2f} dB | {row.unbounded_db:.2f} dB | "
            f"{row.ties} of {row.tokens} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None, note: Callable[[str], None] = print) -> None:
    """Print the table, and write it into a page between `BEGIN` and `END` if wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("factors", nargs="*", type=float, metavar="FACTOR", help="of the gates' weights")
    parser.add_argument("--write", type=Path, help="page to write the table into")
    options = parser.parse_args(arguments)
    text = table([measure(network(factor), bits) for factor in options.factors or FACTORS for bits in WIDTHS])
    note(text)
    if options.write is not None:
        write_between(options.write, BEGIN, END, text)


if __name__ == "__main__":
    main()
