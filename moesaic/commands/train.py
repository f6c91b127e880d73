"""Train a model on rendered scenes."""

from pathlib import Path
from typing import Annotated

import typer

from moesaic.commands.command import examples, guarded
from moesaic.commands.options import Model
from moesaic.flow.request import InputError, make_request

__all__ = ["EXAMPLES", "train"]

EXAMPLES = examples("train", "train --model m3vit-micro --steps 200 --scenes 500 --out out/weights")


@guarded
def train(
    model: Model = "m3vit-micro",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for MODEL.safetensors and MODEL.json.", show_default="the shipped weights"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates.", show_default="the recipe's")] = None,
    scenes: Annotated[int | None, typer.Option(help="Rendered scenes.", show_default="the recipe's")] = None,
    seed: Annotated[int | None, typer.Option(help="Of parameters and order.", show_default="the recipe's")] = None,
) -> None:
    """Train a model and its heads on rendered scenes."""
    make_request(model=model)
    for name, value in (("steps", steps), ("scenes", scenes)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be positive, not {value!r}")
    from moesaic.golden.train import main as train_main

    given = {"--out": out, "--steps": steps, "--scenes": scenes, "--seed": seed}
    train_main(
        ["--model", model, *(str(word) for name, value in given.items() if value is not None for word in (name, value))]
    )
