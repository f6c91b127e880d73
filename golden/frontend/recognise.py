"""`recognise`: the halves of blocks that a module is made of, and what is left to the host behind the last of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from moesaic.golden.frontend import (
    arithmetic,
    attention,
    gated,
    gates,
    layers,
    leaves,
    mixture,
    norms,
    pointwise,
    products,
)
from moesaic.golden.frontend.export import check_numbers, trace_module
from moesaic.golden.frontend.head import Head, extract_head
from moesaic.golden.frontend.known import Known
from moesaic.golden.frontend.last import last_residual
from moesaic.golden.frontend.leaves import Mixture, find_mixtures, observe
from moesaic.golden.frontend.meaning import Embed, Pixels, Residual, Stream
from moesaic.golden.frontend.reader import Reader
from moesaic.golden.frontend.refusal import CaptureError

__all__ = ["Recognised", "recognise"]

HANDLERS = {
    **layers.HANDLERS,
    **attention.HANDLERS,
    **products.HANDLERS,
    **pointwise.HANDLERS,
    **norms.HANDLERS,
    **arithmetic.HANDLERS,
    **gated.HANDLERS,
    **gates.HANDLERS,
    **mixture.HANDLERS,
    **leaves.HANDLERS,
}


@dataclass(frozen=True)
class Recognised:
    """What a module computes for one task.

    Parameters
    ----------
    last : Residual
        The stream after its last half of a block.
    head : Head
        What the host computes from it.
    notes : tuple of str
        What the user should know.
    """

    last: Residual
    head: Head
    notes: tuple[str, ...]

    @property
    def embed(self) -> Embed:
        """The embedded tokens."""
        stream: Stream = self.last
        while isinstance(stream, Residual):
            stream = stream.before
        assert isinstance(stream, Embed)
        return stream

    @property
    def residuals(self) -> list[Residual]:
        """The stream after each half of a block, in order."""
        found = list[Residual]()
        stream: Stream = self.last
        while isinstance(stream, Residual):
            found.append(stream)
            stream = stream.before
        return found[::-1]


def recognise(module: nn.Module, image: torch.Tensor, arguments: tuple[Any, ...] = (), task: int = 0) -> Recognised:
    """Read a module that was made ready (`prepare`).

    Parameters
    ----------
    module : nn.Module
        Called as `module(image, *arguments)`.
    image : Tensor, [1, channels, H, W]
    arguments : tuple
        Of the task.
    task : int
        Number of the task.

    Raises
    ------
    CaptureError
        If something before or in a block is no layer that is known; the message has the user's line.
    """
    mixtures = find_mixtures(module)
    if mixtures:
        observe(module, (image, *arguments), mixtures)
    graph = trace_module(module, (image, *arguments), mixtures)
    check_numbers(module, graph, mixtures)
    reader = Reader(HANDLERS)
    channels, height, width = image.shape[1:]
    pixels = Pixels(
        node=None,
        shape=(channels, height, width),
        scale=torch.ones(channels, dtype=torch.float64),
        offset=torch.zeros(channels, dtype=torch.float64),
    )
    start = reader.add(pixels)
    reader.read(
        graph, [torch.arange(start, start + image[0].numel()).view(image.shape), *(Known(a) for a in arguments)]
    )
    last = last_residual(graph, reader)
    assert last.node is not None
    place = reader.find(reader.values[last.node])
    assert place is not None
    head = extract_head(graph, last, place[1])
    if not head.outputs:
        raise CaptureError("the module must return something that depends on its last block, not nothing")
    recognised = Recognised(last, head, ())
    return Recognised(last, head, _solve(recognised.residuals, mixtures, task))


def _solve(residuals: Sequence[Residual], mixtures: Sequence[Mixture], task: int) -> tuple[str, ...]:
    """Fill in the blocks that are mixtures known by their parameters."""
    notes = []
    for residual in residuals:
        block = residual.block
        if "leaf" not in block.facts:
            continue
        mix = mixtures[block.facts.pop("leaf")]
        if list(block.facts.pop("columns")) != list(range(residual.shape[1])):
            raise CaptureError(f"channels of mixture '{mix.name}' must keep their order\nat {mix.where}")
        block.parameters, block.facts, gate = leaves.solve(mix, task)
        gate_name = ".".join(part for part in (mix.name, gate) if part)
        block.names = {
            key: (f"{mix.name}.{key.removeprefix('mlp.')}",) for key in block.parameters if key.startswith("mlp.")
        }
        block.names |= {"gate.weight": (f"{gate_name}.w_gate",), "gate.bias": ()}
        notes.append(
            f"mixture '{mix.name}': top-{block.facts['top_k']}, {block.facts['gate_kind']} gate, found by what it "
            f"computes"
        )
    return tuple(notes)
