"""Mixtures known by their parameters (`experts.htoh4`, `experts.h4toh`, `w_gate`), whatever their forward does to use
them.
"""

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from moesaic.golden.frontend.activations import PLAIN
from moesaic.golden.frontend.meaning import Leaf, Norm
from moesaic.golden.frontend.mlp import activation_facts
from moesaic.golden.frontend.nearest import MIXTURE_RECIPE
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import CaptureError, Refusal
from moesaic.golden.gate import choose
from moesaic.golden.layers.activations import FUNCTIONS
from moesaic.golden.layers.sizes import GATE_KINDS

__all__ = ["HANDLERS", "Mixture", "find_mixtures", "observe", "stand_ins"]

TOLERANCE = 1e-4  # of a mixture in float32, against the published equations


@torch.library.custom_op("moesaic::mixture", mutates_args=())
def mixture(x: torch.Tensor, number: int) -> torch.Tensor:
    """Stands for mixture `number` while the graph is traced."""
    return x.clone()


@mixture.register_fake
def _(x: torch.Tensor, number: int) -> torch.Tensor:
    return torch.empty_like(x)


@dataclass
class Mixture:
    """A module that holds a mixture's parameters under their published names.

    Parameters
    ----------
    name : str
        Of the module, in the user's model.
    module : nn.Module
    gates : dict of name to module with `w_gate`, inside `module`
    inputs, outputs : list
        What went in and came out when the model ran once for a task: tokens, and whatever the module returns.
    called : list of (gate name, arguments)
        Gates that ran, in order.
    """

    name: str
    module: nn.Module
    gates: dict[str, nn.Module]
    inputs: list[torch.Tensor] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    called: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    def parameter(self, part: str, kind: str) -> torch.Tensor:
        """`experts.{part}.{kind}`; zeros for a bias that is not there."""
        layer = self.module.get_submodule(f"experts.{part}")
        tensor = getattr(layer, kind, None)
        if tensor is None:
            weight = self.parameter(part, "weight")
            return weight.new_zeros(weight.shape[:2])
        return tensor.detach().reshape(tensor.shape[0], -1) if kind == "bias" else tensor.detach()

    @property
    def where(self) -> str:
        """The line where its forward is defined."""
        forward = type(self.module).forward
        try:
            return f"{inspect.getsourcefile(forward)}:{inspect.getsourcelines(forward)[1]}"
        except (OSError, TypeError):
            return type(self.module).__name__


def find_mixtures(module: nn.Module) -> list[Mixture]:
    """The mixtures in a model, in order."""
    found = []
    for name, part in module.named_modules():
        weights = []
        for layer in ("htoh4", "h4toh"):
            try:
                weights.append(getattr(part.get_submodule(f"experts.{layer}"), "weight", None))
            except AttributeError:
                break
        gates = {n: gate for n, gate in part.named_modules() if isinstance(getattr(gate, "w_gate", None), torch.Tensor)}
        if len(weights) == 2 and gates and all(isinstance(w, torch.Tensor) and w.ndim == 3 for w in weights):
            found.append(Mixture(name, part, gates))
    return found


@torch.no_grad()
def observe(module: nn.Module, args: Sequence[Any], mixtures: Sequence[Mixture]) -> None:
    """Run the model once and keep what goes through its mixtures."""
    handles = []
    for mix in mixtures:
        mix.inputs.clear()
        mix.outputs.clear()
        mix.called.clear()

        def done(_: nn.Module, inputs: tuple[Any, ...], output: Any, mix: Mixture = mix) -> None:
            tensors = [x for x in inputs if isinstance(x, torch.Tensor)]
            mix.inputs += tensors[:1]
            mix.outputs.append(output)

        handles.append(mix.module.register_forward_hook(done))
        for name, gate in mix.gates.items():

            def called(_: nn.Module, inputs: tuple[Any, ...], mix: Mixture = mix, name: str = name) -> None:
                mix.called.append((name, inputs))

            handles.append(gate.register_forward_pre_hook(called))
    try:
        module(*args)
    finally:
        for handle in handles:
            handle.remove()
    for mix in mixtures:
        if len(mix.inputs) != 1:
            raise CaptureError(
                f"mixture '{mix.name}' must run once for an image, not {len(mix.inputs)} times\n"
                f"at {mix.where}; nearest supported: {MIXTURE_RECIPE}"
            )


def _rest(output: Any) -> tuple[Any, ...] | None:
    return tuple(output[1:]) if isinstance(output, (tuple, list)) else None


@contextlib.contextmanager
def stand_ins(mixtures: Sequence[Mixture]) -> Iterator[None]:
    """Put one node in the place of each mixture while the graph is traced."""
    try:
        for number, mix in enumerate(mixtures):

            def forward(x: torch.Tensor, *args: Any, number: int = number, mix: Mixture = mix, **kwargs: Any) -> Any:
                y = torch.ops.moesaic.mixture(x, number)
                rest = _rest(mix.outputs[0])
                return y if rest is None else (y, *rest)

            mix.module.__dict__["forward"] = forward
        yield
    finally:
        for mix in mixtures:
            mix.module.__dict__.pop("forward", None)


