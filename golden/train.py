"""Trains a model and its heads on rendered scenes: `python -m moesaic.golden.train --model m3vit-micro`."""

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import nn

from moesaic.golden import metrics
from moesaic.golden.config import M3ViTConfig, preset
from moesaic.golden.gate import Routing
from moesaic.golden.heads import Heads, build_heads
from moesaic.golden.m3vit import M3ViT, build
from moesaic.golden.scenes import CLASSES, FAR, render_batch

__all__ = ["FIRST_TRAINING_SEED", "Recipe", "evaluate", "train"]

FIRST_TRAINING_SEED = 100_000  # scenes below are never trained on: tests and reports draw theirs from there


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Parameters
    ----------
    scenes, steps, batch : int
        Rendered scenes, updates, and scenes of an update. Every update does every task.
    rate, decay, warmup : float, float, int
        Peak learning rate (cosine down to zero after `warmup` updates) and weight decay.
    balance : float
        Weight of the load-balancing loss.
    seed : int
        Of parameters, scenes' order and gate noise.
    """

    scenes: int = 6000
    steps: int = 2000
    batch: int = 16
    rate: float = 2e-3
    decay: float = 0.05
    warmup: int = 100
    balance: float = 0.02
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("scenes", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}")


def balance_loss(routings: Sequence[Routing]) -> torch.Tensor:
    """Experts x sum of (share of choices x mean probability), mean over blocks: 1 when all experts do the same."""
    losses = []
    for routing in routings:
        experts = routing.logits.shape[1]
        share = torch.bincount(routing.index.flatten(), minlength=experts) / routing.index.numel()
        losses.append(experts * (share * routing.logits.softmax(dim=-1).mean(dim=0)).sum())
    return torch.stack(losses).mean()


def segmentation_loss(scores: torch.Tensor, labels: torch.Tensor, class_weight: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(scores, labels.long(), weight=class_weight)


def depth_loss(predicted: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Error of the ratio for near things, and of metres so that far ones count too."""
    ratio = (predicted.log() - depth.log()).abs().mean()
    return ratio + 4.0 * ((predicted - depth) / FAR).square().mean()


def make_optimizer(modules: Sequence[nn.Module], recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; matrices decay, vectors and positions do not."""
    named = [item for module in modules for item in module.named_parameters()]
    plain = [p for name, p in named if p.ndim < 2 or name in ("pos_embed", "cls_token") or name.endswith("bias")]
    decayed = [p for name, p in named if not any(p is other for other in plain)]
    groups = [{"params": decayed, "weight_decay": recipe.decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))


def rate_factor(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - recipe.warmup) / max(recipe.steps - recipe.warmup, 1)))


def train(config: M3ViTConfig, recipe: Recipe, *, quiet: bool = False) -> tuple[M3ViT, Heads]:
    """A model and heads trained on scenes from `FIRST_TRAINING_SEED` up.

    The same recipe gives the same weights, on the same machine with the same number of threads.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    model, heads = build(config, recipe.seed).train(), build_heads(config, recipe.seed)
    heads.train()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
               TextColumn("{task.fields[note]}"))
    with Progress(*columns, disable=quiet) as progress:
        bar = progress.add_task("rendering scenes", total=recipe.scenes, note="")
        parts = []
        for first in range(0, recipe.scenes, 100):
            count = min(100, recipe.scenes - first)
            start = FIRST_TRAINING_SEED + first
            parts.append(render_batch(range(start, start + count), config.image_size))
            progress.advance(bar, count)
        images, labels, depths = (torch.from_numpy(np.concatenate(part)) for part in zip(*parts, strict=True))

        frequency = torch.bincount(labels.flatten().long(), minlength=len(CLASSES)).float() / labels.numel()
        class_weight = frequency.clamp(min=1e-3) ** -0.35  # rare classes count for more, but not all the way
        class_weight /= (class_weight * frequency).sum()

        optimizer = make_optimizer((model, heads), recipe)
        bar = progress.add_task("training", total=recipe.steps, note="")
        order = np.empty(0, dtype=np.int64)
        for step in range(recipe.steps):
            if len(order) < recipe.batch:
                order = np.concatenate([order, rng.permutation(recipe.scenes)])
            chosen, order = torch.from_numpy(order[: recipe.batch]), order[recipe.batch :]
            image, label, depth = images[chosen], labels[chosen], depths[chosen]
            if rng.random() < 0.5:  # a street seen in a mirror is a street
                image, label, depth = image.flip(-1), label.flip(-1), depth.flip(-1)
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * rate_factor(step, recipe)
            optimizer.zero_grad()
            notes = []
            for task in config.tasks:
                routings: list[Routing] = []
                out = heads[task](model(image, task, routings=routings)[-1])
                loss = depth_loss(out, depth) if task == "depth" else segmentation_loss(out, label, class_weight)
                notes.append(f"{task} {loss.item():.3f}")
                if routings:
                    loss = loss + recipe.balance * balance_loss(routings)
                loss.backward()
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
            optimizer.step()
            progress.update(bar, advance=1, note=" ".join(notes))
            if not quiet and not progress.console.is_terminal and (step + 1) % 100 == 0:
                progress.console.print(f"step {step + 1} of {recipe.steps}: {' '.join(notes)}", soft_wrap=True)
    heads.eval()
    return model.eval(), heads


