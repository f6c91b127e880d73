"""Fingerprints of networks: equal before and after a change that must not change anything.

    python -m moesaic.commands.fingerprint m3vit-micro m3vit-tiny --widths w4a8 > before.json

Quantisation computes in floats, so compare fingerprints of one machine only.
"""

import hashlib
from typing import Annotated, Any

import numpy as np
import typer

from moesaic.commands.command import guarded
from moesaic.flow.program import Program, make_program
from moesaic.flow.request import ALL_TASKS, make_request
from moesaic.flow.stages import Stages
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import DEFAULT_WIDTHS
from moesaic.golden.sample_images import sample_images
from moesaic.terminal import print_json

__all__ = ["fingerprint"]

_SCENE = 7


def fingerprint(program: Program) -> dict[str, Any]:
    """SHA-256 (hex) of every block's integers over all tasks, for one rendered scene, and of the program's memory.

    With them `estimated_cycles` by task, from the analytic model.
    """
    request = program.request
    image = sample_images([_SCENE], *request.model.image.size_and_channels)[0]
    golden = IntM3ViT.of(program.qmodel, request.accelerator)
    outputs = hashlib.sha256()
    for task in request.tasks:
        for residual in golden.run(image, task, blocks=request.blocks):
            outputs.update(np.ascontiguousarray(residual).tobytes())
    return {
        "integers": outputs.hexdigest(),
        "memory": program.image.manifest["memory_sha256"],
        "estimated_cycles": program.estimate,
    }


@guarded
def main(
    models: Annotated[list[str], typer.Argument(help="Models as in `moesaic run --model`.")],
    widths: Annotated[str, typer.Option(help="As in `moesaic run`.")] = DEFAULT_WIDTHS,
) -> None:
    """Print fingerprints as JSON, by model."""
    found = {}
    for model in models:
        stages = Stages()
        request = make_request(model=model, task=ALL_TASKS, widths=widths, stages=stages)
        found[model] = fingerprint(make_program(request, stages)[0])
    print_json(found)


if __name__ == "__main__":
    typer.run(main)
