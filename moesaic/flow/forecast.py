"""What an accelerator would need for a model, from sizes alone: no weights, no calibration, no simulation."""

from dataclasses import dataclass

from moesaic.compiler.batch import Batch
from moesaic.compiler.check import check
from moesaic.compiler.cost import estimate, mean_tokens, stream_words
from moesaic.compiler.ir import Graph
from moesaic.compiler.layers.rooms import room
from moesaic.compiler.memory import IDEAL, DdrTiming
from moesaic.compiler.pipeline import compile_graphs
from moesaic.compiler.weights import Piece
from moesaic.energy.activity import Activity, program_activity, total
from moesaic.golden.qmodel import QuantModel
from moesaic.hw.pipeline_latency import timing
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["Forecast", "forecast", "speculation", "whole_graph"]


@dataclass(frozen=True)
class Forecast:
    """One run of a program.

    Parameters
    ----------
    cycles : int
        From the start register to the interrupt, if every expert gets as many tokens.
    read_bytes : int
        From DDR through the weight ports.
    array_cycles : int
        In which the array computes.
    activity : Activity
        What each unit does.
    """

    cycles: int
    read_bytes: int
    array_cycles: int
    activity: Activity


def speculation(model: QuantModel, accelerator: AcceleratorConfig, task: str | Batch) -> int:
    """How many experts the compiler would fetch before the router has decided, if all are used alike."""
    batch = Batch.of(task)
    found = (room(layer).speculation(layer, batch, accelerator) for block in model.blocks for layer in block.layers)
    return max(found, default=0)


def whole_graph(
    model: QuantModel,
    accelerator: AcceleratorConfig,
    task: str | Batch,
    *,
    blocks: int | None = None,
    speculate: int | None = None,
) -> Graph:
    """The scheduled graph of a (hollow) network.

    Raises
    ------
    CompileError
        If the accelerator cannot hold it.
    """
    check(model, accelerator, tasks=Batch.of(task).tasks, blocks=len(model.blocks) if blocks is None else blocks)
    return compile_graphs(model, accelerator, task=task, blocks=blocks, speculate=speculate)[1]


def forecast(graph: Graph, accelerator: AcceleratorConfig, *, ddr: DdrTiming = IDEAL) -> Forecast:
    """The analytic model on a graph, with as many tokens for every expert."""
    pieces = {
        op.weights: Piece(op.weights, 0, stream_words(graph, op, accelerator))
        for op in graph.ops
        if op.weights is not None
    }
    costs = estimate(graph, pieces, accelerator, mean_tokens, timing=timing(accelerator), ddr=ddr)
    return Forecast(
        cycles=round(max(cost.end for cost in costs)),
        read_bytes=sum(cost.bytes for cost in costs),
        array_cycles=sum(cost.array_cycles for cost in costs),
        activity=total(program_activity(graph, costs, mean_tokens, accelerator)),
    )
