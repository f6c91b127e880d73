"""What the analytic model says a run takes, given what the router decided."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from moesaic.compiler.cost import Cost, estimate
from moesaic.compiler.emit import IMAGE_PIECE
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.ir import Graph, Op
from moesaic.compiler.memory import IDEAL, DdrTiming
from moesaic.compiler.weights import Piece
from moesaic.flow.program import Program
from moesaic.hw.pipeline_latency import timing
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["Routing", "TaskModel", "stream_pieces", "task_model"]

Routing = Mapping[str, Sequence[int]]  # block name: tokens in each expert's queue


@dataclass(frozen=True)
class TaskModel:
    """One task's program as the analytic model sees it: compiled once, asked for any routing.

    Parameters
    ----------
    graph : Graph
        Scheduled.
    pieces : mapping of name to Piece
    accelerator : AcceleratorConfig
    prefetch : bool
        As in :class:`CompileOptions`.
    ddr : DdrTiming
    """

    graph: Graph
    pieces: Mapping[str, Piece]
    accelerator: AcceleratorConfig
    prefetch: bool = True
    ddr: DdrTiming = IDEAL

    def tokens(self, routing: Routing) -> Callable[[Op], int]:
        """Vectors that an operation streams, by the routing."""
        return lambda op: op.tokens if op.expert is None else routing[f"blocks.{op.block}"][op.expert]

    def costs(self, routing: Routing) -> list[Cost]:
        """Cost of each operation of the graph, in its order."""
        return estimate(
            self.graph,
            self.pieces,
            self.accelerator,
            self.tokens(routing),
            timing=timing(self.accelerator),
            ddr=self.ddr,
            prefetch=self.prefetch,
        )


def stream_pieces(image: ProgramImage, graph: Graph) -> dict[str, Piece]:
    """Where the weights of a task's operations lie in the stream of its program."""
    word_bytes = image.config.word_bytes
    pieces = {
        entry["name"]: Piece(entry["name"], entry["offset"] // word_bytes, entry["bytes"] // word_bytes)
        for entry in image.manifest["pieces"]
    }
    words = sum(op.weight_words or 0 for op in graph.ops if op.weights == IMAGE_PIECE)
    return pieces | {IMAGE_PIECE: Piece(IMAGE_PIECE, 0, words)}


def task_model(program: Program, task: str, *, ddr: DdrTiming = IDEAL) -> TaskModel:
    """The analytic model of one task of a program."""
    graph = program.graphs[task]
    return TaskModel(graph, stream_pieces(program.image, graph), program.image.config, program.options.prefetch, ddr)
