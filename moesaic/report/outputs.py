"""What a captured module returns: made on the host from the accelerator's tokens, against the float network's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from moesaic.flow.execute import TaskOutcome
from moesaic.flow.program import Program
from moesaic.golden.frontend.head import Head
from moesaic.report.likeness import likeness

__all__ = ["module_outputs"]


@torch.no_grad()
def module_outputs(
    program: Program, outcomes: Sequence[TaskOutcome], image: np.ndarray
) -> dict[str, list[dict[str, Any]]]:
    """For each task of a captured module, a line for each output that its head computes.

    Returns
    -------
    dict of task to list of dict
        `output` (its number in what the module returns), `shape`, its `likeness`, and for a
        vector `largest` [accelerator, float]: where its largest value is, which is a classifier's answer. Empty if not
        all blocks were run, or if the model was not captured.
    """
    network = program.network
    if network is None or not program.request.whole:
        return {}
    step = np.float32(program.qmodel.blocks[-1].residual_step)
    heads, found = network.heads, dict[str, list[dict[str, Any]]]()
    for outcome in outcomes:
        head = heads.get(outcome.task)
        if not isinstance(head, Head) or outcome.output is None:
            continue
        mine = head(torch.from_numpy(outcome.output * step))
        reference = head(network.model(image, outcome.task)[-1])
        found[outcome.task] = [
            _line(number, _numpy(a), _numpy(b)) for number, a, b in zip(head.outputs, mine, reference, strict=True)
        ]
    return found


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    """Values of a tensor of any type, also of one that NumPy has not."""
    plain = tensor.resolve_conj().resolve_neg()
    return np.asarray((plain.double() if plain.is_floating_point() else plain).numpy())


def _line(number: int, got: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    vector = max(got.shape, default=0) == got.size > 1
    return {
        "output": number,
        "shape": list(got.shape),
        **likeness(got, reference),
        "largest": [int(got.argmax()), int(reference.argmax())] if vector else None,
    }
