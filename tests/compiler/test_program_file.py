"""The binary manifest: names at their longest, and numbers where a host in C reads them."""

import hashlib
import struct

import pytest
from quantmodels import random_qmodel

from moesaic.compiler.image import ProgramImage, ProgramImageError
from moesaic.compiler.pipeline import compile_model
from moesaic.compiler.program_file import NAME_BYTES, _name, to_binary
from moesaic.golden.config import M3ViTConfig
from moesaic.hw.spec.presets import PRESETS

MODEL = M3ViTConfig(name="m", image_size=(16, 16), patch_size=8, dim=32, heads=2, depth=1, experts=4, expert_hidden=16)


def test_names_end_with_a_zero() -> None:
    assert _name("a" * (NAME_BYTES - 1)) == b"a" * (NAME_BYTES - 1) + b"\0" and _name("b") == b"b" + bytes(71)
    with pytest.raises(ValueError, match=f"name must have fewer than 72 bytes, not '{'a' * NAME_BYTES}'"):
        _name("a" * NAME_BYTES)


def test_head_and_digests() -> None:
    program = compile_model(random_qmodel(MODEL, 0), PRESETS["micro8"], seed=0)
    data = to_binary(program)
    magic, form, size = struct.unpack_from("<8s2I", data)
    assert (magic, form, size) == (b"MOESAIC\0", 1, len(data))
    assert data[-32:] == hashlib.sha256(data[:-32]).digest()
    assert data[16:48] == hashlib.sha256(program.memory).digest()
    head = struct.unpack_from("<23I", data, 48)
    assert head[1] == int(program.config.hash[-8:], 16)
    assert head[2:8] == (1, 16, 8, program.config.word_bytes, program.config.max_burst, 40)
    # Images, tokens, learnt ones, channels; of the image: channels, size, patch, norm.
    assert head[8:12] == (1, 5, 1, 32) and head[12:18] == (3, 16, 16, 8, 8, 0)
    assert head[18:] == (2, 2, 2, 0, 0)  # tasks, programs, items, own instructions and their members
    wide = struct.unpack_from("<5Q2d", data, 48 + 4 * 23)
    result = program.region("result")
    assert wide[:4] == (program.address, len(program.memory), result.address - program.address, result.bytes)
    assert wide[4:] == (program.region("image.0").bytes, 0.0, program.manifest["tensors"][-1]["step"])


def test_a_folder_that_is_no_program_is_named(tmp_path) -> None:
    with pytest.raises(ProgramImageError, match=f"program image '{tmp_path}': manifest.json"):
        ProgramImage.load(tmp_path)
