"""Sizes of each kind of layer: what a node of a network is, before it has any parameters."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from moesaic.golden.layers.fixed_points import ACTIVATIONS
from moesaic.golden.layers.size_problems import problem_of_choice, problem_of_count, unlike
from moesaic.hw.spec.functions import FUNCTIONS

__all__ = [
    "GATE_KINDS",
    "NORM_KINDS",
    "SIZES",
    "AttentionSizes",
    "EmbeddingSizes",
    "LayerSizes",
    "MLPSizes",
    "MoESizes",
    "NormSizes",
]

GATE_KINDS = ("noisy_vmoe", "noisy")  # softmax over all experts and then top-k, or top-k and then softmax over those
NORM_KINDS = ("layernorm", "rmsnorm")


def _missing(activation: str, gated: bool) -> str:
    squared = FUNCTIONS[ACTIVATIONS[activation].function].squared
    return f"a gate of activation {activation!r}" if gated and squared else ""


@dataclass(frozen=True, kw_only=True)
class NormSizes:
    """The norm that a layer reads the residual stream through.

    Parameters
    ----------
    kind : str
        One of `NORM_KINDS`.
    eps : float
        Added to the variance, or to the mean square.
    """

    kind: str = "layernorm"
    eps: float = 1e-6

    @property
    def problem(self) -> str:
        """What is wrong; empty if nothing is."""
        if not 0 <= self.eps < float("inf"):
            return f"eps must be zero or positive, and finite, not {self.eps!r}"
        return problem_of_choice("kind of norm", self.kind, NORM_KINDS)

    @property
    def centred(self) -> bool:
        """Whether a token's mean is subtracted; otherwise it is RMSNorm."""
        return self.kind == "layernorm"

    def moments(self, mean: Any, square: Any) -> tuple[Any, Any]:
        """What is subtracted, and the variance that is divided by, of values with this mean and mean square: arrays."""
        return (mean, np.maximum(square - mean * mean, 0)) if self.centred else (0 * mean, square)

    @property
    def recentred(self) -> "NormSizes":
        """The same for tokens whose mean is zero: nothing is subtracted."""
        return replace(self, kind="rmsnorm")


class LayerSizes(ABC):
    """What every kind of layer says of its size.

    Members
    -------
    kind : str
        Name of its room.
    leaf : str
        What its parameters are called within their block.
    """

    kind: ClassVar[str]
    leaf: ClassVar[str]

    @property
    @abstractmethod
    def problem(self) -> str:
        """What is wrong; empty if nothing is."""

    @abstractmethod
    def macs(self, dim: int, tokens: int) -> int:
        """Multiply-accumulates of one image."""

    @abstractmethod
    def weight_bytes(self, dim: int) -> int:
        """Matrices that one image of one task streams, at int8, bytes: every expert, no biases."""

    @property
    def routed(self) -> tuple[int, int] | None:
        """Experts for each token, and experts; None without a router."""
        return None

    @property
    def missing(self) -> str:
        """What of it has no integer arithmetic yet; empty if nothing."""
        return ""

    @property
    def only_trained(self) -> str:
        """What of it is there for training alone, and why the accelerator has none; empty if nothing."""
        return ""

    @property
    def linear_at_end(self) -> bool:
        """Whether any matrix on what is added can be had by changing parameters."""
        return True

    @property
    def head_split(self) -> tuple[int, int] | None:
        """Heads, and channels of each, whose keys and values are held for all tokens; None without any."""
        return None

    @property
    def units(self) -> int | None:
        """Hidden units, of which the first ones are a layer too; None without any."""
        return None

    def with_units(self, units: int) -> "LayerSizes":
        """The same with so many hidden units."""
        return self

    def misfit(self, *, dim: int, patch_values: int, task_dim: int) -> str:
        """What does not fit the network around it, of `dim` channels a token, `patch_values` values a patch and a task
        embedding of `task_dim` channels; empty if all does.
        """
        return ""

    def unlike(self, other: Any) -> str:
        """What of another layer of the kind keeps it from using the same matrices, as a requirement; empty if nothing
        does.
        """
        return unlike(self, other, tuple(vars(self)))

    def expert_bytes(self, dim: int) -> int:
        """Matrices of one expert at int8, bytes."""
        return 0

    def probability_macs(self, tokens: int) -> int:
        """Of `macs`, products with probabilities, which have 8 bits whatever the rest has."""
        return 0


