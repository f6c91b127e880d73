"""What the analytic model says a run takes, given what the router decided."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from moesaic.compiler.cost import DDR_LATENCY, Cost, estimate
from moesaic.compiler.emit import IMAGE_PIECE
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.ir import Graph, Op
from moesaic.compiler.options import CompileOptions
from moesaic.compiler.pipeline import EVERYTHING, compile_graphs
from moesaic.compiler.weights import Piece
from moesaic.flow.program import Program
from moesaic.golden.qmodel import QuantModel
from moesaic.hw.pipeline_latency import timing
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["Routing", "TaskModel", "image_costs", "model_costs", "task_model"]

Routing = Mapping[str, Sequence[int]]  # block name: tokens in each expert's queue


@dataclass(frozen=True)
class TaskModel:
    """One task's program as the analytic model sees it: compiled once, asked for any routing.

    Parameters
    ----------
    graph : Graph
        Scheduled.
    pieces : mapping of name to Piece
    config : AcceleratorConfig
    prefetch : bool
        As in :class:`CompileOptions`.
    ddr_latency : int, cycles
    """

    graph: Graph
    pieces: Mapping[str, Piece]
    config: AcceleratorConfig
    prefetch: bool = True
    ddr_latency: int = DDR_LATENCY

    def tokens(self, routing: Routing) -> Callable[[Op], int]:
        """Vectors that an operation streams, by the routing."""
        return lambda op: op.tokens if op.expert is None else routing[f"blocks.{op.block}"][op.expert]

    def costs(self, routing: Routing) -> list[Cost]:
        """Cost of each operation of the graph, in its order."""
        return estimate(
            self.graph,
            self.pieces,
            self.config,
            self.tokens(routing),
            timing=timing(self.config),
            ddr_latency=self.ddr_latency,
            prefetch=self.prefetch,
        )


def _task_model(
    image: ProgramImage,
    qmodel: QuantModel,
    task: str,
    *,
    blocks: int | None,
    speculate: int | None,
    options: CompileOptions,
    ddr_latency: int,
) -> TaskModel:
    config = image.config
    _, graph = compile_graphs(qmodel, config, task=task, blocks=blocks, speculate=speculate, options=options)
    pieces = {
        entry["name"]: Piece(entry["name"], entry["offset"] // config.word_bytes, entry["bytes"] // config.word_bytes)
        for entry in image.manifest["pieces"]
    }
    words = sum(op.weight_words or 0 for op in graph.ops if op.weights == IMAGE_PIECE)
    pieces[IMAGE_PIECE] = Piece(IMAGE_PIECE, 0, words)
    return TaskModel(graph, pieces, config, options.prefetch, ddr_latency)


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
    model = _task_model(
        image, qmodel, task, blocks=blocks, speculate=speculate, options=options, ddr_latency=ddr_latency
    )
    return model.costs(experts)


def task_model(program: Program, task: str, *, ddr_latency: int = DDR_LATENCY) -> TaskModel:
    """The analytic model of one task of a program."""
    request = program.request
    return _task_model(
        program.image,
        program.qmodel,
        task,
        blocks=request.blocks,
        speculate=request.speculate,
        options=program.options,
        ddr_latency=ddr_latency,
    )


def model_costs(
    program: Program, task: str, experts: Mapping[str, Sequence[int]], *, ddr_latency: int = DDR_LATENCY
) -> list[Cost]:
    """:func:`image_costs` of a program."""
    return task_model(program, task, ddr_latency=ddr_latency).costs(experts)
