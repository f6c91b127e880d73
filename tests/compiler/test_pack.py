"""Bytes of the weight stream: inverse functions on random shapes, and layouts worked by hand."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quantmodels import random_image, random_qmodel

from moesaic.compiler import layout, pack
from moesaic.compiler.layout import HeadLayout
from moesaic.compiler.weights import pack_weights
from moesaic.golden.config import M3ViTConfig, network_of
from moesaic.hw.spec.config import AcceleratorConfig

TINY = AcceleratorConfig(name="t", rows=4, lanes=4, port_bits=32, prefetch_words=32, max_dim=128)


@st.composite
def configs(draw):
    lanes = draw(st.sampled_from([8, 16, 32, 64]))
    rows = draw(st.sampled_from([r for r in (4, 8, 16, 32, 64) if r <= lanes]))
    load_rows = draw(st.sampled_from([2, 4]))
    beats = draw(st.sampled_from([1, 2, 4]))
    ports = draw(st.sampled_from([1, 2, 4]))
    bits = 8 * load_rows * lanes // beats // ports
    if bits not in (32, 64, 128):
        ports, bits = 1, 64 if load_rows * lanes % 128 else 128
    return AcceleratorConfig(
        name="t",
        rows=rows,
        lanes=lanes,
        load_rows=load_rows,
        ports=ports,
        port_bits=bits,
        prefetch_words=1024,
        max_dim=128,
        narrow_weights=load_rows < rows,
    )


@given(configs(), st.integers(1, 90), st.integers(1, 140), st.sampled_from([8, 4]), st.integers(0, 2**32 - 1))
def test_unpack_inverts_pack(config, out, inputs, bits, seed):
    bits = bits if config.narrow_weights else 8
    rng, half = np.random.default_rng(seed), 1 << bits - 1
    weight = rng.integers(-half, half, (out, inputs)).astype(np.int8)
    bias, mult = rng.integers(-(2**31), 2**31, out).astype(np.int32), rng.integers(0, 65536, out).astype(np.uint16)
    data = pack.pack_linear(weight, bias, mult, config, bits=bits)
    blocks, in_blocks = -(-out // config.rows), -(-inputs // config.lanes)
    words = config.stationary_words(bits)
    assert len(data) == config.word_bytes * blocks * (config.param_words + in_blocks * words)
    assert words * config.word_bytes * 8 == bits * config.rows * config.lanes
    got = pack.unpack_linear(data, out, inputs, config, bits=bits)
    for a, b in zip(got, (weight, bias, mult), strict=True):
        assert np.array_equal(a, b)
    parts = pack.split_ports(data, config)
    assert len(parts) == config.ports
    assert pack.join_ports(parts, config) == data


def test_linear_by_hand():
    data = pack.pack_linear(np.array([[1, 2, 3]], np.int8), np.array([5], np.int32), np.array([7], np.uint16), TINY)
    assert data == bytes([5, 0, 0, 0, 7, 0]) + bytes(18) + bytes([1, 2, 3, 0]) + bytes(12)
    weight, bias, mult = pack.unpack_linear(data, 1, 3, TINY)
    assert (weight.tolist(), bias.tolist(), mult.tolist()) == ([[1, 2, 3]], [5], [7])


def test_narrow_by_hand():
    """Two loads of load_rows = 2 rows in a word: low nibbles, then high nibbles; parameters stay as they are."""
    weight = np.array([[1, 2, 3], [-8, 7, 0], [4, 5, -1], [-2, -3, 6], [7, 0, -7]], np.int8)
    data = pack.pack_linear(weight, np.full(5, 5, np.int32), np.full(5, 7, np.uint16), TINY, bits=4)
    head = bytes([5, 0, 0, 0, 7, 0])
    first = bytes([0x41, 0x52, 0xF3, 0x00, 0xE8, 0xD7, 0x60, 0x00])
    second = bytes([0x07, 0x00, 0x09, 0x00, 0, 0, 0, 0])
    assert data == head * 4 + first + head + bytes(18) + second
    unpacked = pack.unpack_linear(data, 5, 3, TINY, bits=4)
    assert [part.tolist() for part in unpacked] == [weight.tolist(), [5] * 5, [7] * 5]


def test_second_block_of_outputs_and_inputs():
    weight = np.arange(-20, 20, dtype=np.int8).reshape(5, 8)
    data = pack.pack_linear(weight, np.arange(5, dtype=np.int32), np.arange(5, dtype=np.uint16), TINY)
    block = 24 + 2 * 16  # parameters, then two blocks of four rows and four lanes
    assert len(data) == 2 * block
    assert np.frombuffer(data[24 + 16 + 4 : 24 + 16 + 8], np.int8).tolist() == weight[1, 4:].tolist()
    assert np.frombuffer(data[block + 24 : block + 28], np.int8).tolist() == weight[4, :4].tolist()
    assert data[block : block + 6] == bytes([4, 0, 0, 0, 4, 0])


def test_whole_words():
    assert [len(pack._pad_words(bytes(n), TINY)) for n in (0, 1, 7, 8, 9, 14)] == [0, 8, 8, 8, 16, 16]


def test_ports_side_by_side():
    config = TINY.replace(ports=2, lanes=8, rows=4)
    first, second = pack.split_ports(bytes(range(16)), config)
    assert first.hex() == "0001020308090a0b"
    assert second.hex() == "040506070c0d0e0f"
    with pytest.raises(ValueError, match="data must be whole stripes of 8 bytes, not 12 bytes"):
        pack.split_ports(bytes(12), config)


def test_image_order():
    model = M3ViTConfig(image_size=(4, 6), patch_size=2, dim=8, heads=2, experts=0)
    image = random_image(model, 0)
    vectors = pack.image_vectors(image, network_of(model))
    assert vectors.shape == (7, 12)
    assert not vectors[0].any()
    # patch 4 is the second of the lower row; value 11 is channel 2, row 1, column 1
    assert vectors[5, 11] == int(image[2, 3, 3]) - 128
    assert vectors[3, 1] == int(image[0, 0, 5]) - 128
    data = pack.pack_images([image], network_of(model), TINY)
    assert np.frombuffer(data, np.int8)[: 7 * 12].reshape(7, 12).tolist() == vectors.tolist()
    with pytest.raises(ValueError, match=r"image must be uint8 \[3, 4, 6\], not uint8 \[3, 6, 4\]"):
        pack.image_vectors(image.transpose(0, 2, 1), network_of(model))


@pytest.mark.parametrize(
    ("head_dim", "lanes", "pitch", "words"), [(24, 64, 32, 2), (32, 8, 32, 12), (20, 16, 32, 6), (64, 64, 64, 3)]
)
def test_heads_never_straddle_words(head_dim, lanes, pitch, words):
    heads = HeadLayout(heads=3, head_dim=head_dim, lanes=lanes)
    assert (heads.pitch, heads.words) == (pitch, words)
    for head in range(3):
        assert heads.lane(head) + heads.lane_count <= lanes
    values = np.arange(1, 3 * head_dim + 1)
    wide = heads.spread(values, 0)
    assert wide[wide > 0].tolist() == values.tolist()
    assert wide[pitch] == head_dim + 1


def test_pieces_follow_the_order_of_use():
    model = M3ViTConfig(image_size=(16, 16), patch_size=8, dim=16, heads=2, depth=2, experts=4, expert_hidden=8)
    qmodel = random_qmodel(model, 0)
    config = TINY.replace(lanes=8)
    store = pack_weights(qmodel, config, tasks=model.tasks, blocks=2)
    names = list(store.pieces)
    assert names[:6] == [
        "position",
        "embed",
        "blocks.0.attn.k",
        "blocks.0.attn.q",
        "blocks.0.attn.v",
        "blocks.0.attn.proj",
    ]
    assert names[-8:] == [
        f"blocks.1.mlp.experts.{e}.{part}"
        for e in qmodel.blocks[1].layers[1].order[model.tasks[0]]
        for part in ("fc1", "fc2")
    ]
    end = 0
    for piece in store.pieces.values():  # in gaps there are zeros; only experts have any
        assert piece.offset == end or (piece.offset > end and ".experts." in piece.name)
        assert not any(store.data[end * config.word_bytes : piece.offset * config.word_bytes])
        end = piece.offset + piece.words
    assert end * config.word_bytes == len(store.data)
    fc2 = qmodel.blocks[1].layers[1].experts[2].fc2
    got, _, _ = pack.unpack_linear(store.stream("blocks.1.mlp.experts.2.fc2", config), *fc2.weight.shape, config)
    assert np.array_equal(got, fc2.weight)


def test_examples():
    assert doctest.testmod(layout).attempted == 2
    assert doctest.testmod(layout).failed == 0
