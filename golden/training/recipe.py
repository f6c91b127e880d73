"""How to train: the recipe, its learning rate, its losses, and where parameters start."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from moesaic.golden.config import M3ViTConfig
from moesaic.golden.gate import Routing
from moesaic.golden.training.scenes import FAR

__all__ = [
    "RECIPES",
    "TOKENS",
    "Recipe",
    "balance_loss",
    "depth_loss",
    "make_optimizer",
    "outlier_loss",
    "rate_factor",
    "segmentation_loss",
    "start_parameters",
]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Parameters
    ----------
    scenes, steps, batch : int
        Rendered scenes, updates, and scenes of an update. Every update does every task on every scene of its batch.
    rate, decay, warmup : float, float, int
        Learning rate, reached after `warmup` updates, and weight decay.
    cooldown : float
        Share of the updates, at the end, over which the rate falls to zero.
    balance : float
        Weight of the load-balancing loss.
    noise : float
        Deviation of the noise on gate logits.
    outliers : float
        Weight of the loss on normalised activations beyond `OUTLIER` deviations: int8 has one step for all channels.
    seed : int
        Of parameters, scenes' order and gate noise.
    """

    scenes: int = 16_000
    steps: int = 7000
    batch: int = 4
    rate: float = 1e-3
    decay: float = 0.05
    warmup: int = 150
    cooldown: float = 0.3
    balance: float = 0.02
    noise: float = 0.1
    outliers: float = 0.05
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("scenes", "steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}")
        if not 0 <= self.outliers < math.inf:
            raise ValueError(f"outliers must be zero or positive, and finite, not {self.outliers!r}")
        if not 0 < self.cooldown <= 1:
            raise ValueError(f"cooldown must be above 0 and at most 1, not {self.cooldown!r}")

    @property
    def cooldown_start(self) -> int:
        """Updates before the rate begins to fall: up to here, runs of other lengths are the same run."""
        return math.floor(self.steps * (1 - self.cooldown))


RECIPES: dict[str, Recipe] = {
    "m3vit-micro": Recipe(scenes=6000, steps=2000, batch=16, rate=2e-3, warmup=100),
    "m3vit-tiny": Recipe(),
}

OUTLIER = 4.0
TOKENS = ("pos_embed", "cls_token", "extra_tokens")


def rate_factor(step: int, recipe: Recipe) -> float:
    """Learning rate of update `step` over the recipe's: a ramp up, a constant, a ramp down to zero."""
    up = (step + 1) / recipe.warmup if step < recipe.warmup else 1.0
    length = recipe.steps - recipe.cooldown_start
    return min(up, (recipe.steps - step) / (length + 1), 1.0)


def balance_loss(routings: Sequence[Routing]) -> torch.Tensor:
    """Experts x sum of (share of choices x mean probability), mean over routings: 1 when all experts do the same."""
    losses = []
    for routing in routings:
        experts = routing.logits.shape[1]
        share = torch.bincount(routing.index.flatten(), minlength=experts) / routing.index.numel()
        losses.append(experts * (share * routing.logits.softmax(dim=-1).mean(dim=0)).sum())
    return torch.stack(losses).mean()


def outlier_loss(normed: Sequence[torch.Tensor]) -> torch.Tensor:
    """Squared excess of normalised activations beyond `OUTLIER`, mean over values and layers."""
    return torch.stack([(x.abs() - OUTLIER).clamp(min=0).square().mean() for x in normed]).mean()


def segmentation_loss(scores: torch.Tensor, labels: torch.Tensor, class_weight: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(scores, labels.long(), weight=class_weight)


def depth_loss(predicted: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Error of the ratio for near things, and of metres so that far ones count too."""
    ratio = (predicted.log() - depth.log()).abs().mean()
    return ratio + 4.0 * ((predicted - depth) / FAR).square().mean()


def make_optimizer(modules: Sequence[nn.Module], recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; matrices decay, vectors and positions do not."""
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            vector = parameter.ndim < 2 or name in TOKENS or name.endswith("bias")
            (plain if vector else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": recipe.decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98), fused=True)


@torch.no_grad()
def start_parameters(module: nn.Module, config: M3ViTConfig, seed: int) -> None:
    """Fill every parameter from `seed` and its own name.

    What is added to the residual starts small, by the root of the number of additions; experts do not, since their
    scores (2 of `experts` equal shares) are small already.
    """
    for name, parameter in module.named_parameters():
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        draw = rng.standard_normal(parameter.shape, dtype=np.float32)
        leaf = name.rsplit(".", 1)[-1]
        if name in TOKENS:
            draw *= 0.2
        elif "norm" in name or leaf == "bias":
            draw[:] = leaf == "weight"
        else:
            fan_in = (
                parameter.shape[0]
                if leaf == "w_gate"
                else parameter.shape[-1]
                if "experts" in name
                else (parameter[0].numel())
            )
            added = name.endswith(("attn.proj.weight", "mlp.fc2.weight"))
            gain = 0.5 if leaf == "w_gate" else (2 * config.depth) ** -0.5 if added else 1.0
            draw *= gain * fan_in**-0.5
        parameter.copy_(torch.from_numpy(draw))
