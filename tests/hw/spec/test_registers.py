"""The register table: no overlaps, aligned, documented; the page in docs/ is the generated text."""

import re
from pathlib import Path

import pytest

from moesaic.hw.spec.register_text import to_c_header, to_markdown
from moesaic.hw.spec.registers import (
    COUNTERS,
    ID_VALUE,
    MAP_BYTES,
    MAX_PORTS,
    Access,
    ErrorCode,
    ErrorUnit,
    Field,
    Register,
    RegisterMap,
    register_map,
)

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("ports", [1, 4, MAX_PORTS])
def test_aligned_inside_the_map_and_without_overlap(ports: int) -> None:
    table = register_map(ports)
    offsets = [register.offset for register in table]
    assert all(offset % 4 == 0 and 0 <= offset < MAP_BYTES for offset in offsets)
    assert len(set(offsets)) == len(offsets) and offsets == sorted(offsets)
    assert len({register.name for register in table}) == len(offsets)
    assert all(register.doc and all(field.doc for field in register.fields) for register in table)


def test_identity_and_reset_values() -> None:
    table = register_map(4, config_hash=0x1234_5678)
    assert table["ID"].reset == ID_VALUE == int.from_bytes(b"MOE1", "big")
    assert table["CONFIG_HASH"].reset == 0x1234_5678 and table["CONFIG_HASH"].constant
    assert table["WATCHDOG"].reset == 1_000_000
    assert table["CTRL"].access is Access.W1S and table["IRQ_STATUS"].access is Access.W1C


def test_values_join_low_and_high_words() -> None:
    table = register_map(2)
    low, high = table.values["load_base"]
    assert (low.name, high.name, high.offset - low.offset) == ("LOAD_BASE_LO", "LOAD_BASE_HI", 4)
    assert [register.name for register in table.values["task_base1"]] == ["TASK_BASE1_LO", "TASK_BASE1_HI"]
    for counter in COUNTERS:
        assert sum(register.width for register in table.values[counter.name.lower()]) == counter.bits


def test_ports_add_registers() -> None:
    assert "WEIGHT_BASE3_LO" in register_map(4) and "WEIGHT_BASE4_LO" not in register_map(4)


def test_codes_are_dense_and_documented() -> None:
    assert [code.value for code in ErrorCode] == list(range(len(ErrorCode)))
    assert all(code.doc for code in ErrorCode) and all(unit.doc for unit in ErrorUnit)


def test_documentation_is_the_generated_text() -> None:
    text = to_markdown(register_map(4))
    assert (ROOT / "docs" / "registers.md").read_text() == text, "run: python -m moesaic.hw.spec.register_text"
    for register in register_map(4):
        assert f"| 0x{register.offset:03X} | {register.name} |" in text


def test_c_header_defines_every_register_once() -> None:
    text = to_c_header(register_map(2))
    names = re.findall(r"^#define (\w+)", text, re.MULTILINE)
    assert len(names) == len(set(names))
    assert "#define MOESAIC_STATUS_ERROR_MASK 0x00000004u" in text
    assert "#define MOESAIC_ERROR_WATCHDOG 10" in text
    assert {f"MOESAIC_{register.name}" for register in register_map(2)} <= set(names)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ports": 0}, r"ports must be 1 to 16, not 0"),
        ({"ports": 17}, r"ports must be 1 to 16, not 17"),
        ({"ports": 1, "config_hash": -1}, r"config_hash must fit 32 bits, not -1"),
    ],
)
def test_bad_arguments(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        register_map(**arguments)


def test_bad_registers() -> None:
    with pytest.raises(ValueError, match=r"offset of A must be a multiple of 4 below 4096, not 6"):
        Register("A", 6, Access.RO, 1, 0, (), "")
    with pytest.raises(ValueError, match=r"width of A must be 1 to 32, not 33"):
        Register("A", 4, Access.RO, 33, 0, (), "")
    with pytest.raises(ValueError, match=r"reset of A must fit 1 bits, not 2"):
        Register("A", 4, Access.RO, 1, 2, (), "")
    with pytest.raises(ValueError, match=r"field b of A must be free bits below 4, not 4:1"):
        Register("A", 4, Access.RO, 4, 0, (Field("b", 1, 4, ""),), "")
    one = Register("A", 4, Access.RO, 1, 0, (), "")
    with pytest.raises(ValueError, match=r"register name must be unique, not 'A' twice"):
        RegisterMap(1, (one, one))
