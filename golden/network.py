"""A network as a graph: nodes are layers of a kind, edges carry one image's tokens from one to the next.

Plain Python 3.10: the host runtime on a board reads networks too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from moesaic.errors import InputError
from moesaic.golden.layers.sizes import SIZES, NormSizes
from moesaic.golden.network_check import checked_chain
from moesaic.golden.nodes import Edge, Image, Node, Origin, Sharing, TaskEmbeddingSizes, edge_name
from moesaic.names import check_tasks

__all__ = ["Block", "Network", "check_runs", "check_supported"]


@dataclass(frozen=True, kw_only=True)
class Block:
    """Layers in a row that are shown, counted and marked together.

    Parameters
    ----------
    number : int
    nodes : tuple of Node
    """

    number: int
    nodes: tuple[Node, ...]

    @property
    def name(self) -> str:
        """Published path of its parameters."""
        return f"blocks.{self.number}"

    def leaf(self, position: int) -> str:
        """Last part of the name of the layer at a position."""
        return self.nodes[position].name.removeprefix(f"{self.name}.")

    def norm_leaf(self, position: int) -> str:
        """Last part of the name of the norm before that layer."""
        return f"norm{position + 1}"

    def edge_name(self, position: int) -> str:
        """Name of the residual stream behind that layer: the block's own for the last."""
        return edge_name(self.name, position, len(self.nodes))

    @property
    def routed(self) -> tuple[int, int] | None:
        """Experts for each token, and experts, of its mixture; None without one."""
        return self.nodes[-1].sizes.routed


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network: what the accelerator runs of it is a chain of layers on one residual stream.

    Parameters
    ----------
    name : str
    tasks : tuple of str
        The position of a task is its number.
    image : Image
    class_token : bool
        Whether token 0 is the class token.
    extra_tokens : int
        Further learnt tokens, between the class token and the patches.
    task_embedding : TaskEmbeddingSizes or None
    nodes : tuple of Node
        In any order; kept in that of the residual stream.

    Raises
    ------
    InputError
        If a name, a size or the graph is not one that can be (`golden.network_check`); the message names the node.
    """

    name: str = "network"
    tasks: tuple[str, ...]
    image: Image
    class_token: bool = False
    extra_tokens: int = 0
    task_embedding: TaskEmbeddingSizes | None = None
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        check_tasks(self.tasks)
        if isinstance(self.extra_tokens, bool) or not isinstance(self.extra_tokens, int) or self.extra_tokens < 0:
            raise InputError(f"extra_tokens must be an integer, 0 or more, not {self.extra_tokens!r}")
        chain = checked_chain(self.nodes, self.image, self.prefix_tokens, self.task_embedding)
        object.__setattr__(self, "nodes", chain)

    @property
    def recentred(self) -> "Network":
        """The network for a residual stream whose tokens have mean zero: no norm subtracts one (`golden.recentre`).

        Raises
        ------
        InputError
            If a norm subtracts none as it is, or a layer's parameters cannot take the mean out.
        """
        if self.nodes[0].norm is not None:
            raise InputError(
                f"node '{self.nodes[0].name}' must not be normalised before the first layer for RMSNorm to take "
                f"LayerNorm's place, as its gain gives tokens a mean: leave --rms-norm out"
            )
        for node in self.layers:
            if node.norm is not None and node.norm.recentred == node.norm:
                raise InputError(
                    f"node '{node.name}' must have LayerNorm for RMSNorm to take its place, not RMSNorm already: leave "
                    f"--rms-norm out"
                )
            if not node.sizes.linear_at_end:
                raise InputError(
                    f"node '{node.name}' must have a matrix that takes a token's mean out, not {node.kind} without a "
                    f"projection: leave --rms-norm out"
                )
        nodes = tuple(replace(node, norm=node.norm and node.norm.recentred) for node in self.nodes)
        return replace(self, nodes=nodes)

    # Shapes.

    @property
    def prefix_tokens(self) -> int:
        """Learnt tokens before the patches: the class token and the extra ones."""
        return self.class_token + self.extra_tokens

    @property
    def tokens(self) -> int:
        """Patches and the learnt tokens before them."""
        return self.image.patches + self.prefix_tokens

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the image, pixels."""
        return self.image.size

    @property
    def dim(self) -> int:
        """Channels of a token in the residual stream."""
        return self.nodes[0].output.channels

    @property
    def embed_norm(self) -> NormSizes | None:
        """What embedded patches pass before positions and learnt tokens join them; None for nothing."""
        return self.nodes[0].norm

    @property
    def eps(self) -> float:
        """Of the last layer's norm: what a head behind it goes by."""
        norm = self.nodes[-1].norm
        assert norm is not None
        return norm.eps

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Layers by block, in the order of the residual stream."""
        found: dict[int, list[Node]] = {}
        for node in self.layers:
            found.setdefault(node.block or 0, []).append(node)
        return tuple(Block(number=number, nodes=tuple(nodes)) for number, nodes in found.items())

    @property
    def layers(self) -> tuple[Node, ...]:
        """All nodes behind the embedding."""
        return self.nodes[1:]

    @property
    def depth(self) -> int:
        """Blocks."""
        return len(self.blocks)

    @property
    def mixtures(self) -> dict[int, tuple[int, int]]:
        """By the number of the block: experts for each token, and experts."""
        return {block.number: block.routed for block in self.blocks if block.routed is not None}

    @property
    def head_splits(self) -> tuple[tuple[int, int], ...]:
        """Heads, and channels of each, of all layers that have any; each pair once."""
        splits = (node.sizes.head_split for node in self.layers)
        return tuple(dict.fromkeys(split for split in splits if split is not None))

    @property
    def most_experts(self) -> int:
        """Experts of the largest mixture; 0 without mixtures."""
        return max((experts for _, experts in self.mixtures.values()), default=0)

    @property
    def most_top_k(self) -> int:
        """Experts for each token, at most; 0 without mixtures."""
        return max((top_k for top_k, _ in self.mixtures.values()), default=0)

    def task_index(self, task: str | int) -> int:
        """Number of a task given by name or number; `InputError` if there is none such."""
        if isinstance(task, str) and task in self.tasks:
            return self.tasks.index(task)
        if not isinstance(task, str) and 0 <= task < len(self.tasks):
            return int(task)
        raise InputError(f"task must be one of {', '.join(self.tasks)}, not {task!r}")

    # Work and storage.

    def _macs(self, node: Node) -> int:
        return node.sizes.macs(node.output.channels, node.output.tokens)

    @property
    def embed_macs(self) -> int:
        """Multiplications of the patch embedding; learnt tokens are counted as rows of it."""
        return self._macs(self.nodes[0])

    def block_macs(self, block: int) -> int:
        """Multiplications of one block, of the experts those that tokens choose."""
        return sum(map(self._macs, self.blocks[block].nodes))

    def block_probability_macs(self, block: int) -> int:
        """Of them, products with probabilities."""
        return sum(node.sizes.probability_macs(node.output.tokens) for node in self.blocks[block].nodes)

    @property
    def macs(self) -> int:
        """Multiplications of one image of one task, heads excluded."""
        return sum(map(self._macs, self.nodes))

    @property
    def embed_weight_bytes(self) -> int:
        return self.nodes[0].sizes.weight_bytes(self.dim)

    def block_weight_bytes(self, block: int) -> int:
        """Matrices of one block at int8, bytes: every expert, one task's gate, no biases or norms."""
        return sum(node.sizes.weight_bytes(node.output.channels) for node in self.blocks[block].nodes)

    def block_expert_bytes(self, block: int) -> int:
        """Matrices of one expert of the block's mixture at int8, bytes; 0 without one."""
        return self.blocks[block].nodes[-1].sizes.expert_bytes(self.dim)

    @property
    def weight_bytes(self) -> int:
        """Matrices that one image of one task streams when all experts are used, at int8, bytes."""
        return self.embed_weight_bytes + sum(self.block_weight_bytes(block) for block in range(self.depth))

    # Files.

    def to_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Network":
        """What `to_dict` gave.

        Raises
        ------
        InputError, TypeError
            If it is no network; fields that are missing or too many are a `TypeError`.
        """
        image, embedding = dict(fields["image"]), fields["task_embedding"]
        for name in {"pixel_mean", "pixel_std"} & image.keys():
            image[name] = tuple(image[name])
        if image.get("patch_norm") is not None:
            image["patch_norm"] = NormSizes(**image["patch_norm"])
        known: dict[str, Any] = {
            "image": Image(**image),
            "tasks": tuple(fields["tasks"]),
            "task_embedding": None if embedding is None else TaskEmbeddingSizes(**embedding),
            "nodes": tuple(_nodes(fields["nodes"])),
        }
        return cls(**{**fields, **known})


