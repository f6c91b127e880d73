"""What the analytic model says a run takes, given what the router decided."""

from collections.abc import Mapping, Sequence

from moesaic.compiler.cost import DDR_LATENCY, Cost, estimate
from moesaic.compiler.emit import IMAGE_PIECE
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.ir import Op
from moesaic.compiler.options import CompileOptions
from moesaic.compiler.pack import Piece
from moesaic.compiler.pipeline import EVERYTHING, compile_graphs
from moesaic.flow.program import Program
from moesaic.golden.qmodel import QuantModel
from moesaic.hw.timing import timing

__all__ = ["image_costs", "model_costs"]


def image_costs(
    image: ProgramImage,
    qmodel: QuantModel,
    task: str,
    experts: Mapping[str, Sequence[int]],
    *,
    blocks: int | None = None,
    speculate: int | None = None,
    options: CompileOptions = EVERYTHING,
    ddr_latency: int = DDR_LATENCY,
) -> list[Cost]:
    """Cost of each operation of one task's program.

    Parameters
    ----------
    image : ProgramImage
    qmodel : QuantModel
        What the image was compiled from, with `blocks`, `speculate` and `options`.
    task : str
    experts : mapping of block name to sequence of int
        Tokens in each expert's queue.
    ddr_latency : int, cycles
    """
    config = image.config
    _, graph = compile_graphs(qmodel, config, task=task, blocks=blocks, speculate=speculate, options=options)
    pieces = {
        entry["name"]: Piece(entry["name"], entry["offset"] // config.word_bytes, entry["bytes"] // config.word_bytes)
        for entry in image.manifest["pieces"]
    }
    words = sum(op.weight_words or 0 for op in graph.ops if op.weights == IMAGE_PIECE)
    pieces[IMAGE_PIECE] = Piece(IMAGE_PIECE, 0, words)

    def tokens(op: Op) -> int:
        return op.tokens if op.expert is None else experts[f"blocks.{op.block}"][op.expert]

    return estimate(
        graph,
        pieces,
        config,
        tokens,
        timing=timing(config),
        ddr_latency=ddr_latency,
        prefetch=options.prefetch,
    )


def model_costs(
    program: Program, task: str, experts: Mapping[str, Sequence[int]], *, ddr_latency: int = DDR_LATENCY
) -> list[Cost]:
    """:func:`image_costs` of a program."""
    request = program.request
    return image_costs(
        program.image,
        program.qmodel,
        task,
        experts,
        blocks=request.blocks,
        speculate=request.speculate,
        options=program.options,
        ddr_latency=ddr_latency,
    )
