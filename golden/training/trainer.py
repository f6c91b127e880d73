"""A run of training: parameters, optimiser, scenes, and how far it is."""

import copy
import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from moesaic.errors import InputError
from moesaic.golden.config import M3ViTConfig, network_of
from moesaic.golden.evaluation.quality import quality
from moesaic.golden.heads import Heads
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.training.all_tasks import forward_together
from moesaic.golden.training.checkpoint import load_checkpoint, save_checkpoint
from moesaic.golden.training.pool import ScenePool
from moesaic.golden.training.recipe import (
    TOKENS,
    Recipe,
    balance_loss,
    depth_loss,
    make_optimizer,
    outlier_loss,
    rate_factor,
    segmentation_loss,
    start_parameters,
)

__all__ = ["SHARDS", "ResumeError", "Trainer", "dense_twin"]

SHARDS = 2  # parts of a batch that are computed side by side; the result does not depend on the number of threads
FIRST_CHECK_SEED = 90_000  # scenes that a running training is judged on


class ResumeError(InputError):
    """A checkpoint that the wanted run cannot continue from."""


def dense_twin(config: M3ViTConfig) -> M3ViTConfig:
    """The baseline: the same network without experts, its MLPs as wide as the experts that a token uses together."""
    if not config.experts:
        raise ValueError(f"model must have experts, not {config.name!r}")
    ratio = config.top_k * config.expert_hidden / config.dim
    return dataclasses.replace(config, name=f"{config.name}-dense", experts=0, mlp_ratio=ratio)


