"""Whether a model fits an accelerator, before anything is calibrated: the compiler's passes on a network of zeros."""

from moesaic.compiler.check import check
from moesaic.compiler.pipeline import compile_graphs
from moesaic.flow.request import Request
from moesaic.golden.hollow import hollow_model

__all__ = ["check_fit"]


def check_fit(request: Request) -> None:
    """Refuse a model that the accelerator cannot hold.

    Raises
    ------
    CompileError
        Names the layer or buffer, and by how much it is short.
    """
    hollow = hollow_model(request.model, request.expert_bits)
    check(hollow, request.accelerator, tasks=request.tasks, blocks=request.blocks)
    compile_graphs(
        hollow, request.accelerator, task=request.tasks[0], blocks=request.blocks, speculate=request.speculate
    )
