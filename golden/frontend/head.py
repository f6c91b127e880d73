"""What a model does after its last block, kept as a module that the host runs: norm, pooling, classifier."""

from collections import Counter

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from moesaic.golden.frontend.meaning import Residual
from moesaic.golden.frontend.nodes import name_of
from moesaic.golden.frontend.refusal import CaptureError, line_of

__all__ = ["Head", "extract_head"]

COMPUTE = {
    "layer_norm",
    "linear",
    "conv2d",
    "conv_transpose2d",
    "mean",
    "tanh",
    "gelu",
    "relu",
    "softmax",
    "batch_norm",
    "upsample_bilinear2d",
    "mm",
    "addmm",
    "max_pool2d",
}  # worth a word in a note


class Head(nn.Module):
    """From the last block's tokens [tokens, dim], learnt ones first, to what the user's model returns.

    Parameters
    ----------
    graph : fx.GraphModule
        Takes the tokens as the user's model has them.
    place : Tensor of int64
        For each element of the user's tokens, its place in [tokens, dim].
    outputs : tuple of int
        Which of the user's outputs are returned.
    notes : tuple of str
        What of them is not, and what the head computes.
    """

    def __init__(
        self, graph: fx.GraphModule, place: torch.Tensor, outputs: tuple[int, ...], notes: tuple[str, ...]
    ) -> None:
        super().__init__()
        self.graph_module, self.outputs, self.notes = graph, outputs, notes
        self.register_buffer("place", place)

    def forward(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """The outputs that depend on the last block, in the user's order."""
        result: list[torch.Tensor] = self.graph_module(tokens.reshape(-1)[self.get_buffer("place")])
        return result


def extract_head(module: fx.GraphModule, residual: Residual, place: torch.Tensor) -> Head:
    """The part of a graph behind the last residual.

    Raises
    ------
    CaptureError
        If something behind the last block also needs the image or an earlier block.
    """
    graph = module.graph
    output = next(node for node in graph.nodes if node.op == "output")
    assert residual.node is not None
    behind, image = {residual.node}, set[fx.Node]()
    for node in graph.nodes:
        if node.op == "placeholder" or any(source in image for source in node.all_input_nodes):
            image.add(node)
        if any(source in behind for source in node.all_input_nodes):
            behind.add(node)
    outputs = pytree.tree_leaves(output.args)
    kept = [i for i, node in enumerate(outputs) if isinstance(node, fx.Node) and node in behind]
    lost = [str(i) for i, node in enumerate(outputs) if isinstance(node, fx.Node) and node not in behind]
    notes = (
        [f"not returned, because independent of the last block: output {', '.join(lost)} of the model"] if lost else []
    )
    new, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    copies[residual.node] = new.placeholder("tokens")

    def copy(node: fx.Node) -> fx.Node:
        if node in copies:
            return copies[node]
        if node in image and node not in behind:
            raise CaptureError(
                f"what follows the last block must need nothing but its tokens, not '{node.name}'\nat {line_of(node)}\n"
                "nearest supported: a head on the last block's tokens (norm, pooling, linear layers, convolutions)"
            )
        for source in node.all_input_nodes:
            copy(source)
        copies[node] = new.node_copy(node, lambda n: copies[n])
        return copies[node]

    new.output([copy(outputs[i]) for i in kept])
    words = Counter(name_of(node) for node in new.nodes if node.op == "call_function" and name_of(node) in COMPUTE)
    if words:
        notes.append("on the host, after the last block: " + ", ".join(f"{n} x {name}" for name, n in words.items()))
    return Head(fx.GraphModule(module, new), place, tuple(kept), tuple(notes))
