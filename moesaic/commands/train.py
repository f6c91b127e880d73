"""Train a model on rendered scenes."""

import math
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from moesaic.commands.command import examples, guarded
from moesaic.commands.options import Model
from moesaic.errors import InputError
from moesaic.flow.request import make_request
from moesaic.golden.config import preset
from moesaic.golden.trained_with import TrainedWith
from moesaic.terminal import results

__all__ = ["EXAMPLES", "train"]

EXAMPLES = examples(
    "train --model m3vit-tiny",
    "train --model m3vit-tiny --resume",
    "train --model m3vit-tiny --baseline --out out/weights",
    "train --model m3vit-micro --steps 200 --scenes 500 --out out/weights",
    "train --model m3vit-micro --registers 4 --out out/weights",
    "train --model m3vit-micro --clipped-softmax -0.03 --outlier-loss 0 --out out/weights",
    "train --model m3vit-micro --gated-attention --out out/weights",
)


@guarded
def train(
    model: Model = "m3vit-micro",
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Train its dense twin instead: no experts, equal compute.")
    ] = False,
    clipped_softmax: Annotated[
        float | None,
        typer.Option(
            "--clipped-softmax",
            metavar="GAMMA",
            help="Clip attention's softmax: clip((1 - GAMMA) softmax + GAMMA, 0, 1), GAMMA above -1 and below 0, such "
            "as -0.03. For floats: no accelerator runs it.",
            show_default="a softmax",
        ),
    ] = None,
    head_gates: Annotated[
        bool,
        typer.Option(
            "--gated-attention",
            help="Multiply each head by the sigmoid of a linear function of its token. For floats: no accelerator runs "
            "it.",
        ),
    ] = False,
    registers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Add N learnt tokens, 1 to 64, which attention may rest on.", show_default="0"),
    ] = None,
    outlier_loss: Annotated[
        float | None,
        typer.Option(metavar="WEIGHT", help="Of the loss on outliers; 0: none.", show_default="the recipe's"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for MODEL.safetensors and MODEL.json.", show_default="the shipped weights"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates.", show_default="the recipe's")] = None,
    scenes: Annotated[int | None, typer.Option(help="Rendered scenes.", show_default="the recipe's")] = None,
    seed: Annotated[int | None, typer.Option(help="Of parameters and order.", show_default="the recipe's")] = None,
    threads: Annotated[int, typer.Option(help="Does not change the weights.")] = 2,
    work: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path("out/training"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the checkpoint.")] = False,
) -> None:
    """Train a model and its heads on rendered scenes (interrupt it when you like: --resume continues)."""
    make_request(model=model)
    for name, value in (("steps", steps), ("scenes", scenes), ("threads", threads)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be positive, not {value!r}")
    chosen = TrainedWith(clipped_softmax=clipped_softmax, head_gates=head_gates, registers=registers)
    if outlier_loss is not None and not 0 <= outlier_loss < math.inf:
        raise InputError(f"outlier-loss must be zero or positive, and finite, not {outlier_loss!r}")
    if baseline and chosen.suffix:
        raise InputError(f"baseline must be trained without options, not with {chosen.suffix[1:]}")
    if baseline and not preset(model).experts:
        raise InputError(f"model must have experts to have a dense twin, not {model!r}")
    from moesaic.golden.training.train import checkpoint_path
    from moesaic.golden.training.train import main as train_main

    checkpoint = checkpoint_path(work, model, baseline=baseline, suffix=chosen.suffix)
    if resume and not checkpoint.is_file():
        raise InputError(f"there must be a checkpoint to resume, not nothing at {str(checkpoint)!r}")

    given = {
        "--model": model,
        "--out": out,
        "--steps": steps,
        "--scenes": scenes,
        "--seed": seed,
        "--threads": threads,
        "--work": work,
        "--registers": registers,
        "--outlier-loss": outlier_loss,
        "--clipped-softmax": clipped_softmax,
    }
    words = [f"{name}={value}" for name, value in given.items() if value is not None]  # a value may begin with a minus
    words += ["--baseline"] * baseline + ["--resume"] * resume + ["--gated-attention"] * head_gates
    with redirect_stdout(results()):
        train_main(words)