@dataclass(frozen=True, kw_only=True)
class EmbeddingSizes(LayerSizes):
    """Patches to tokens, learnt tokens before them, positions added.

    Parameters
    ----------
    values : int
        Values of one patch.
    """

    kind: ClassVar[str] = "embedding"
    leaf: ClassVar[str] = "embed"

    values: int

    @property
    def problem(self) -> str:
        return problem_of_count("values of a patch", self.values)

    def misfit(self, *, dim: int, patch_values: int, task_dim: int) -> str:
        if self.values == patch_values:
            return ""
        return f"values of a patch must be {patch_values}, as the image is cut, not {self.values!r}"

    def macs(self, dim: int, tokens: int) -> int:
        return tokens * self.values * dim  # learnt tokens are counted as rows of it

    def weight_bytes(self, dim: int) -> int:
        return self.values * dim


@dataclass(frozen=True, kw_only=True)
class AttentionSizes(LayerSizes):
    """Multi-head self-attention.

    Parameters
    ----------
    heads : int
    head_dim : int
        Channels of a head; all heads together may have more channels than a token, or fewer.
    projection : bool
        Whether a matrix follows the heads; without, they have the channels of a token.
    clipped_softmax : float
        Gamma of a clipped softmax, clip((1 - gamma) * softmax + gamma, 0, 1); 0 is a softmax.
    head_gates : bool
        Whether each head's context is multiplied by the sigmoid of a linear function of the token.

    Notes
    -----
    The last two are those of Bondarenko, Nagel, Blankevoort, "Quantizable Transformers", NeurIPS 2023.
    """

    kind: ClassVar[str] = "attention"
    leaf: ClassVar[str] = "attn"

    heads: int
    head_dim: int
    projection: bool = True
    clipped_softmax: float = 0.0
    head_gates: bool = False

    @property
    def inner(self) -> int:
        """Channels of all heads together."""
        return self.heads * self.head_dim

    @property
    def problem(self) -> str:
        found = problem_of_count("heads", self.heads) or problem_of_count("channels of a head", self.head_dim)
        if not found and not -1 < self.clipped_softmax <= 0:
            found = f"clipped_softmax must be above -1 and 0 at most, not {self.clipped_softmax!r}"
        return found

    @property
    def only_trained(self) -> str:
        if self.clipped_softmax:
            return (
                f"a clipped softmax (gamma {self.clipped_softmax:g}): probabilities are divided by their sum behind "
                f"the product with the values, where nothing is left to clip"
            )
        return "gated attention: no instruction multiplies a head by a number of its token" if self.head_gates else ""

    @property
    def linear_at_end(self) -> bool:
        return self.projection or self.heads == 1  # heads mix tokens differently

    @property
    def head_split(self) -> tuple[int, int]:
        return self.heads, self.head_dim

    def misfit(self, *, dim: int, patch_values: int, task_dim: int) -> str:
        if self.projection or self.inner == dim:
            return ""
        return f"heads without a projection must have the {dim} channels of a token, not {self.inner!r}"

    def macs(self, dim: int, tokens: int) -> int:
        return tokens * self.inner * ((3 + self.projection) * dim + 2 * tokens)

    def weight_bytes(self, dim: int) -> int:
        return (3 + self.projection) * dim * self.inner

    def probability_macs(self, tokens: int) -> int:
        return tokens * tokens * self.inner


