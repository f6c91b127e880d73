"""Float M3ViT: a vision transformer whose odd blocks are mixtures of experts, with the published parameter names."""

import zlib

import numpy as np
import torch
from torch import nn

from moesaic.golden.config import M3ViTConfig
from moesaic.golden.gate import Routing, TaskEmbedding
from moesaic.golden.layers.attention_float import Attention
from moesaic.golden.layers.float_layer import FloatLayer
from moesaic.golden.layers.token_layer import token_layer
from moesaic.golden.trace import SILENT, Trace

__all__ = ["M3ViT", "build", "seed_parameters"]


class PatchEmbed(nn.Module):
    """Image to patch tokens: a convolution whose kernel and stride are the patch."""

    def __init__(self, config: M3ViTConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.dim, kernel_size=config.patch_size, stride=config.patch_size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)  # [B, patches, dim]


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a dense MLP or a mixture of experts, each added to its input."""

    def __init__(self, config: M3ViTConfig, index: int) -> None:
        super().__init__()
        self.name = f"blocks.{index}"
        self.norm1 = nn.LayerNorm(config.dim, eps=config.eps)
        self.attn = Attention(config.dim, config.heads)
        self.norm2 = nn.LayerNorm(config.dim, eps=config.eps)
        self.mlp: FloatLayer = token_layer(config, index)

    def forward(
        self, x: torch.Tensor, task: int, embedding: torch.Tensor | None, trace: Trace
    ) -> tuple[torch.Tensor, Routing | None]:
        normed = self.norm1(x)
        trace.record(f"{self.name}.norm1", normed[0])
        x = x + self.attn(normed, f"{self.name}.attn", trace)
        trace.record(f"{self.name}.mid", x[0])
        normed = self.norm2(x)
        trace.record(f"{self.name}.norm2", normed[0])
        routing = None
        if self.mlp.routes:
            out, routing = self.mlp(normed, task, embedding, f"{self.name}.mlp", trace)
        else:
            out = self.mlp(normed, f"{self.name}.mlp", trace)
        x = x + out
        trace.record(self.name, x[0])
        return x, routing


class M3ViT(nn.Module):
    """The backbone: image in, output of every block out. No norm at the end: the heads have their own.

    Parameters
    ----------
    config : M3ViTConfig
        Sizes. Parameters are uninitialised or torch's defaults until `build` or a state dict fills them.
    """

    def __init__(self, config: M3ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.dim)) if config.class_token else None
        self.extra_tokens = None
        if config.extra_tokens:
            self.extra_tokens = nn.Parameter(torch.empty(1, config.extra_tokens, config.dim))
        self.pos_embed = nn.Parameter(torch.empty(1, config.tokens, config.dim))
        self.gate_task_represent = None
        if config.most_experts and config.gate_scope == "task_conditioned":
            self.gate_task_represent = TaskEmbedding(config)
        self.blocks = nn.ModuleList(Block(config, index) for index in range(config.depth))
        self.register_buffer("pixel_mean", torch.tensor(config.pixel_mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(config.pixel_std).view(1, 3, 1, 1), persistent=False)

    def normalise(self, image: torch.Tensor) -> torch.Tensor:
        """Bytes 0..255, or numbers in [0, 1], to normalised values."""
        x = image.to(self.pos_embed.dtype)
        if image.dtype == torch.uint8:
            x = x / 255.0
        return (x - self.get_buffer("pixel_mean")) / self.get_buffer("pixel_std")

    def prefix(self) -> torch.Tensor:
        """The learnt tokens before the patches, [1, prefix_tokens, dim]; none for a model without."""
        parts: list[torch.Tensor] = [tokens for tokens in (self.cls_token, self.extra_tokens) if tokens is not None]
        return torch.cat(parts, dim=1) if parts else self.pos_embed[:, :0]

    def folded_gate(self, block: int, task: str | int) -> tuple[torch.Tensor, torch.Tensor]:
        """Gate of mixture block `block` for a task: weight [dim, experts], bias [experts] (the task's constant)."""
        layer = self.blocks[block]
        assert isinstance(layer, Block)
        index = self.config.task_index(task)
        embedding = self.gate_task_represent(index) if self.gate_task_represent is not None else None
        gate = layer.mlp.gate_of_task(index, embedding)
        if gate is None:
            raise ValueError(f"block must be a mixture ({', '.join(map(str, self.config.moe_blocks))}), not {block!r}")
        return gate

    def forward(
        self,
        image: torch.Tensor | np.ndarray,
        task: str | int,
        *,
        trace: Trace = SILENT,
        routings: list[Routing] | None = None,
    ) -> list[torch.Tensor]:
        """Output of every block.

        Parameters
        ----------
        image : uint8 0..255 or float in [0, 1], [3, H, W] or [B, 3, H, W]
            RGB.
        task : str or int
            Name or number of the task.
        trace : Trace
            Receives every intermediate tensor; one image only.
        routings : list, optional
            Receives the routing of each mixture block, tokens of all images in a row.

        Returns
        -------
        list of Tensor, [N, dim] or [B, N, dim]
            One for each block.
        """
        index = self.config.task_index(task)
        x = torch.as_tensor(image)
        single = x.ndim == 3
        if single:
            x = x[None]
        height, width = self.config.image_size
        if x.ndim != 4 or tuple(x.shape[1:]) != (3, height, width):
            raise ValueError(f"image must be [3, {height}, {width}], not {list(torch.as_tensor(image).shape)!r}")
        if trace is not SILENT and len(x) != 1:
            raise ValueError(f"a traced batch must be one image, not {len(x)!r}")

        x = self.normalise(x)
        trace.record("pixels", x[0])
        x = self.patch_embed(x)  # [B, patches, dim]
        x = torch.cat((self.prefix().expand(len(x), -1, -1), x), dim=1)  # [B, N, dim]
        x = x + self.pos_embed
        trace.record("embed", x[0])
        embedding = self.gate_task_represent(index) if self.gate_task_represent is not None else None
        outputs = []
        for block in self.blocks:
            x, routing = block(x, index, embedding, trace)
            if routings is not None and routing is not None:
                routings.append(routing)
            outputs.append(x[0] if single else x)
        return outputs


def seed_parameters(module: nn.Module, seed: int) -> None:
    """Fill every parameter from `seed` and its own name, so that the order of construction does not matter.

    Deviations are those of a trained network: attention is neither flat nor one-hot, norms have unequal gains, and
    tokens differ enough for a router to spread them over its experts.
    """
    for name, parameter in module.named_parameters():
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        draw = rng.standard_normal(parameter.shape, dtype=np.float32)
        leaf = name.rsplit(".", 1)[-1]
        if name in ("pos_embed", "cls_token", "extra_tokens"):
            draw *= 0.6
        elif "norm" in name:
            draw = np.maximum(1.0 + 0.15 * draw, 0.2) if leaf == "weight" else 0.05 * draw
        elif leaf == "bias":
            draw *= 0.05
        elif leaf == "w_gate":
            draw *= 1.5 * parameter.shape[0] ** -0.5
        elif name == "patch_embed.proj.weight":
            # Filters that mostly ignore a patch's mean colour: else it drowns what tells patches apart.
            draw -= 0.9 * draw.mean(axis=(2, 3), keepdims=True)
            draw *= 2.0 * draw[0].size ** -0.5
        else:
            fan_in = parameter.shape[-1] if "experts" in name else parameter[0].numel()
            gain = 0.5 if name.endswith("proj.weight") else 0.8 if name.endswith("fc2.weight") else 1.0
            if name.endswith(("fc2.weight", "h4toh.weight")):
                # GELU's mean is above zero; without this every token would gain the same large vector.
                draw -= draw.mean(axis=-1, keepdims=True)
            draw *= gain * fan_in**-0.5
        if name.endswith("qkv.weight"):
            # Keys that resemble queries: tokens look at themselves and their like, instead of blending into one mean.
            q, k, _ = np.split(draw, 3)
            k *= 0.7
            k += 0.7 * q
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(draw, dtype=np.float32)))


def build(config: M3ViTConfig, seed: int) -> M3ViT:
    """A model with seeded parameters, in inference mode."""
    model = M3ViT(config)
    seed_parameters(model, seed)
    return model.eval()
