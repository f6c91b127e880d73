"""What a captured module returns: made on the host from the accelerator's tokens, against the float network's."""

from collections.abc import Sequence

import numpy as np
import torch

from moesaic.flow.execute import TaskOutcome
from moesaic.flow.program import Program
from moesaic.golden.frontend.head import Head
from moesaic.report.likeness import OutputLine, likeness

__all__ = ["module_outputs"]


@torch.no_grad()
def module_outputs(
    program: Program, outcomes: Sequence[TaskOutcome], images: np.ndarray
) -> dict[str, tuple[OutputLine, ...]]:
    """For each item of a captured module, a line for each output that its head computes.

    Returns
    -------
    dict of item (`Item.label`) to tuple of OutputLine
        Empty if not all blocks were run, or if the model was not captured.
    """
    network = program.network
    if network is None or not program.request.whole:
        return {}
    step = np.float32(program.qmodel.blocks[-1].residual_step)
    heads, found = network.heads, dict[str, tuple[OutputLine, ...]]()
    for item, output in (each for outcome in outcomes for each in outcome.outputs):
        head = heads.get(item.task)
        if not isinstance(head, Head) or output is None:
            continue
        mine = head(torch.from_numpy(output * step))
        reference = head(network.model(images[item.image], item.task)[-1])
        found[item.label(len(images))] = tuple(
            _line(number, _numpy(a), _numpy(b)) for number, a, b in zip(head.outputs, mine, reference, strict=True)
        )
    return found


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    """Values of a tensor of any type, also of one that NumPy has not."""
    plain = tensor.resolve_conj().resolve_neg()
    return np.asarray((plain.double() if plain.is_floating_point() else plain).numpy())


def _line(number: int, got: np.ndarray, reference: np.ndarray) -> OutputLine:
    vector = max(got.shape, default=0) == got.size > 1
    found = likeness(got, reference)
    return OutputLine(
        output=number,
        shape=got.shape,
        sqnr_db=found.sqnr_db,
        unlike=found.unlike,
        largest=(int(got.argmax()), int(reference.argmax())) if vector else None,
    )