def _nodes(entries: list[Mapping[str, Any]]) -> Iterator[Node]:
    for entry in entries:
        if entry["kind"] not in SIZES:
            raise InputError(f"node '{entry['name']}': kind must be one of {', '.join(SIZES)}, not {entry['kind']!r}")
        norm, origin, sharing = entry["norm"], entry["origin"], entry["sharing"]
        known: dict[str, Any] = {
            "sizes": SIZES[entry["kind"]](**entry["sizes"]),
            "norm": None if norm is None else NormSizes(**norm),
            "inputs": tuple(entry["inputs"]),
            "output": Edge(**entry["output"]),
            "origin": None if origin is None else Origin(**origin),
            "sharing": None if sharing is None else Sharing(**sharing),
        }
        yield Node(**{**entry, **known})


def check_supported(network: Network) -> None:
    """Refuse what has no integer arithmetic yet.

    Raises
    ------
    InputError
        If a layer has something that is not supported; the message names both.
    """
    for node in network.nodes:
        if node.sizes.missing:
            raise InputError(f"node '{node.name}' must be of what can be quantised, not with {node.sizes.missing}")


def check_runs(network: Network) -> None:
    """Refuse what can be trained and computed in floats, but not run by the accelerator.

    Raises
    ------
    InputError
        If a layer has something of that sort; the message names both, and what to do.
    """
    for node in network.nodes:
        if node.sizes.only_trained:
            raise InputError(
                f"node '{node.name}' of {network.name} must be of what the accelerator runs, not have "
                f"{node.sizes.only_trained}; train without it, or with --registers, which runs"
            )
