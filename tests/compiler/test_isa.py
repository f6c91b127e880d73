"""Encoding of instructions: inverse functions, refusals, and a document that is current."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import FORMATS, Opcode

DOCUMENT = Path(__file__).parents[2] / "docs" / "isa.md"


@st.composite
def instructions(draw):
    opcode = draw(st.sampled_from(list(Opcode)))
    fields = {}
    for field in FORMATS[opcode].fields[1:]:
        numbers = st.integers(0, (1 << field.bits) - 1)
        fields[field.name] = draw(numbers if field.values is None else st.sampled_from([int(v) for v in field.values]))
    return opcode, fields


@given(instructions())
def test_decode_inverts_encode(instruction):
    opcode, fields = instruction
    data = isa.encode(opcode, fields)
    assert len(data) == isa.INSTRUCTION_BYTES
    assert isa.decode(data) == (opcode, {"opcode": int(opcode), **fields})
    assert isa.disassemble(data).startswith(opcode.name)


def test_fields_lie_one_after_the_other():
    for layout in FORMATS.values():
        for field in layout.fields:
            low = layout.offsets[field.name]
            every_bit = isa.encode(layout.opcode, {field.name: (1 << field.bits) - 1} if field.name != "opcode" else {})
            value = int.from_bytes(every_bit, "little")
            if field.name != "opcode":
                assert value == int(layout.opcode) | ((1 << field.bits) - 1) << low


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(32), r"opcode must be one of \[1, 2, 3, 4, 5\], not 0"),
        (bytes([15]) + bytes(31), "opcode must be one of"),
        (bytes(31), "an instruction must be 32 bytes, not 31"),
        (bytes([2]) + bytes(30) + b"\x80", "unused bits of NORM must be 0"),
        (
            isa.encode(Opcode.FETCH, {})[:0] + (4 | 3 << 4).to_bytes(32, "little"),
            r"FETCH.base must be one of \[0, 1, 2\], not 3",
        ),
    ],
)
def test_decode_refuses(data, message):
    with pytest.raises(ValueError, match=message):
        isa.decode(data)


def test_encode_refuses():
    with pytest.raises(ValueError, match=r"STORE.words must be between 0 and 65535, not 65536"):
        isa.encode(Opcode.STORE, {"words": 65536})
    with pytest.raises(KeyError, match="STORE has no field 'beats'"):
        isa.encode(Opcode.STORE, {"beats": 1})


def test_document_is_current():
    prose, tables = DOCUMENT.read_text(encoding="utf-8").split("## Encodings\n\n")
    assert tables == isa.to_markdown()
    for opcode in Opcode:
        assert f"`{opcode.name}`" in prose
