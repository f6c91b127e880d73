"""The analytic model on a program that a test has compiled by itself."""

from collections.abc import Mapping, Sequence

from moesaic.compiler.cost import Cost
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.memory import IDEAL, DdrTiming
from moesaic.compiler.pipeline import compile_graphs
from moesaic.flow.model_cycles import TaskModel, stream_pieces
from moesaic.golden.qmodel import QuantModel

__all__ = ["image_costs"]


def image_costs(
    image: ProgramImage,
    qmodel: QuantModel,
    task: str,
    experts: Mapping[str, Sequence[int]],
    *,
    blocks: int | None = None,
    speculate: int | None = None,
    ddr: DdrTiming = IDEAL,
) -> list[Cost]:
    """Cost of each operation of one task's program.

    Parameters
    ----------
    image : ProgramImage
    qmodel : QuantModel
        What the image was compiled from, with `blocks` and `speculate`.
    task : str
    experts : mapping of block name to sequence of int
        Tokens in each expert's queue.
    ddr : DdrTiming
    """
    _, graph = compile_graphs(qmodel, image.config, task=task, blocks=blocks, speculate=speculate)
    return TaskModel(graph, stream_pieces(image, graph), image.config, ddr=ddr).costs(experts)
