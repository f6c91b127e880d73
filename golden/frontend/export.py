"""Traces a module with torch.export, and says in the user's terms what cannot be traced."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn

from moesaic.golden.frontend.leaves import Mixture, stand_ins
from moesaic.golden.frontend.nearest import MIXTURE_RECIPE
from moesaic.golden.frontend.prepare import listing
from moesaic.golden.frontend.refusal import CaptureError, line_of, place_of
from moesaic.golden.frontend.surroundings import quiet_torch

__all__ = ["check_numbers", "trace_module"]


def check_numbers(module: nn.Module, graph: fx.GraphModule, mixtures: Sequence[Mixture]) -> None:
    """`CaptureError` if a parameter that the graph or a mixture uses is not finite, or a buffer is NaN.

    What nothing uses may be anything; a buffer may be infinite, as a mask is.
    """
    needed, waiting = set[fx.Node](), [node for node in graph.graph.nodes if node.op == "output"]
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting += node.all_input_nodes
    names = {str(node.target) for node in needed if node.op == "get_attr"}
    for mixture in mixtures:
        inside = (*(f"{gate}.w_gate".lstrip(".") for gate in mixture.gates), "experts.htoh4.", "experts.h4toh.")
        names |= {
            name
            for name, _ in module.named_parameters()
            if name.startswith(tuple(".".join(filter(None, (mixture.name, part))) for part in inside))
        }
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    bad = [
        f"{name} ({count} values)"
        for name, tensor in (parameters | buffers).items()
        if name in names
        and tensor.is_floating_point()
        and (count := int((tensor.isnan() if name in buffers else ~tensor.isfinite()).sum()))
    ]
    if bad:
        raise CaptureError(f"parameters must be finite, not NaN or infinite: {listing(bad)}")


def trace_module(module: nn.Module, args: Sequence[Any], mixtures: Sequence[Mixture]) -> fx.GraphModule:
    """The graph of a module for inputs of exactly these shapes.

    Raises
    ------
    CaptureError
        If torch.export cannot trace it; the message has the user's line and what to write instead.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one opaque operator for a whole encoder layer otherwise
    try:
        with quiet_torch(), torch.no_grad(), stand_ins(mixtures):
            program = torch.export.export(module, tuple(args), strict=False)
            _check_dropout(program.graph)
            traced = program.run_decompositions({}).module(check_guards=False)
    except CaptureError:
        raise
    except Exception as error:
        raise CaptureError(_explained(error)) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    assert isinstance(traced, fx.GraphModule)
    return traced


def _check_dropout(graph: fx.Graph) -> None:
    for node in graph.nodes:
        name = str(node.target)
        if "dropout" in name and len(node.args) > 2 and node.args[1] and node.args[2] is True:
            raise CaptureError(
                f"node '{node.name}' must be no dropout in inference mode, not F.dropout with training=True\n"
                f"at {line_of(node)}\nnearest supported: nn.Dropout, or F.dropout(x, p, training=self.training)"
            )


def _explained(error: Exception) -> str:
    text = str(error).strip().splitlines()
    where = place_of(error)
    kind = type(error).__name__
    if "DataDependent" in kind or "data-dependent" in str(error).lower() or "unbacked" in str(error).lower():
        return (
            f"the module's control flow must not depend on the image ({kind}){where}\n"
            f"nearest supported: {MIXTURE_RECIPE}; or a mixture with its parameters under M3ViT's names "
            "(experts.htoh4, experts.h4toh, gate.w_gate), whose forward is then free"
        )
    return f"torch.export must be able to trace the module ({kind}: {text[0] if text else 'no reason given'}){where}"
