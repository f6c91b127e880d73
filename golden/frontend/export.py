"""Traces a module with torch.export, and says in the user's terms what cannot be traced."""

import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn

from moesaic.golden.frontend.leaves import Mixture, stand_ins
from moesaic.golden.frontend.nearest import MIXTURE_RECIPE
from moesaic.golden.frontend.refusal import CaptureError, line_of, lines_of_text

__all__ = ["check_module", "trace_module"]

_LISTED = 6  # names in an error


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def check_module(module: Any) -> None:
    """What can be known to be wrong before tracing.

    Raises
    ------
    CaptureError
        If it is no module, in training mode, or its parameters are not real, finite numbers in memory.
    """
    if not isinstance(module, nn.Module):
        raise CaptureError(f"model must be an nn.Module, not {type(module).__name__}")
    training = [name or type(module).__name__ for name, part in module.named_modules() if part.training]
    if training:
        raise CaptureError(
            f"model must be in inference mode, not in training mode ({_listing(training)})\n"
            "call model.eval() before returning it: dropout and noisy gates would change what it computes"
        )
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    if meta := [name for name, tensor in tensors.items() if tensor.is_meta]:
        raise CaptureError(f"parameters must be in memory, not on the meta device ({_listing(meta)})")
    bad = [
        f"{name} ({int((~torch.isfinite(tensor)).sum())} values)"
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if bad:
        raise CaptureError(f"parameters must be finite, not NaN or infinite: {_listing(bad)}")


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
        with warnings.catch_warnings(), torch.no_grad(), stand_ins(mixtures):
            warnings.simplefilter("ignore")
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
    lines = lines_of_text("".join(traceback.format_exception(error)))
    text = str(error).strip().splitlines()
    where = f"\nat {lines[-1]}" if lines else ""
    kind = type(error).__name__
    if "DataDependent" in kind or "data-dependent" in str(error).lower() or "unbacked" in str(error).lower():
        return (
            f"the module's control flow must not depend on the image ({kind}){where}\n"
            f"nearest supported: {MIXTURE_RECIPE}; or a mixture with its parameters under M3ViT's names "
            "(experts.htoh4, experts.h4toh, gate.w_gate), whose forward is then free"
        )
    return f"torch.export must be able to trace the module ({kind}: {text[0] if text else 'no reason given'}){where}"