@dataclass(frozen=True, kw_only=True)
class MLPSizes(LayerSizes):
    """A dense MLP.

    Parameters
    ----------
    hidden : int
        Hidden units.
    activation : str
        One of `fixed_points.ACTIVATIONS`.
    gated : bool
        Whether the hidden units are values times the activation of as many gates.
    """

    kind: ClassVar[str] = "mlp"
    leaf: ClassVar[str] = "mlp"

    hidden: int
    activation: str = "gelu"
    gated: bool = False

    @property
    def problem(self) -> str:
        return problem_of_count("hidden units of an MLP", self.hidden) or problem_of_choice(
            "activation", self.activation, tuple(ACTIVATIONS)
        )

    @property
    def missing(self) -> str:
        return _missing(self.activation, self.gated)

    @property
    def units(self) -> int:
        return self.hidden

    def with_units(self, units: int) -> "MLPSizes":
        return replace(self, hidden=units)

    def macs(self, dim: int, tokens: int) -> int:
        return tokens * self.weight_bytes(dim)

    def weight_bytes(self, dim: int) -> int:
        return (3 if self.gated else 2) * dim * self.hidden


@dataclass(frozen=True, kw_only=True)
class MoESizes(LayerSizes):
    """A mixture of experts.

    Parameters
    ----------
    experts : int
    hidden : int
        Hidden units of an expert.
    top_k : int
        Experts for each token.
    gate_kind : str
        One of `GATE_KINDS`.
    gate_bias : bool
        Whether each expert's logit has a learnt constant.
    gate_task_dim : int
        Channels of the task embedding that its one router also sees; 0: a router for each task.
    activation : str
        One of `fixed_points.ACTIVATIONS`.
    gated : bool
        Whether an expert's hidden units are values times the activation of as many gates.
    """

    kind: ClassVar[str] = "moe"
    leaf: ClassVar[str] = "mlp"

    experts: int
    hidden: int
    top_k: int
    gate_kind: str = "noisy_vmoe"
    gate_bias: bool = False
    gate_task_dim: int = 0
    activation: str = "gelu"
    gated: bool = False

    @property
    def problem(self) -> str:
        if found := problem_of_count("experts", self.experts) or problem_of_count(
            "hidden units of experts", self.hidden
        ):
            return found
        if problem_of_count("top_k", self.top_k) or self.top_k > self.experts:
            return f"top_k must be from 1 to the {self.experts} experts, not {self.top_k!r}"
        return (
            problem_of_choice("gate_kind", self.gate_kind, GATE_KINDS)
            or problem_of_count("gate_task_dim", self.gate_task_dim, 0)
            or problem_of_choice("activation", self.activation, tuple(ACTIVATIONS))
        )

    @property
    def missing(self) -> str:
        return _missing(self.activation, self.gated)

    @property
    def routed(self) -> tuple[int, int]:
        return self.top_k, self.experts

    @property
    def units(self) -> int:
        return self.hidden

    def with_units(self, units: int) -> "MoESizes":
        return replace(self, hidden=units)

    def unlike(self, other: Any) -> str:
        return unlike(self, other, ("experts", "hidden", "activation", "gated"))  # routers are each one's own

    def misfit(self, *, dim: int, patch_values: int, task_dim: int) -> str:
        if self.gate_task_dim in (0, task_dim):
            return ""
        return f"gate_task_dim must be 0 or {task_dim}, as of the task embedding, not {self.gate_task_dim!r}"

    def macs(self, dim: int, tokens: int) -> int:
        """The gate, and the experts that tokens choose."""
        return tokens * (dim * self.experts + self.top_k * self.expert_bytes(dim))

    def weight_bytes(self, dim: int) -> int:
        return dim * self.experts + self.experts * self.expert_bytes(dim)

    def expert_bytes(self, dim: int) -> int:
        return (3 if self.gated else 2) * dim * self.hidden


SIZES: dict[str, type[LayerSizes]] = {
    sizes.kind: sizes for sizes in (EmbeddingSizes, AttentionSizes, MLPSizes, MoESizes)
}
"""Sizes by kind of layer: a new kind is added here."""
