"""What the compiler asks of a kind of layer."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from moesaic.compiler.batch import Batch
from moesaic.compiler.builder import Builder
from moesaic.compiler.ir import Op
from moesaic.compiler.pack import pack_matrix
from moesaic.golden.layers.layer import Matrix, QuantLayer
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["Room", "chunk_sizes", "pipelined"]

L = TypeVar("L", bound=QuantLayer)


class Room(ABC, Generic[L]):
    """The compiler's side of one kind of layer.

    Members
    -------
    groupable : bool
        Whether `CompileOptions.token_group` sets its chunks of tokens.
    """

    groupable = False

    @abstractmethod
    def lower(self, build: Builder, layer: L, block: int) -> Iterator[Op]:
        """Operations of the layer over all tokens."""

    def order(self, whole: list[Op], chunks: list[list[Op]]) -> list[Op]:
        """The operations in the order in which they run: those on all tokens, and those of each chunk."""
        return [*whole, *(op for chunk in chunks for op in chunk)]

    def chunks(self, tokens: int, config: AcceleratorConfig) -> Iterator[tuple[int, bool]]:
        """Sizes of a chunk of tokens, and whether neighbours overlap, best first.

        A further chunk costs the layer's weights once more.
        """
        for size in chunk_sizes(tokens, config):
            yield from ((size, True), (size, False))

    def once(self, ops: list[Op]) -> list[Op] | None:
        """The operations, where chunks are needed, so that weights are read once: what has weights takes all tokens,
        and its buffers are not cut. None: not for this kind.
        """
        return None

    def check(self, layer: L, config: AcceleratorConfig, tasks: Sequence[str]) -> None:
        """Refuse what the accelerator has no room for, beside its matrices."""

    def pack(self, layer: L, matrix: Matrix, config: AcceleratorConfig) -> bytes:
        """The weight stream of one of the layer's matrices."""
        return pack_matrix(matrix.linear, config)

    def speculation(self, layer: L, batch: Batch, config: AcceleratorConfig) -> int:
        """How many experts are worth fetching before the router has decided."""
        return 0


def chunk_sizes(tokens: int, config: AcceleratorConfig) -> Iterator[int]:
    """Tokens of a chunk for one chunk, two, and so on; multiples of `load_rows`, so that a COPY starts at a word."""
    for count in range(1, max(1, tokens // 8) + 1):
        yield -(-tokens // (count * config.load_rows)) * config.load_rows


def pipelined(pairs: list[tuple[Op, Op]]) -> list[Op]:
    """first(0), first(1), second(0), first(2), second(1), ...: a whole other instruction between each two partners."""
    result: list[Op] = []
    previous: Op | None = None
    for first, second in pairs:
        result.append(first)
        if previous is not None:
            result.append(previous)
        previous = second
    return result if previous is None else [*result, previous]
