"""The recipe of an M3ViT, with blocks that are alike; the network that it makes; the named presets."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

from moesaic.errors import InputError
from moesaic.golden.layers.sizes import (
    GATE_KINDS,
    AttentionSizes,
    MLPSizes,
    MoESizes,
    NormSizes,
)
from moesaic.golden.network import Network
from moesaic.golden.nodes import Image, Layer, TaskEmbeddingSizes, chain_of
from moesaic.names import check_tasks

__all__ = ["PRESETS", "M3ViTConfig", "network_of", "preset"]

GATE_SCOPES = ("multi_gate", "task_conditioned")
GELU_KINDS = {"exact": "gelu", "tanh": "gelu_tanh"}  # and the activations that they are


@dataclass(frozen=True, kw_only=True)
class M3ViTConfig:
    """What an M3ViT is made of; everything else about it is derived from here.

    Parameters
    ----------
    name : str
        Name of the model, as the command line takes it.
    image_size : (int, int)
        Height and width of the image, pixels; multiples of `patch_size`.
    patch_size : int
        Side of a square patch, pixels.
    dim : int
        Channels of a token; a multiple of `heads`.
    heads, depth : int
        Attention heads of a block, and blocks.
    mlp_ratio : float
        Hidden units of a dense MLP per channel; `dim * mlp_ratio` is whole.
    experts, expert_hidden, top_k : int
        Experts of a mixture block, hidden units of each, experts per token. `experts` = 0 makes every block dense.
    moe_every : int
        Every `moe_every`-th block is a mixture: with 2, blocks 1, 3, 5...
    moe_blocks : tuple of int
        Which blocks are mixtures, in place of `moe_every`; empty: as that says.
    tasks : tuple of str
        Names of the tasks; the position of a task is its number.
    gate_kind : "noisy_vmoe" or "noisy"
        Softmax over all experts and then top-k, or top-k and then softmax over those.
    gate_scope : "multi_gate" or "task_conditioned"
        A router per task, or one router that also sees a task embedding.
    gate_task_dim : int
        Channels of the task embedding (task-conditioned only).
    gate_bias : bool
        Whether each expert's logit has a learnt constant.
    class_token : bool
        Whether token 0 is the class token.
    extra_tokens : int
        Further learnt tokens, between the class token and the patches: DeiT's distillation token, or registers.
    clipped_softmax : float
        Gamma of a clipped softmax, above -1; 0 is a softmax. For training: the accelerator has none.
    head_gates : bool
        Whether attention is gated, each head by the sigmoid of a linear function of the token. For training, too.
    gelu : "exact" or "tanh"
        Which GELU the float model computes; the accelerator's is the exact one, 4.8e-4 from the other at most.
    eps : float
        Added to the variance by LayerNorm.
    pixel_mean, pixel_std : (float, float, float)
        Per channel R, G, B: a pixel enters as `(value / 255 - mean) / std`.

    Raises
    ------
    InputError
        If a size is out of range or two sizes do not fit each other; the message names the field.
    """

    name: str = "m3vit"
    image_size: tuple[int, int]
    patch_size: int = 16
    dim: int
    heads: int
    depth: int = 12
    mlp_ratio: float = 4.0
    experts: int = 16
    expert_hidden: int = 0
    top_k: int = 2
    moe_every: int = 2
    moe_blocks: tuple[int, ...] = ()
    tasks: tuple[str, ...] = ("semseg", "depth")
    gate_kind: str = "noisy_vmoe"
    gate_scope: str = "multi_gate"
    gate_task_dim: int = 64
    gate_bias: bool = False
    class_token: bool = True
    extra_tokens: int = 0
    clipped_softmax: float = 0.0
    head_gates: bool = False
    gelu: str = "exact"
    eps: float = 1e-6
    pixel_mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    pixel_std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        # A configuration read from JSON has lists; keep it hashable.
        for field in fields(self):
            if isinstance(getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(getattr(self, field.name)))

        def require(ok: bool, field: str, what: str) -> None:
            if not ok:
                raise InputError(f"{field} must be {what}, not {getattr(self, field)!r}")

        for name in ("patch_size", "dim", "heads", "depth", "moe_every"):
            value = getattr(self, name)
            require(isinstance(value, int) and value >= 1, name, "a positive integer")
        require(
            len(self.image_size) == 2 and all(s >= 1 and s % self.patch_size == 0 for s in self.image_size),
            "image_size",
            f"two positive multiples of the patch size {self.patch_size}",
        )
        require(self.dim % self.heads == 0, "dim", f"a multiple of the {self.heads} heads")
        self._check_layers(require)
        check_tasks(self.tasks)
        require(self.gate_kind in GATE_KINDS, "gate_kind", "one of " + ", ".join(GATE_KINDS))
        require(self.gate_scope in GATE_SCOPES, "gate_scope", "one of " + ", ".join(GATE_SCOPES))
        require(isinstance(self.extra_tokens, int) and self.extra_tokens >= 0, "extra_tokens", "an integer, 0 or more")
        require(-1 < self.clipped_softmax <= 0, "clipped_softmax", "above -1 and 0 at most")
        require(self.gelu in GELU_KINDS, "gelu", "one of " + ", ".join(GELU_KINDS))
        require(0 <= self.eps < math.inf, "eps", "zero or positive, and finite")
        require(len(self.pixel_mean) == 3, "pixel_mean", "three numbers")
        require(len(self.pixel_std) == 3 and all(s > 0 for s in self.pixel_std), "pixel_std", "three positive numbers")

    def _check_layers(self, require: Callable[[bool, str, str], None]) -> None:
        require(
            self.mlp_ratio > 0 and float(self.dim * self.mlp_ratio).is_integer(),
            "mlp_ratio",
            f"positive and give whole hidden units for dim {self.dim}",
        )
        require(isinstance(self.experts, int) and self.experts >= 0, "experts", "an integer, 0 or more")
        require(all(0 <= block < self.depth for block in self.moe_blocks), "moe_blocks", f"below {self.depth}")
        if self.experts:
            require(
                isinstance(self.expert_hidden, int) and self.expert_hidden >= 1, "expert_hidden", "a positive integer"
            )
            require(
                isinstance(self.top_k, int) and 1 <= self.top_k <= self.experts,
                "top_k",
                f"from 1 to the {self.experts} experts",
            )
            require(self.gate_task_dim >= 1, "gate_task_dim", "a positive integer")

    @property
    def mlp_hidden(self) -> int:
        """Hidden units of a dense MLP."""
        return int(self.dim * self.mlp_ratio)

    def is_moe(self, block: int) -> bool:
        """Whether block number `block` (from 0) holds a mixture of experts."""
        if not self.experts:
            return False
        return block in self.moe_blocks if self.moe_blocks else block % self.moe_every == self.moe_every - 1


def network_of(config: M3ViTConfig) -> Network:
    """The network that a recipe makes."""
    conditioned = config.gate_scope == "task_conditioned" and any(map(config.is_moe, range(config.depth)))
    (height, width), patch = config.image_size, config.patch_size
    image = Image(
        height=height,
        width=width,
        patch_height=patch,
        patch_width=patch,
        pixel_mean=config.pixel_mean,
        pixel_std=config.pixel_std,
    )
    norm, activation = NormSizes(eps=config.eps), GELU_KINDS[config.gelu]
    heads = AttentionSizes(
        heads=config.heads,
        head_dim=config.dim // config.heads,
        clipped_softmax=config.clipped_softmax,
        head_gates=config.head_gates,
    )
    attention = Layer(sizes=heads, norm=norm)
    mlp = Layer(sizes=MLPSizes(hidden=config.mlp_hidden, activation=activation), norm=norm)
    mixture = mlp
    if config.experts:
        sizes = MoESizes(
            experts=config.experts,
            hidden=config.expert_hidden,
            top_k=config.top_k,
            gate_kind=config.gate_kind,
            gate_bias=config.gate_bias,
            gate_task_dim=config.gate_task_dim if conditioned else 0,
            activation=activation,
        )
        mixture = Layer(sizes=sizes, norm=norm)
    blocks = [(attention, mixture if config.is_moe(block) else mlp) for block in range(config.depth)]
    return Network(
        name=config.name,
        tasks=config.tasks,
        image=image,
        class_token=config.class_token,
        extra_tokens=config.extra_tokens,
        task_embedding=TaskEmbeddingSizes(channels=config.gate_task_dim, eps=config.eps) if conditioned else None,
        nodes=chain_of(image, config.class_token + config.extra_tokens, config.dim, blocks),
    )


PRESETS: dict[str, M3ViTConfig] = {
    config.name: config
    for config in (
        M3ViTConfig(
            name="m3vit-micro",
            image_size=(64, 64),
            patch_size=8,
            dim=64,
            heads=2,
            depth=4,
            experts=8,
            expert_hidden=128,
            top_k=2,
        ),
        M3ViTConfig(name="m3vit-tiny", image_size=(128, 256), dim=192, heads=3, expert_hidden=384, top_k=2),
        M3ViTConfig(name="m3vit-small", image_size=(480, 640), dim=384, heads=12, expert_hidden=768, top_k=2),
        M3ViTConfig(name="m3vit-small-r1", image_size=(480, 640), dim=384, heads=12, expert_hidden=384, top_k=4),
        M3ViTConfig(name="deit-tiny", image_size=(224, 224), dim=192, heads=3, experts=0),
        M3ViTConfig(name="deit-small", image_size=(224, 224), dim=384, heads=6, experts=0),
    )
}


def preset(name: str) -> M3ViTConfig:
    """The preset of that name; `InputError` if there is none such."""
    if name not in PRESETS:
        raise InputError(f"model must be one of {', '.join(PRESETS)}, not {name!r}")
    return PRESETS[name]