@torch.no_grad()
def evaluate(model: M3ViT, heads: Heads, scenes: int = 200) -> dict[str, object]:
    """Quality on unseen scenes 0..`scenes`: mIoU, depth RMSE (metres), and how each gate shares out its tokens."""
    config = model.config
    images, labels, depths = render_batch(range(scenes), config.image_size)
    result: dict[str, object] = {"scenes": scenes}
    load: dict[str, list[list[float]]] = {}
    experts: dict[str, list[np.ndarray]] = {}
    for task in config.tasks:
        matrix = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
        predictions, chosen = [], [np.empty((0, config.top_k), dtype=np.int64) for _ in config.moe_blocks]
        for first in range(0, scenes, 50):
            part = slice(first, first + 50)
            routings: list[Routing] = []
            out = heads[task](model(images[part], task, routings=routings)[-1]).numpy()
            chosen = [np.concatenate([old, new.index.numpy()]) for old, new in zip(chosen, routings, strict=True)]
            if task == "depth":
                predictions.append(out)
            else:
                matrix += metrics.confusion(out.argmax(axis=1), labels[part], len(CLASSES))
        experts[task] = chosen
        load[task] = [
            (np.bincount(index.ravel(), minlength=config.experts) / index.size).round(4).tolist() for index in chosen
        ]
        if task == "depth":
            predicted = np.concatenate(predictions)
            near = depths < FAR
            result["depth_rmse_m"] = metrics.depth_rmse(predicted, depths)
            result["depth_relative_error"] = float(np.mean(np.abs(predicted - depths)[near] / depths[near]))
        else:
            union = matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix)
            result["miou"] = metrics.mean_iou(matrix)
            result["iou"] = {name: float(matrix[i, i] / max(union[i], 1)) for i, name in enumerate(CLASSES)}
    if config.experts:
        result["expert_load"] = load
        if len(config.tasks) == 2:
            first_task, second_task = (experts[task] for task in config.tasks)
            result["same_experts_for_both_tasks"] = [
                metrics.routing_agreement(a, b) for a, b in zip(first_task, second_task, strict=True)
            ]
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, evaluate, and write weights (float16 .safetensors) and metrics (.json)."""
    recipe = Recipe()
    parser = argparse.ArgumentParser(prog="python -m moesaic.golden.train", description=__doc__)
    parser.add_argument("--model", default="m3vit-micro", help="preset to train (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "weights", help="folder to write to")
    parser.add_argument("--steps", type=int, default=recipe.steps, help="updates (default: %(default)s)")
    parser.add_argument("--scenes", type=int, default=recipe.scenes, help="rendered scenes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=recipe.seed, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of torch; changes the weights (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        config = preset(options.model)
        recipe = Recipe(steps=options.steps, scenes=options.scenes, seed=options.seed)
    except ValueError as error:
        parser.error(str(error))
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)

    started = time.monotonic()
    model, heads = train(config, recipe)
    # Shipped as float16, and judged as shipped.
    for parameter in (*model.parameters(), *heads.parameters()):
        parameter.data = parameter.data.half().float()
    result = {
        "model": config.name,
        "recipe": {**recipe.__dict__, "threads": options.threads, "torch": torch.__version__},
        "wall_s": round(time.monotonic() - started, 1),
        "unseen": evaluate(model, heads),
    }
    tensors = {**model.state_dict(), **{f"heads.{name}": tensor for name, tensor in heads.state_dict().items()}}
    path = options.out / f"{config.name}.safetensors"
    partial = path.with_suffix(".partial")
    try:
        save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, partial)
        partial.chmod(0o644)  # the writer leaves it to its owner alone
        partial.replace(path)
        partial.write_text(json.dumps(result, indent=1) + "\n")
        partial.replace(path.with_suffix(".json"))
    finally:
        partial.unlink(missing_ok=True)
    print(json.dumps(result["unseen"], indent=1))
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
