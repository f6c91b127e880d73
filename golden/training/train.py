"""Trains a model and its heads on rendered scenes: `python -m moesaic.golden.training.train --model m3vit-tiny`."""

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save_file

from moesaic.golden.config import M3ViTConfig, preset
from moesaic.golden.evaluation.quality import quality
from moesaic.golden.heads import Heads
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.trained_with import TrainedWith
from moesaic.golden.training.recipe import RECIPES, Recipe
from moesaic.golden.training.trainer import SHARDS, ResumeError, Trainer, dense_twin
from moesaic.golden.weights import WeightError

__all__ = ["checkpoint_path", "train", "write_weights"]

JUDGED = 200  # unseen scenes that the result is judged on


def train(
    config: M3ViTConfig,
    recipe: Recipe,
    *,
    threads: int = 1,
    checkpoint: Path | None = None,
    resume: bool = False,
    save_every: int = 250,
    check_every: int = 250,
    quiet: bool = False,
) -> Trainer:
    """Train to the end.

    Parameters
    ----------
    threads : int
        Worth giving up to `SHARDS`; does not change the weights.
    checkpoint : path, optional
        Written every `save_every` updates.
    resume : bool
        Continue from `checkpoint`.
    """
    trainer = Trainer(config, recipe)
    if resume:
        if checkpoint is None:
            raise ValueError("checkpoint must be given to resume, not None")
        trainer.resume(checkpoint)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, disable=quiet) as progress:
        bar = progress.add_task(config.name, total=recipe.steps, completed=trainer.step, note="")
        running: dict[str, float] = {}
        for losses in trainer.run(threads):
            running = {name: 0.98 * running.get(name, value) + 0.02 * value for name, value in losses.items()}
            note = " ".join(f"{name} {value:.3f}" for name, value in running.items())
            progress.update(bar, advance=1, note=note)
            last = trainer.step == recipe.steps
            if not quiet and not progress.console.is_terminal and trainer.step % 25 == 0:
                progress.console.print(f"{time.strftime('%H:%M:%S')} step {trainer.step}: {note}", soft_wrap=True)
            if check_every and (trainer.step % check_every == 0 or last):
                seen = trainer.check()
                kept = {"step": trainer.step, **{k: v for k, v in seen.items() if isinstance(v, float)}, **running}
                trainer.history.append({name: round(value, 4) for name, value in kept.items()})
                if not quiet:
                    progress.console.print(
                        f"step {trainer.step}: "
                        + ", ".join(f"{k} {v}" for k, v in trainer.history[-1].items() if k != "step"),
                        soft_wrap=True,
                    )
            if checkpoint is not None and (trainer.step % save_every == 0 or last):
                trainer.save(checkpoint)
    trainer.model.eval()
    trainer.heads.eval()
    return trainer


def write_weights(
    folder: Path, model: M3ViT, heads: Heads, facts: dict[str, Any], metadata: dict[str, str] | None = None
) -> Path:
    """Write parameters (float16 .safetensors, with `metadata`) and `facts` (.json); returns the former's path."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {**model.state_dict(), **{f"heads.{name}": tensor for name, tensor in heads.state_dict().items()}}
    path = folder / f"{model.network.name}.safetensors"
    partial = path.with_suffix(".partial")
    try:
        save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, partial, metadata)
        partial.chmod(0o644)  # the writer leaves it to its owner alone
        partial.replace(path)
        partial.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        partial.replace(path.with_suffix(".json"))
    finally:
        partial.unlink(missing_ok=True)
    return path


def checkpoint_path(work: Path, model: str, *, baseline: bool = False, suffix: str = "") -> Path:
    """Where a run keeps its checkpoint; `suffix` is of its `TrainedWith`."""
    return work / f"{model}{suffix}{'-dense' * baseline}.checkpoint.safetensors"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m moesaic.golden.training.train", description=__doc__)
    parser.add_argument("--model", default="m3vit-micro", help="preset to train (default: %(default)s)")
    parser.add_argument("--baseline", action="store_true", help="train its dense twin: no experts, equal compute")
    parser.add_argument("--clipped-softmax", type=float, metavar="GAMMA", help="clip attention's softmax, as -0.03")
    parser.add_argument("--gated-attention", dest="head_gates", action="store_true", help="a gate for each head")
    parser.add_argument("--registers", type=int, metavar="N", help="further learnt tokens")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "weights", help="folder to write to")
    parser.add_argument("--steps", type=int, help="updates (default: the model's recipe)")
    parser.add_argument("--batch", type=int, help="scenes of an update (default: the model's recipe)")
    parser.add_argument("--scenes", type=int, help="rendered scenes (default: the model's recipe)")
    parser.add_argument(
        "--outlier-loss", dest="outliers", type=float, metavar="WEIGHT", help="default: the model's recipe"
    )
    parser.add_argument("--seed", type=int, help="default: the model's recipe")
    parser.add_argument(
        "--threads", type=int, default=SHARDS, help="does not change the weights (default: %(default)s)"
    )
    parser.add_argument("--work", type=Path, default=Path("out/training"), help="checkpoints (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, evaluate, and write weights (float16 .safetensors) and metrics (.json)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        config = preset(options.model)
        chosen = TrainedWith(
            clipped_softmax=options.clipped_softmax,
            head_gates=options.head_gates,
            registers=options.registers,
        )
        if options.baseline and chosen.suffix:
            raise ValueError(f"baseline must be trained without options, not with {chosen.suffix[1:]}")
        given = {name: getattr(options, name) for name in ("steps", "batch", "scenes", "outliers", "seed")}
        recipe = dataclasses.replace(
            RECIPES.get(config.name, Recipe()), **{name: value for name, value in given.items() if value is not None}
        )
        if options.threads < 1:
            raise ValueError(f"threads must be positive, not {options.threads!r}")
        config = dataclasses.replace(chosen.network(config), name=f"{config.name}{chosen.suffix}")
        if options.baseline:
            config = dense_twin(config)
        checkpoint = checkpoint_path(options.work, options.model, baseline=options.baseline, suffix=chosen.suffix)
        if options.resume and not checkpoint.is_file():
            raise ValueError(f"there must be a checkpoint to resume, not nothing at {str(checkpoint)!r}")
    except ValueError as error:
        parser.error(str(error))

    started = time.monotonic()
    try:
        trainer = train(config, recipe, threads=options.threads, checkpoint=checkpoint, resume=options.resume)
    except (ResumeError, WeightError) as error:
        parser.error(str(error))
    # Shipped as float16, and judged as shipped.
    for parameter in trainer.parameters:
        parameter.data = parameter.data.half().float()
    result = {
        "model": config.name,
        "trained_with": dataclasses.asdict(chosen),
        "recipe": {**dataclasses.asdict(recipe), "torch": torch.__version__},
        "wall_s": round(time.monotonic() - started, 1),
        "resumed": options.resume,
        "history": trainer.history,
        "unseen": quality(trainer.model, trainer.heads, JUDGED),
    }
    path = write_weights(options.out, trainer.model, trainer.heads, result, chosen.metadata(options.model) or None)
    print(json.dumps(result["unseen"], indent=1))
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