def _embedding(mix: Mixture, gate: str, dim: int, more: int) -> torch.Tensor:
    """What is appended to every token before a task-conditioned gate: [more]."""
    for name, inputs in mix.called:
        for x in inputs if name == gate else ():
            if isinstance(x, torch.Tensor) and x.shape[-1] == dim + more:
                rows = x.reshape(-1, dim + more)[:, dim:]
                if bool((rows == rows[0]).all()):
                    return rows[0].detach()
            elif isinstance(x, torch.Tensor) and x.numel() == more:
                return x.detach().reshape(-1)
    raise CaptureError(
        f"gate '{mix.name}.{gate}' must get an embedding of {more} values, the same for every token\nat {mix.where}"
    )


def solve(mix: Mixture, task: int) -> tuple[dict[str, torch.Tensor], dict[str, Any], str]:
    """A mixture's parameters for a task, with the number of experts per token and the kind of gate that its output
    shows.

    Returns
    -------
    parameters, facts, name of the gate

    Raises
    ------
    CaptureError
        If no mixture of the published kinds computes what the module does.
    """
    up, up_bias, down, down_bias = (mix.parameter(p, k) for p in ("htoh4", "h4toh") for k in ("weight", "bias"))
    count, hidden, dim = up.shape
    if down.shape != (count, dim, hidden) or up_bias.shape != (count, hidden) or down_bias.shape != (count, dim):
        raise CaptureError(
            f"mixture '{mix.name}' must have htoh4 [experts, hidden, dim] and h4toh [experts, dim, hidden], "
            f"not {list(up.shape)} and {list(down.shape)}\nat {mix.where}"
        )
    names = list(dict.fromkeys(name for name, _ in mix.called)) or list(mix.gates)
    if len(names) > 1:
        names = names[task : task + 1] if task < len(names) else names[:1]
    gate: Any = mix.gates[names[0]]  # has a w_gate: that is how it was found
    weight = gate.w_gate.detach()
    if weight.shape[-1] != count or weight.shape[0] < dim:
        raise CaptureError(
            f"gate '{mix.name}.{names[0]}' must have w_gate [{dim}, {count}], not {list(weight.shape)}\nat {mix.where}"
        )
    bias = weight.new_zeros(count)
    if weight.shape[0] > dim:
        bias = _embedding(mix, names[0], dim, weight.shape[0] - dim) @ weight[dim:]
    x = mix.inputs[0].reshape(-1, dim)
    output = mix.outputs[0][0] if isinstance(mix.outputs[0], (tuple, list)) else mix.outputs[0]
    wanted = output.reshape(-1, dim).double()
    logits = x.double() @ weight[:dim].double() + bias.double()
    parameters = {
        "mlp.experts.htoh4.weight": up,
        "mlp.experts.htoh4.bias": up_bias,
        "mlp.experts.h4toh.weight": down,
        "mlp.experts.h4toh.bias": down_bias,
        "gate.weight": weight[:dim],
        "gate.bias": bias,
    }
    best = np.inf
    for activation in PLAIN:
        function = FUNCTIONS[activation]
        each = torch.stack(
            [
                function(x.double() @ up[e].double().T + up_bias[e]) @ down[e].double().T + down_bias[e]
                for e in range(count)
            ],
            dim=1,
        )  # [tokens, experts, dim]
        for kind in GATE_KINDS:
            for k in range(1, count + 1):
                scores, index = choose(logits, k, kind)
                got = (each.gather(1, index[..., None].expand(-1, -1, dim)) * scores[..., None]).sum(1)
                error = float((got - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12))
                if error < TOLERANCE:
                    facts = activation_facts(activation)
                    return parameters, facts | {"top_k": k, "gate_kind": kind, "experts": count}, names[0]
                best = min(best, error)
    raise CaptureError(
        f"mixture '{mix.name}' must compute the sum over its chosen experts of score times expert, "
        f"not something else (off by {best:.1e} of its largest value at best)\nat {mix.where}\n"
        "nearest supported: scores from a softmax over all experts before the choice, or over the chosen ones after it"
    )


def _leaf(reader: Reader, node: Any, args: Sequence[Any], kwargs: Any) -> torch.Tensor:
    found = reader.find(args[0])
    if found is None or not isinstance(found[0], Norm) or args[0].shape[-1] != found[0].shape[1]:
        what = "several tensors" if found is None else found[0].what
        raise Refusal(f"a mixture of {what}", expected="a mixture of a norm", nearest="x + mixture(norm(x))")
    return reader.add(Leaf(node=node, shape=found[0].shape, source=found[0], number=int(args[1]))) + found[1]


HANDLERS = {"mixture": _leaf}
