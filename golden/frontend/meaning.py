"""What the tensors of a captured graph mean: the layers of a vision transformer, each a function of earlier ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx

from moesaic.golden.layers.sizes import NormSizes

__all__ = [
    "Block",
    "Chosen",
    "Combine",
    "Constant",
    "Context",
    "Embed",
    "Energy",
    "GateProbs",
    "GateScores",
    "Gated",
    "Group",
    "Hidden",
    "Leaf",
    "Linear",
    "Meaning",
    "Mixture",
    "Norm",
    "NormedPatches",
    "Patches",
    "Pixels",
    "Pointwise",
    "Probs",
    "Ranked",
    "RankedIndex",
    "RankedTotal",
    "Residual",
    "ScoredChoice",
    "Scores",
    "Squared",
    "Stream",
    "Weighted",
]

Index = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(eq=False, kw_only=True)
class Meaning:
    """A tensor of known meaning.

    Parameters
    ----------
    node : fx.Node or None
        Where the graph computes it.
    shape : tuple of int
        Of the canonical form, without batch: tokens first, where there are tokens.
    """

    node: fx.Node | None
    shape: tuple[int, ...]

    @property
    def what(self) -> str:
        """In words."""
        return (type(self).__doc__ or type(self).__name__).splitlines()[0].rstrip(".").split(":")[0].lower()


@dataclass(eq=False, kw_only=True)
class Pixels(Meaning):
    """The image: [channels, H, W], each channel times `scale` plus `offset`."""

    scale: torch.Tensor
    offset: torch.Tensor


@dataclass(eq=False, kw_only=True)
class Constant(Meaning):
    """A constant: parameters of the module and what was computed from them."""

    values: torch.Tensor
    names: tuple[str, ...] = ()


@dataclass(eq=False, kw_only=True)
class Patches(Meaning):
    """The patches of the image: [patches, channels * height * width], in the order channel, row, column.

    `size`: height and width of a patch, pixels. `norm`: of each patch, without gain and offset.
    """

    pixels: Pixels
    size: tuple[int, int]
    grid: tuple[int, int]
    norm: NormSizes | None = None


@dataclass(eq=False, kw_only=True)
class NormedPatches(Meaning):
    """Patches behind a norm: [patches, channels * height * width], in the order channel, row, column."""

    patches: Patches
    weight: torch.Tensor
    bias: torch.Tensor


@dataclass(eq=False)
class Group:
    """One matrix: which columns of the source it reads.

    Parameters
    ----------
    columns : [in] int64
    weight : [out, in]
    bias : [out]
    """

    columns: Index
    weight: torch.Tensor
    bias: torch.Tensor


@dataclass(eq=False, kw_only=True)
class Linear(Meaning):
    """The output of a linear layer: [tokens, groups * out].

    `affine`: another one, and the two numbers that its values were multiplied by and increased by to be these.
    """

    source: Meaning
    groups: Sequence[Group]
    weight_names: tuple[str, ...] = ()
    bias_names: tuple[str, ...] = ()
    affine: "tuple[Linear, float, float] | None" = None

    @property
    def out(self) -> int:
        """Outputs of a group."""
        return len(self.groups[0].weight)

    def rows(self, columns: Index) -> Group | None:
        """The matrix that computes some output columns; None if they belong to several groups."""
        number = np.unique(columns // self.out)
        if len(number) != 1:
            return None
        group, pick = self.groups[int(number[0])], torch.from_numpy(columns % self.out)
        return Group(group.columns, group.weight[pick], group.bias[pick])


@dataclass(eq=False, kw_only=True)
class Stream(Meaning):
    """A residual stream: [tokens, dim]."""


@dataclass(eq=False, kw_only=True)
class Embed(Stream):
    """The embedded tokens: [tokens, dim], learnt tokens first, then the patches in raster order.

    `linear` (of the patches) is added to the last `patches` rows of `table`; with a `norm`, those rows of it, which is
    of the patches without it.
    """

    linear: Linear
    table: torch.Tensor
    names: tuple[str, ...] = ()
    norm: "Norm | None" = None

    @property
    def learnt(self) -> int:
        """Learnt tokens before the patches."""
        return self.shape[0] - self.linear.shape[0]


@dataclass(eq=False)
class Block:
    """What one half of a transformer block adds to the residual stream, with its canonical parameters.

    Parameters
    ----------
    kind : "attention", "mlp" or "mixture"
    norm : Norm
    parameters : dict of canonical name (without the block's) to Tensor
    names : dict of canonical name to the user's names
    facts : dict
        As far as the kind has them: heads, head_dim; hidden (what `MLPSizes` and `MoESizes` take of the hidden
        units' form: activation, one of `fixed_points.ACTIVATIONS`, and gated), gelu ("exact" or "tanh" where it is
        GELU); top_k, gate_kind, experts.
    """

    kind: str
    norm: "Norm"
    parameters: dict[str, torch.Tensor]
    names: dict[str, tuple[str, ...]]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False, kw_only=True)
class Residual(Stream):
    """The residual stream: [tokens, dim], after attention or after an MLP."""

    before: Stream
    block: Block


@dataclass(eq=False, kw_only=True)
class Norm(Meaning):
    """The output of a norm: [tokens, dim]; `kind` is "layernorm" or "rmsnorm"."""

    stream: Stream
    kind: str
    weight: torch.Tensor
    bias: torch.Tensor
    eps: float
    names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


@dataclass(eq=False, kw_only=True)
class Squared(Meaning):
    """The square of the residual stream: [tokens, dim]."""

    stream: Stream


@dataclass(eq=False, kw_only=True)
class Energy(Meaning):
    """A power of each token's sum of squares: [tokens, 1], (`factor` * sum + `constant`) ** `exponent`."""

    stream: Stream
    factor: float
    constant: float
    exponent: float


@dataclass(eq=False, kw_only=True)
class Hidden(Meaning):
    """Hidden units of an MLP, as its second layer takes them: [tokens, hidden]."""


@dataclass(eq=False, kw_only=True)
class Pointwise(Hidden):
    """An activation: a function of a linear layer's values, one by one: [tokens, hidden].

    `kind`: its name (`layers.activations.FUNCTIONS`), or None if it is none of the known ones.
    """

    linear: Linear
    function: Callable[[torch.Tensor], torch.Tensor]
    kind: str | None


@dataclass(eq=False, kw_only=True)
class Gated(Hidden):
    """A gated unit: [tokens, columns of `value`], each of its values times the activation of a value of `gate`.

    `gate_columns` [columns of `value`]: which one; -1 where unused.
    """

    value: Linear
    gate: Linear
    gate_columns: Index
    kind: str


@dataclass(eq=False, kw_only=True)
class Scores(Meaning):
    """Attention scores: [heads, queries, keys], each head times `scale`; columns [heads, head dim] of the linears."""

    query: Linear
    query_columns: Index
    key: Linear
    key_columns: Index
    scale: torch.Tensor


@dataclass(eq=False, kw_only=True)
class Probs(Meaning):
    """Attention probabilities: [heads, queries, keys]."""

    scores: Scores


@dataclass(eq=False, kw_only=True)
class Context(Meaning):
    """The output of attention's heads: [tokens, heads * head dim]."""

    probs: Probs
    value: Linear
    value_columns: Index


@dataclass(eq=False, kw_only=True)
class GateProbs(Meaning):
    """A gate's probabilities: [tokens, experts]."""

    logits: Linear


@dataclass(eq=False, kw_only=True)
class Ranked(Meaning):
    """A gate's largest values: [tokens, ranks]."""

    of: Linear | GateProbs

    @property
    def logits(self) -> Linear:
        return self.of.logits if isinstance(self.of, GateProbs) else self.of


@dataclass(eq=False, kw_only=True)
class RankedIndex(Meaning):
    """The experts of a gate's largest values: [tokens, ranks]."""

    logits: Linear


@dataclass(eq=False, kw_only=True)
class RankedTotal(Meaning):
    """The sum of a gate's k largest probabilities: [tokens, 1]."""

    ranked: Ranked
    k: int


@dataclass(eq=False, kw_only=True)
class GateScores(Meaning):
    """Factors of the chosen experts: [tokens, k]; `kind` as in `MoESizes.gate_kind`."""

    logits: Linear
    kind: str


@dataclass(eq=False, kw_only=True)
class Chosen(Meaning):
    """Whether a rank's expert is this one: [tokens, ranks, experts]."""

    logits: Linear


@dataclass(eq=False, kw_only=True)
class ScoredChoice(Meaning):
    """A rank's factor at its expert: [tokens, ranks, experts], zero elsewhere."""

    scores: GateScores


@dataclass(eq=False, kw_only=True)
class Combine(Meaning):
    """Factors of all experts: [tokens, experts], zero for those not chosen."""

    scores: GateScores


@dataclass(eq=False, kw_only=True)
class Weighted(Meaning):
    """Expert outputs times their factors: [tokens, columns of the linear]; `expert` [columns] is -1 where unused."""

    linear: Linear
    combine: Combine
    expert: Index


@dataclass(eq=False, kw_only=True)
class Mixture(Meaning):
    """A sum over experts: [tokens, dim]; each term's columns [dim] of a weighted linear."""

    terms: list[tuple[Weighted, Index]]


@dataclass(eq=False, kw_only=True)
class Leaf(Meaning):
    """The output of a mixture module recognised by its parameters: [tokens, dim]."""

    source: Meaning
    number: int
