"""A network in floats: its nodes as torch modules, with M3ViT's published parameter names."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from moesaic.golden.config import M3ViTConfig, network_of
from moesaic.golden.gate import Routing, TaskEmbedding
from moesaic.golden.layers.float_kinds import layer_of, norm_of
from moesaic.golden.layers.float_layer import FloatLayer, Run
from moesaic.golden.layers.norm_float import FloatNorm, plain_norm
from moesaic.golden.network import Block as Sizes
from moesaic.golden.network import Network, check_supported
from moesaic.golden.trace import SILENT, Trace

__all__ = ["Block", "M3ViT", "Step", "build", "seed_parameters", "seeded"]


class PatchEmbed(nn.Module):
    """Image to patch tokens: a convolution whose kernel and stride are the patch, perhaps of normalised patches."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.image = network.image
        patch = network.image.patch
        self.proj = nn.Conv2d(network.image.channels, network.dim, kernel_size=patch, stride=patch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.image.patch_norm is not None:
            patches = F.unfold(x, self.image.patch, stride=self.image.patch).transpose(1, 2)  # [B, patches, values]
            return F.linear(plain_norm(patches, self.image.patch_norm), self.proj.weight.flatten(1), self.proj.bias)
        return self.proj(x).flatten(2).transpose(1, 2)  # [B, patches, dim]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A layer in its place on the residual stream.

    Parameters
    ----------
    block : int
    name, norm_name : str
        Of the layer and of its norm.
    edge : str
        Name of the residual behind it.
    norm : FloatNorm
    layer : FloatLayer
    """

    block: int
    name: str
    norm_name: str
    edge: str
    norm: FloatNorm
    layer: FloatLayer

    def __call__(self, x: torch.Tensor, run: Run) -> tuple[torch.Tensor, Routing | None]:
        """The residual [B, tokens, dim] behind the layer, and where its router sent tokens."""
        normed = self.norm(x)
        run.trace.record(self.norm_name, normed[0])
        out, routing = self.layer(normed, self.name, run)
        x = x + out
        run.trace.record(self.edge, x[0])
        return x, routing


class Block(nn.Module):
    """Pre-norm layers, each added to what it read; under their published names."""

    def __init__(self, sizes: Sizes, tasks: Sequence[str]) -> None:
        super().__init__()
        self.sizes = sizes
        for position, node in enumerate(sizes.nodes):
            self.add_module(sizes.norm_leaf(position), norm_of(node.norm, node.output.channels))
            self.add_module(sizes.leaf(position), layer_of(node, tasks))

    def steps(self) -> Iterator[Step]:
        """The layers in the order of the residual stream."""
        for position, node in enumerate(self.sizes.nodes):
            norm = self.get_submodule(self.sizes.norm_leaf(position))
            layer = self.get_submodule(self.sizes.leaf(position))
            assert isinstance(norm, FloatNorm) and isinstance(layer, FloatLayer)
            yield Step(
                block=self.sizes.number,
                name=node.name,
                norm_name=f"{self.sizes.name}.{self.sizes.norm_leaf(position)}",
                edge=self.sizes.edge_name(position),
                norm=norm,
                layer=layer,
            )


class M3ViT(nn.Module):
    """The backbone: image in, output of every block out. No norm at the end: the heads have their own.

    Parameters
    ----------
    network : Network
        Sizes. Parameters are uninitialised or torch's defaults until `build` or a state dict fills them.

    Raises
    ------
    InputError
        If a layer is of a kind that cannot be computed yet; the message names it.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        check_supported(network)
        self.network = network
        dim, image = network.dim, network.image
        self.patch_embed = PatchEmbed(network)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim)) if network.class_token else None
        self.extra_tokens = None
        if network.extra_tokens:
            self.extra_tokens = nn.Parameter(torch.empty(1, network.extra_tokens, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, network.tokens, dim))
        self.embed_norm = self.patch_pos = None
        if network.embed_norm is not None:
            self.embed_norm = norm_of(network.embed_norm, dim)
            self.patch_pos = nn.Parameter(torch.empty(1, image.patches, dim))  # added before that norm
        self.gate_task_represent = None
        if network.task_embedding is not None:
            self.gate_task_represent = TaskEmbedding(len(network.tasks), network.task_embedding)
        self.blocks = nn.ModuleList(Block(block, network.tasks) for block in network.blocks)
        layers = {step.name: step.layer for step in self.steps()}
        for node in network.layers:
            if node.borrows:
                layers[node.name].share(layers[node.owner])
        self.register_buffer("pixel_mean", torch.tensor(image.pixel_mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(image.pixel_std).view(1, -1, 1, 1), persistent=False)

    def steps_of(self, block: int) -> tuple[Step, ...]:
        """The layers of one block in the order of the residual stream."""
        found = self.blocks[block]
        assert isinstance(found, Block)
        return tuple(found.steps())

    def steps(self) -> Iterator[Step]:
        """All layers in the order of the residual stream."""
        for block in range(self.network.depth):
            yield from self.steps_of(block)

    def run_of(self, task: str | int, trace: Trace = SILENT) -> Run:
        """What layers are told of a run for a task."""
        index = self.network.task_index(task)
        embedding = self.gate_task_represent(index) if self.gate_task_represent is not None else None
        return Run(task=index, embedding=embedding, trace=trace)

    def patches(self, x: torch.Tensor) -> torch.Tensor:
        """Embedded patches [B, patches, dim] of normalised images, as a norm of theirs reads them."""
        x = self.patch_embed(x)
        return x if self.patch_pos is None else x + self.patch_pos

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """The residual [B, tokens, dim] before the first layer, of normalised images."""
        x = self.patches(x)
        if self.embed_norm is not None:
            x = self.embed_norm(x)
        return torch.cat((self.prefix().expand(len(x), -1, -1), x), dim=1) + self.pos_embed

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
        run = self.run_of(task)
        gate = self.steps_of(block)[-1].layer.gate_of_task(run.task, run.embedding)
        if gate is None:
            mixtures = ", ".join(map(str, self.network.mixtures))
            raise ValueError(f"block must be a mixture ({mixtures}), not {block!r}")
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
        run, shape = self.run_of(task, trace), self.network.image.shape
        x = torch.as_tensor(image)
        single = x.ndim == 3
        if single:
            x = x[None]
        if x.ndim != 4 or tuple(x.shape[1:]) != shape:
            raise ValueError(f"image must be {list(shape)}, not {list(torch.as_tensor(image).shape)!r}")
        if trace is not SILENT and len(x) != 1:
            raise ValueError(f"a traced batch must be one image, not {len(x)!r}")

        x = self.normalise(x)
        trace.record("pixels", x[0])
        x = self.embed(x)  # [B, N, dim]
        trace.record("embed", x[0])
        outputs = []
        for block in range(self.network.depth):
            for step in self.steps_of(block):
                x, routing = step(x, run)
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
        if name in ("pos_embed", "patch_pos", "cls_token", "extra_tokens"):
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


def seeded(network: Network, seed: int) -> M3ViT:
    """A network with seeded parameters, in inference mode."""
    model = M3ViT(network)
    seed_parameters(model, seed)
    return model.eval()


def build(config: M3ViTConfig, seed: int) -> M3ViT:
    """The network of a recipe with seeded parameters, in inference mode."""
    return seeded(network_of(config), seed)