class Trainer:
    """A run of training.

    Parameters
    ----------
    config : M3ViTConfig
        The model.
    recipe : Recipe
        How it is trained. The same recipe gives the same weights on the same machine, with any number of threads and
        however often the run is interrupted and resumed.
    """

    def __init__(self, config: M3ViTConfig, recipe: Recipe) -> None:
        self.config, self.recipe, self.step = config, recipe, 0
        self.model, self.heads = M3ViT(network_of(config)).train(), Heads(network_of(config)).train()
        start_parameters(self.model, config, recipe.seed)
        start_parameters(self.heads, config, recipe.seed)
        self.parameters = [*self.model.parameters(), *self.heads.parameters()]
        # Gradients are taken at a copy whose matrices are bfloat16: converted once a step, not once for every use.
        self._fast_model, self._fast_heads = copy.deepcopy(self.model), copy.deepcopy(self.heads)
        for module in (self._fast_model, self._fast_heads):
            for name, parameter in module.named_parameters():
                if parameter.ndim >= 2 and name not in TOKENS and not name.endswith("w_gate"):
                    parameter.data = parameter.data.bfloat16()
        self._fast = [*self._fast_model.parameters(), *self._fast_heads.parameters()]
        self.optimizer = make_optimizer((self.model, self.heads), recipe)
        self.pool = ScenePool(recipe.scenes, config.image_size, recipe.seed)
        self.class_weight = self.pool.class_weight()
        self.history: list[dict[str, float]] = []

    @property
    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"": self.model, "heads.": self.heads}

    @property
    def _attention(self) -> dict[str, Any]:
        """What parameters do not tell of the network."""
        return {"clipped_softmax": self.config.clipped_softmax, "head_gates": self.config.head_gates}

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        facts = {
            "model": self.config.name,
            "step": self.step,
            "recipe": dataclasses.asdict(self.recipe),
            "attention": self._attention,
            "history": self.history,
        }
        save_checkpoint(path, self._modules, self.optimizer, facts)

    def resume(self, path: Path) -> None:
        """Continue from a checkpoint of the same recipe; its number of steps may differ.

        Raises
        ------
        WeightError
            The file is no checkpoint of this model.
        ResumeError
            Recipe or attention differ, or the checkpoint is past the point up to which runs of both lengths are the
            same.
        """
        facts = load_checkpoint(path, self._modules, self.optimizer)
        recipe, ours = facts["recipe"], dataclasses.asdict(self.recipe)
        if recipe | {"steps": 0} != ours | {"steps": 0}:
            raise ResumeError(f"recipe must be that of the checkpoint, {recipe}, not {ours}")
        attention = facts.get("attention", {"clipped_softmax": 0.0, "head_gates": False})
        if attention != self._attention:
            raise ResumeError(f"attention must be that of the checkpoint, {attention}, not {self._attention}")
        before = Recipe(**recipe)
        shared = min(before.cooldown_start, self.recipe.cooldown_start)
        if before.steps != self.recipe.steps and facts["step"] > shared:
            raise ResumeError(
                f"steps must be those of the checkpoint ({before.steps}) or leave its first "
                f"{facts['step']} as they were, not {self.recipe.steps!r}"
            )
        self.step, self.history = facts["step"], facts["history"]

    def _shard(self, shard: int) -> tuple[list[torch.Tensor | None], dict[str, float]]:
        """Gradients of one part of the batch, and its losses."""
        torch.set_num_threads(1)  # threads of torch's own lose more by waiting for each other than they gain
        torch.set_flush_denormal(True)
        recipe, tasks = self.recipe, self.config.tasks
        size = -(-recipe.batch // SHARDS)
        count = min(size, recipe.batch - shard * size)
        if count <= 0:
            return [None] * len(self.parameters), {}
        images, labels, depth = self.pool.batch(self.step * recipe.batch + shard * size, count)
        generator = torch.Generator().manual_seed((recipe.seed * 1_000_003 + self.step) * SHARDS + shard)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            made = forward_together(self._fast_model, images, noise=recipe.noise, generator=generator, watch=1)
            outputs = [
                self._fast_heads[task](part).float() for task, part in zip(tasks, made.tokens.split(count), strict=True)
            ]
        losses = {
            task: depth_loss(out, depth) if task == "depth" else segmentation_loss(out, labels, self.class_weight)
            for task, out in zip(tasks, outputs, strict=True)
        }
        total = torch.stack(list(losses.values())).sum()
        if made.routings:
            losses["balance"] = balance_loss([routing for block in made.routings for routing in block])
            total = total + recipe.balance * len(tasks) * losses["balance"]
        losses["outliers"] = outlier_loss(made.normed)
        total = (total + recipe.outliers * losses["outliers"]) * (count / recipe.batch)
        gradients = torch.autograd.grad(total, self._fast, allow_unused=True)
        return list(gradients), {name: loss.item() * count / recipe.batch for name, loss in losses.items()}

    def update(self, threads: ThreadPoolExecutor) -> dict[str, float]:
        """One step; returns the losses."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * rate_factor(self.step, self.recipe)
        with torch.no_grad():
            for fast, parameter in zip(self._fast, self.parameters, strict=True):
                fast.copy_(parameter)
        results = list(threads.map(self._shard, range(SHARDS)))
        for i, parameter in enumerate(self.parameters):
            parts = [part.float() for gradients, _ in results if (part := gradients[i]) is not None]
            # A parameter without gradient (an unused expert) still decays and keeps its moments moving.
            parameter.grad = sum(parts[1:], parts[0]) if parts else torch.zeros_like(parameter)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        losses: dict[str, float] = {}
        for _, of_shard in results:
            for name, value in of_shard.items():
                losses[name] = losses.get(name, 0.0) + value
        return losses

    def run(self, threads: int = 1) -> Iterator[dict[str, float]]:
        """Train to the end; yields the losses of every step."""
        with ThreadPoolExecutor(min(threads, SHARDS)) as pool:
            while self.step < self.recipe.steps:
                yield self.update(pool)

    def check(self, scenes: int = 40) -> dict[str, Any]:
        """Quality so far, on scenes that are neither trained on nor used to judge the result."""
        self.model.eval()
        self.heads.eval()
        result = quality(self.model, self.heads, scenes, first=FIRST_CHECK_SEED)
        self.model.train()
        self.heads.train()
        return result
