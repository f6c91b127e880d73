"""All weights of a network as one stream, in the order of use."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from moesaic.compiler.banks import next_place, places, row_bytes
from moesaic.compiler.layers.rooms import room
from moesaic.compiler.lower import BEFORE_NORM, POSITION
from moesaic.compiler.pack import pack_matrix, pack_position
from moesaic.golden.qmodel import QuantModel
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["Piece", "WeightStore", "pack_weights", "shared_bytes"]


@dataclass(frozen=True)
class Piece:
    """One contiguous part of the weight region: `words` weight-stream words from `offset` on."""

    name: str
    offset: int
    words: int


@dataclass(frozen=True)
class WeightStore:
    """All weights of a model in the order of use, shared by all tasks.

    Parameters
    ----------
    pieces : mapping of name to Piece
    data : bytes
        The whole weight stream, before it is split over the ports.
    """

    pieces: dict[str, Piece]
    data: bytes

    def stream(self, name: str, config: AcceleratorConfig) -> bytes:
        """The bytes of one piece."""
        piece = self.pieces[name]
        return self.data[piece.offset * config.word_bytes : (piece.offset + piece.words) * config.word_bytes]


_Expert = tuple[int, int, int]  # block, position of the layer in it, number


def _model_pieces(
    qmodel: QuantModel, config: AcceleratorConfig, tasks: Sequence[str], blocks: int
) -> Iterator[tuple[str, bytes, _Expert | None]]:
    """Name, contents and expert of each piece."""
    if qmodel.embed_norm is not None:  # takes the first position's place, and the last one comes between its matrices
        yield BEFORE_NORM, pack_position(qmodel.embed_norm.before, config), None
        for linear in qmodel.embed_matrices[:-1]:
            yield linear.name, pack_matrix(linear, config), None
    yield POSITION, pack_position(qmodel.position, config), None
    yield qmodel.embed_matrices[-1].name, pack_matrix(qmodel.embed_matrices[-1], config), None
    for number, block in enumerate(qmodel.blocks[:blocks]):
        for position, layer in enumerate(block.layers):
            for matrix in layer.matrices(tasks):
                if matrix.linear.owner is not None:
                    continue  # an earlier layer's, which is there already (`check`)
                expert = None if matrix.expert is None else (number, position, matrix.expert)
                yield matrix.linear.name, room(layer).pack(layer, matrix, config), expert


def _gaps(sizes: Sequence[int], offset: int, config: AcceleratorConfig) -> list[int]:
    """Bytes to leave before each piece of an expert, all ports together: its last matrix is read between those of other
    experts.
    """
    gaps, row = [0] * len(sizes), row_bytes(config)
    starts = places((sum(sizes[:-1]) // config.ports, sizes[-1] // config.ports), row) if config.ports > 1 else None
    if starts is not None:
        for piece, start in ((0, starts[0]), (len(sizes) - 1, starts[1])):
            at = offset + sum(sizes[:piece]) + sum(gaps)
            gaps[piece] = next_place(at, start * config.ports, 2 * row * config.ports) - at
    return gaps


def pack_weights(qmodel: QuantModel, config: AcceleratorConfig, *, tasks: Sequence[str], blocks: int) -> WeightStore:
    """Everything that the weight ports read except the image; experts lie in the order of the first task, with gaps of
    zeros between their matrices (`compiler.banks`).
    """
    pieces, parts, offset = dict[str, Piece](), list[bytes](), 0
    for expert, group in groupby(_model_pieces(qmodel, config, tasks, blocks), itemgetter(2)):
        packed = list(group)
        sizes = [len(data) for _, data, _ in packed]
        gaps = [0] * len(sizes) if expert is None else _gaps(sizes, offset * config.word_bytes, config)
        for (name, data, _), gap in zip(packed, gaps, strict=True):
            offset += gap // config.word_bytes
            pieces[name] = Piece(name, offset, len(data) // config.word_bytes)
            offset += pieces[name].words
            parts += (bytes(gap), data)
    return WeightStore(pieces, b"".join(parts))


def shared_bytes(qmodel: QuantModel, piece_bytes: Mapping[str, int], *, tasks: Sequence[str], blocks: int) -> int:
    """What the weights would take more if layers that share their matrices had each its own, bytes; what the gains of
    their norms then take, which would be in those, is subtracted.
    """
    layers = [layer for block in qmodel.blocks[:blocks] for layer in block.layers]
    matrices = [matrix.linear for layer in layers for matrix in layer.matrices(tasks)]
    gains = [layer.gain.name for layer in layers if layer.gain is not None]
    return sum(piece_bytes[m.piece] for m in matrices if m.owner) - sum(piece_bytes[name] for name in gains)
