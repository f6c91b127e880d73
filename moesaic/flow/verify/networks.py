"""Networks drawn at random: anything that the golden model has integers for, and now and then something that it has
none for.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch

from moesaic.compiler.batch import Batch
from moesaic.compiler.options import CompileOptions
from moesaic.flow.verify.configurations import number
from moesaic.golden.layers.fixed_points import ACTIVATIONS
from moesaic.golden.layers.linear import FINER
from moesaic.golden.layers.sizes import (
    GATE_KINDS,
    NORM_KINDS,
    AttentionSizes,
    LayerSizes,
    MLPSizes,
    MoESizes,
    NormSizes,
)
from moesaic.golden.m3vit import M3ViT, seeded
from moesaic.golden.network import Network
from moesaic.golden.nodes import Image, Layer, Node, Sharing, TaskEmbeddingSizes, chain_of
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["Model", "random_model"]

_TASKS = ("x", "y", "z")
_GAINS = (0.0, 1e-3, 0.1, 8.0, 60.0)  # of parameters that are not as a trained network's


@dataclass(frozen=True)
class Model:
    """A network with everything that a program of it depends on.

    Parameters
    ----------
    network : Network
    seed : int
        Of the parameters.
    gains : mapping of str to float
        What parameters are multiplied by, those of other names by 1.
    expert_bits, finer
        As in `quantize.quantize`.
    batch : Batch
        What one program computes.
    blocks, speculate, options
        As in `compile_all`.
    """

    network: Network
    seed: int
    gains: dict[str, float]
    expert_bits: int
    finer: dict[str, str]
    batch: Batch
    blocks: int
    speculate: int | None
    options: CompileOptions = field(default_factory=CompileOptions)

    def floats(self) -> M3ViT:
        """The network with its parameters, in inference mode."""
        model = seeded(self.network, self.seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.mul_(self.gains.get(name, 1.0))
        return model

    def __str__(self) -> str:
        network, image = self.network, self.network.image
        layers = "; ".join(_shown(node) for node in network.nodes)
        return (
            f"image {image.shape} in {image.patch}{' normalised' if image.patch_norm else ''}, "
            f"{network.tokens} tokens of {network.dim}, {layers}; {self.expert_bits} bits, finer {self.finer}, "
            f"gains {self.gains}, {len(self.batch.items)} items of {self.batch.tasks}, {self.blocks} blocks, "
            f"speculate {self.speculate}, {self.options}"
        )


def _shown(node: Node) -> str:
    sizes = ", ".join(f"{name} {value}" for name, value in vars(node.sizes).items())
    norm = f" behind {node.norm.kind} {node.norm.eps:g}" if node.norm else ""
    return f"{node.name} ({sizes}){norm}{f' of {node.owner}' if node.borrows else ''}"


def _flags(rng: random.Random, kind: type[AttentionSizes | MLPSizes | MoESizes], often: float) -> dict[str, Any]:
    """Every option of a kind of layer, there or not."""
    return {option.name: rng.random() < often for option in fields(kind) if option.type is bool}


def _activation(rng: random.Random) -> dict[str, Any]:
    return {"activation": rng.choice(list(ACTIVATIONS))}


def _computed(rng: random.Random, draw: Callable[[], LayerSizes]) -> LayerSizes:
    """A layer that has integers, but for one in fifty draws."""
    while True:
        sizes = draw()
        if not sizes.missing or rng.random() < 0.02:
            return sizes


def _norm(rng: random.Random) -> NormSizes:
    return NormSizes(kind=rng.choice(NORM_KINDS), eps=rng.choice((1e-6, 1e-6, 1e-5, 1e-5, 1e-3, 0.0)))


def _attention(rng: random.Random, dim: int) -> AttentionSizes:
    flags = _flags(rng, AttentionSizes, 0.01)
    if rng.random() < 0.85:
        heads, head_dim = rng.randint(1, 4), number(rng, 1, 40)
        return AttentionSizes(**{**flags, "projection": True}, heads=heads, head_dim=head_dim)
    heads = rng.choice([heads for heads in range(1, min(dim, 8) + 1) if dim % heads == 0])
    return AttentionSizes(**{**flags, "projection": rng.random() < 0.5}, heads=heads, head_dim=dim // heads)


def _dense(rng: random.Random) -> LayerSizes:
    return _computed(
        rng, lambda: MLPSizes(**_flags(rng, MLPSizes, 0.4), hidden=number(rng, 1, 160), **_activation(rng))
    )


def _mixture(rng: random.Random, config: AcceleratorConfig, task_dim: int) -> LayerSizes:
    experts = number(rng, 1, min(10, config.experts + (rng.random() < 0.05)))
    top_k = min(experts, config.max_top_k + (rng.random() < 0.05), rng.choice((1, 2, 2, 3, 4)))
    return _computed(
        rng,
        lambda: MoESizes(
            **_flags(rng, MoESizes, 0.4),
            experts=experts,
            hidden=number(rng, 1, 64),
            top_k=top_k,
            gate_kind=rng.choice(GATE_KINDS),
            gate_task_dim=rng.choice((0, task_dim)),
            **_activation(rng),
        ),
    )


def _blocks(rng: random.Random, config: AcceleratorConfig, dim: int, task_dim: int) -> Iterator[list[Layer]]:
    for _ in range(rng.choice((1, 1, 2, 2, 3, 4))):
        sizes: list[LayerSizes] = []
        for _ in range(rng.choice((1, 2, 2, 2, 3))):
            sizes.append(_attention(rng, dim) if rng.random() < 0.5 else _dense(rng))
        if rng.random() < 0.45:
            sizes[-1] = _mixture(rng, config, task_dim)  # a mixture is the last of its block
        yield [Layer(sizes=of, norm=_norm(rng)) for of in sizes]


def _shared(rng: random.Random, nodes: Sequence[Node]) -> tuple[Node, ...]:
    """With two layers of a kind that have their matrices in common, if there are two."""
    pairs = [(a, b) for a in nodes[1:] for b in nodes[1:] if a.block is not None and a.name < b.name]
    pairs = [(a, b) for a, b in pairs if a.kind == b.kind and nodes.index(a) < nodes.index(b)]
    if not pairs:
        return tuple(nodes)
    first, second = rng.choice(pairs)
    sharing = Sharing(owner=first.name, own_norms=rng.random() < 0.5)
    norm = second.norm if sharing.own_norms else first.norm
    changed = {
        first.name: replace(first, sharing=sharing),
        second.name: replace(second, sizes=first.sizes, norm=norm, sharing=sharing),
    }
    return tuple(changed.get(node.name, node) for node in nodes)


def _image(rng: random.Random, tokens: int) -> Image:
    """Of at most `tokens` patches."""
    down = number(rng, 1, max(1, min(tokens, 12)))
    across = number(rng, 1, max(1, tokens // down))
    channels, patch = rng.randint(1, 4), (number(rng, 1, 8), number(rng, 1, 8))
    return Image(
        height=down * patch[0],
        width=across * patch[1],
        patch_height=patch[0],
        patch_width=patch[1],
        channels=channels,
        pixel_mean=tuple(rng.choice((0.5, 0.0, 0.45)) for _ in range(channels)),
        pixel_std=tuple(rng.choice((0.5, 1.0, 0.22)) for _ in range(channels)),
        patch_norm=_norm(rng) if rng.random() < 0.1 else None,
    )


def _network(rng: random.Random, config: AcceleratorConfig) -> Network:
    tokens = min(rng.choice((6, 20, 48, 96)), config.max_tokens + (rng.random() < 0.05))
    prefix = (rng.random() < 0.5, rng.choice((0, 0, 1, 4)))
    image = _image(rng, max(1, tokens - sum(prefix)))
    most = min(rng.choice((32, 64, 130)), config.max_dim + (rng.random() < 0.05))
    dim = number(rng, 1 if rng.random() < 0.05 else min(rng.choice((4, 8, 16)), most), most)
    task_dim = number(rng, 1, 20) if rng.random() < 0.3 else 0
    embed_norm = _norm(rng) if rng.random() < 0.1 else None
    nodes = chain_of(image, sum(prefix), dim, list(_blocks(rng, config, dim, task_dim)), embed_norm=embed_norm)
    return Network(
        name="drawn",
        tasks=_TASKS[: rng.randint(1, 3)],
        image=image,
        class_token=prefix[0],
        extra_tokens=prefix[1],
        task_embedding=TaskEmbeddingSizes(channels=task_dim) if task_dim else None,
        nodes=_shared(rng, nodes) if rng.random() < 0.2 else nodes,
    )


def _batch(rng: random.Random, tasks: Sequence[str]) -> Batch:
    return Batch(tuple(tasks) if rng.random() < 0.4 else (rng.choice(tasks),), rng.choice((1, 1, 1, 2, 3)))


def _options(rng: random.Random, *, narrow: bool) -> CompileOptions:
    if rng.random() < 0.8:
        return CompileOptions()
    return CompileOptions(
        prefetch=rng.random() < 0.5,
        normalise_on_read=not narrow or rng.random() < 0.5,
        token_group=rng.choice((None, 1, 7)),
        query_group=rng.choice((None, 1, 7)),
    )


def random_model(rng: random.Random, config: AcceleratorConfig) -> Model:
    """A model whose sizes are mostly within the limits of a configuration.

    Raises
    ------
    InputError
        If what was drawn is no network.
    """
    network = _network(rng, config)
    bits = rng.choice((8, 8, 8, 4 if network.most_experts else 8, 16 if config.wide_operands else 8))
    ways = FINER if config.wide_operands or rng.random() < 0.05 else FINER[:1]
    owners = sorted({node.owner for node in network.layers})
    finer = {name: rng.choice(ways) for name in owners if bits < 16 and rng.random() < 0.15}
    parameters = [name for name, _ in M3ViT(network).named_parameters()] if rng.random() < 0.25 else []
    return Model(
        network=network,
        seed=rng.randrange(1 << 20),
        gains={name: rng.choice(_GAINS) for name in parameters if rng.random() < 0.2},
        expert_bits=bits,
        finer=finer,
        batch=_batch(rng, network.tasks),
        blocks=network.depth if rng.random() < 0.85 else rng.randint(1, network.depth),
        speculate=rng.choice((None, None, 0, 1, 3)),
        options=_options(rng, narrow=bits < 16 and not finer),
    )
