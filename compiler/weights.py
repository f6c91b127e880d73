"""All weights of a network as one stream, in the order of use."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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


def _model_pieces(
    qmodel: QuantModel, config: AcceleratorConfig, tasks: Sequence[str], blocks: int
) -> Iterator[tuple[str, bytes]]:
    if qmodel.embed_norm is not None:  # takes the first position's place, and the last one comes between its matrices
        yield BEFORE_NORM, pack_position(qmodel.embed_norm.before, config)
        for linear in qmodel.embed_matrices[:-1]:
            yield linear.name, pack_matrix(linear, config)
    yield POSITION, pack_position(qmodel.position, config)
    yield qmodel.embed_matrices[-1].name, pack_matrix(qmodel.embed_matrices[-1], config)
    for block in qmodel.blocks[:blocks]:
        for layer in block.layers:
            for matrix in layer.matrices(tasks):
                if matrix.linear.owner is not None:
                    continue  # an earlier layer's, which is there already (`check`)
                yield matrix.linear.name, room(layer).pack(layer, matrix, config)


def pack_weights(qmodel: QuantModel, config: AcceleratorConfig, *, tasks: Sequence[str], blocks: int) -> WeightStore:
    """Everything that the weight ports read except the image; experts lie in the order of the first task."""
    pieces, parts, offset = dict[str, Piece](), [], 0
    for name, data in _model_pieces(qmodel, config, tasks, blocks):
        pieces[name] = Piece(name, offset, len(data) // config.word_bytes)
        parts.append(data)
        offset += pieces[name].words
    return WeightStore(pieces, b"".join(parts))


def shared_bytes(qmodel: QuantModel, piece_bytes: Mapping[str, int], *, tasks: Sequence[str], blocks: int) -> int:
    """What the weights would take more if layers that share their matrices had each its own, bytes; what the gains of
    their norms then take, which would be in those, is subtracted.
    """
    layers = [layer for block in qmodel.blocks[:blocks] for layer in block.layers]
    matrices = [matrix.linear for layer in layers for matrix in layer.matrices(tasks)]
    gains = [layer.gain.name for layer in layers if layer.gain is not None]
    return sum(piece_bytes[m.piece] for m in matrices if m.owner) - sum(piece_bytes[name] for name in gains)
