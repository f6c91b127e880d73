"""Tensors to the bytes of the weight stream and back, and the stream's split over the memory ports."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from moesaic.compiler.layout import HeadLayout, words_for
from moesaic.errors import InputError
from moesaic.golden import numerics
from moesaic.golden.layers.linear import WIDE_READS, QuantLinear
from moesaic.golden.network import Network
from moesaic.golden.numerics import IntArray
from moesaic.golden.patch_norm import normalised_patches
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = [
    "image_vectors",
    "join_ports",
    "pack_gated",
    "pack_images",
    "pack_linear",
    "pack_matrix",
    "pack_position",
    "split_ports",
    "unpack_linear",
    "unpack_residual",
]


def pack_linear(
    weight: IntArray, bias: IntArray, mult: IntArray, config: AcceleratorConfig, *, bits: int = 8, planes: int = 1
) -> bytes:
    """The weight stream of one MATMUL.

    For each block of `rows` outputs: the parameters (row r: bias as int32 and multiplier as uint16 at byte 6r, zero
    padded to whole words), then each block of `lanes` inputs, row after row.

    With rows = lanes = 4 and load_rows = 2 (words of 8 bytes), one output row ``[1, 2, 3]``, bias 5 and multiplier 7
    give 3 parameter words ``05 00 00 00 07 00`` and zeros, then the block ``01 02 03 00`` and 12 zeros: 40 bytes.

    With 4 bits, the low nibbles of a word hold `load_rows` rows and the high nibbles the `load_rows` after them: the
    same block is ``01 02 03 00`` and 4 zeros, and a third row ``[4, 5, -1]`` makes it ``41 52 f3 00`` and 4 zeros.

    Parameters
    ----------
    weight : [out, in] int8, or int16
    bias : [out] int32
    mult : [out] uint16
    bits : int
        Of a weight: 8, or 4 if all are -8..7; or 16: each block of outputs has all its blocks of inputs with the upper
        bytes first, then all of them with the lower (both signed).
    planes : int
        2 if inputs come in two planes: after its blocks of inputs, each block of outputs has them once more.
    """
    out, inputs = weight.shape
    rows, lanes = config.rows, config.lanes
    blocks, in_blocks = words_for(out, rows), words_for(inputs, lanes)
    padded = np.zeros((blocks * rows, in_blocks * lanes), np.int8)
    if bits <= 8:
        padded[:out, :inputs] = weight
    else:
        lower = np.zeros_like(padded)
        padded[:out, :inputs], lower[:out, :inputs] = numerics.two_bytes(weight)
        padded, in_blocks = np.concatenate([padded, lower], axis=1), 2 * in_blocks
    parameters = np.zeros((blocks * rows, 6), np.uint8)
    parameters[:out, :4] = np.ascontiguousarray(bias, "<i4").view(np.uint8).reshape(out, 4)
    parameters[:out, 4:] = np.ascontiguousarray(mult, "<u2").view(np.uint8).reshape(out, 2)
    in_blocks *= planes
    matrix: IntArray = (
        np.tile(padded, planes).reshape(blocks, rows, in_blocks, lanes).transpose(0, 2, 1, 3).view(np.uint8)
    )
    if bits == 4:
        pairs = matrix.reshape(blocks, -1, 2, config.load_rows * lanes) & 15
        matrix = pairs[:, :, 0] | pairs[:, :, 1] << 4
    head = config.param_words * config.word_bytes
    stream = np.zeros((blocks, head + in_blocks * rows * lanes * min(bits, 8) // 8), np.uint8)
    stream[:, : 6 * rows] = parameters.reshape(blocks, 6 * rows)
    stream[:, head:] = matrix.reshape(blocks, -1)
    return stream.tobytes()


def pack_matrix(
    linear: QuantLinear,
    config: AcceleratorConfig,
    *,
    heads_out: HeadLayout | None = None,
    heads_in: HeadLayout | None = None,
) -> bytes:
    """The weight stream of a quantised matrix, its outputs or inputs spread as heads lie in words."""
    weight, bias, mult = linear.weight, linear.bias, linear.mult
    if heads_out is not None:
        weight, bias, mult = heads_out.spread(weight, 0), heads_out.spread(bias, 0), heads_out.spread(mult, 0)
    if heads_in is not None:
        weight = heads_in.spread(weight, 1)
    return pack_linear(weight, bias, mult, config, bits=linear.bits, planes=2 if linear.reads in WIDE_READS else 1)


def _paired(gate: IntArray, value: IntArray, rows: int) -> IntArray:
    """Rows in blocks of `rows`, one of the gate and one of the values in turn; zeros fill what the last gate lacks."""
    short = -len(gate) % rows
    blocks = [np.concatenate([part, np.zeros((short, *part.shape[1:]), part.dtype)]) for part in (gate, value)]
    pairs = np.stack([part.reshape(-1, rows, *part.shape[1:]) for part in blocks], axis=1)
    return pairs.reshape(-1, *gate.shape[1:])[: pairs.shape[0] * 2 * rows - short]


def pack_gated(gate: QuantLinear, value: QuantLinear, config: AcceleratorConfig) -> bytes:
    """The weight stream of a gated MATMUL: each block of a gate's outputs is followed by its values' block."""
    rows = config.rows
    pairs = replace(
        value,
        weight=_paired(gate.weight, value.weight, rows),
        bias=_paired(gate.bias, value.bias, rows),
        mult=_paired(gate.mult, value.mult, rows),
    )
    return pack_matrix(pairs, config)


def unpack_linear(
    data: bytes, out: int, inputs: int, config: AcceleratorConfig, *, bits: int = 8
) -> tuple[IntArray, IntArray, IntArray]:
    """Weight, bias and multiplier from the bytes of :func:`pack_linear`."""
    rows, lanes = config.rows, config.lanes
    blocks, in_blocks = words_for(out, rows), words_for(inputs, lanes)
    head = config.param_words * config.word_bytes
    stream = np.frombuffer(data, np.uint8).reshape(blocks, head + in_blocks * rows * lanes * bits // 8)
    matrix: IntArray = stream[:, head:]
    if bits == 4:
        words = matrix.reshape(blocks, -1, 1, config.load_rows * lanes)
        matrix = (np.concatenate([words & 15, words >> 4], axis=2) ^ 8) - 8
    weight = matrix.view(np.int8).reshape(blocks, in_blocks, rows, lanes).transpose(0, 2, 1, 3)
    parameters = stream[:, : 6 * rows].reshape(blocks * rows, 6)
    bias = np.ascontiguousarray(parameters[:, :4]).view("<i4").ravel()
    mult = np.ascontiguousarray(parameters[:, 4:]).view("<u2").ravel()
    return weight.reshape(blocks * rows, in_blocks * lanes)[:out, :inputs], bias[:out], mult[:out]


def _pad_words(data: bytes, config: AcceleratorConfig) -> bytes:
    return data + bytes(-len(data) % config.word_bytes)


def pack_vectors(values: IntArray, dtype: str, config: AcceleratorConfig) -> bytes:
    """Vectors [tokens, channels] for a COPY: each padded to whole words of `lanes`, the last word of the stream
    padded too.
    """
    tokens, channels = values.shape
    padded = np.zeros((tokens, words_for(channels, config.lanes) * config.lanes), dtype)
    padded[:, :channels] = values
    return _pad_words(padded.tobytes(), config)


def pack_position(position: IntArray, config: AcceleratorConfig) -> bytes:
    """The initial residual [tokens, dim] int16 as the stream of a COPY to the residual memory."""
    return pack_vectors(position, "<i2", config)


def image_vectors(image: IntArray, network: Network) -> IntArray:
    """Patch vectors [tokens, values of a patch] int8 of an image [channels, height, width] uint8: pixel - 128, or
    normalised patches, in the order channel, row, column.

    The learnt tokens' vectors come first and are zero.

    Raises
    ------
    InputError
        If the shape or the type of the image is wrong.
    """
    cut = network.image
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != cut.shape:
        got = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"image must be uint8 {list(cut.shape)}, not {got}")
    (high, wide), (down, across) = cut.patch, cut.grid
    patches = image.reshape(cut.channels, down, high, across, wide).transpose(1, 3, 0, 2, 4)
    vectors = np.zeros((network.tokens, cut.patch_values), np.int8)
    if cut.patch_norm is None:
        values = (patches.astype(np.int16) - 128).astype(np.int8)
    else:
        values = normalised_patches(patches.reshape(cut.patches, cut.channels, -1), cut)
    vectors[network.prefix_tokens :] = values.reshape(cut.patches, cut.patch_values)
    return vectors


def pack_images(images: Sequence[IntArray], network: Network, config: AcceleratorConfig) -> bytes:
    """Images [channels, height, width] uint8 as the stream of a COPY to the activation memory, one behind the other."""
    return pack_vectors(np.concatenate([image_vectors(image, network) for image in images]), "i1", config)


def split_ports(data: bytes, config: AcceleratorConfig) -> list[bytes]:
    """What each port's memory holds: beat k of port p is bytes ``[(k * ports + p) * beat, ... + beat)`` of the stream.

    With 2 ports of 32 bits, ``00 01 .. 0f`` gives port 0 ``00 01 02 03 08 09 0a 0b`` and port 1 the rest.
    """
    beat = config.port_bits // 8
    if len(data) % config.stripe_bytes:
        raise ValueError(f"data must be whole stripes of {config.stripe_bytes} bytes, not {len(data)!r} bytes")
    beats = np.frombuffer(data, np.uint8).reshape(-1, config.ports, beat)
    return [beats[:, port].tobytes() for port in range(config.ports)]


def join_ports(parts: list[bytes], config: AcceleratorConfig) -> bytes:
    """The stream that the ports deliver together; the inverse of :func:`split_ports`."""
    beat = config.port_bits // 8
    return np.stack([np.frombuffer(part, np.uint8).reshape(-1, beat) for part in parts], axis=1).tobytes()


def unpack_residual(data: bytes, tokens: int, dim: int, config: AcceleratorConfig) -> IntArray:
    """Residual [tokens, dim] int16 from the bytes of a STORE."""
    return np.frombuffer(data, "<i2").reshape(tokens, -1)[:, :dim].copy()
