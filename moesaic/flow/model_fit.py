"""Whether a model fits an accelerator, before anything is calibrated: the compiler's passes on a network of zeros."""

from moesaic.compiler.check import check
from moesaic.compiler.ir import CompileError
from moesaic.compiler.pipeline import compile_batch
from moesaic.flow.request import Request
from moesaic.flow.stages import Stages
from moesaic.golden.hollow import hollow_model

__all__ = ["fitting"]


def fitting(request: Request, stages: Stages) -> Request:
    """The request, if the accelerator can hold its model; where all tasks at once are too much, one after the other.

    Raises
    ------
    CompileError
        Names the layer or buffer, and by how much it is short; of a batch, how many images do fit.
    """
    hollow = hollow_model(request.model, request.expert_bits)
    check(hollow, request.accelerator, tasks=request.tasks, blocks=request.blocks)
    blocks, speculate = request.blocks, request.speculate
    compile_batch(hollow, request.accelerator, request.single[0], blocks=blocks, speculate=speculate)
    if not request.together or len(request.tasks) == 1:
        return request
    try:
        compile_batch(hollow, request.accelerator, request.runs[0], blocks=blocks, speculate=speculate)
    except CompileError as error:
        stages.say(f"           tasks run one after the other: {error}")
        return request.replace(together=False)
    return request
