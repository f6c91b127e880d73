"""SystemRDL of the registers, read back by an independent compiler: every register, field, access and reset value."""

from pathlib import Path

import pytest
from systemrdl import RDLCompiler
from systemrdl.node import FieldNode, RegNode
from systemrdl.rdltypes import AccessType, OnWriteType

from moesaic.hw.spec.register_text import to_systemrdl
from moesaic.hw.spec.registers import Access, Field, RegisterMap, register_map

SOFTWARE = {Access.RO: AccessType.r, Access.RW: AccessType.rw, Access.W1S: AccessType.w, Access.W1C: AccessType.rw}


def read_back(text: str, folder: Path) -> dict[str, RegNode]:
    """Registers by name, as the compiler understood them."""
    path = folder / "moesaic.rdl"
    path.write_text(text)
    compiler = RDLCompiler()
    compiler.compile_file(str(path))
    return {node.inst_name: node for node in compiler.elaborate().top.children() if isinstance(node, RegNode)}


def check(table: RegisterMap, found: dict[str, RegNode]) -> None:
    assert set(found) == {register.name for register in table}
    for register in table:
        node = found[register.name]
        assert node.absolute_address == register.offset and node.get_property("regwidth") == 32, register.name
        assert register.doc in (node.get_property("desc") or ""), register.name
        fields = {child.inst_name: child for child in node.children() if isinstance(child, FieldNode)}
        expected = register.fields or (Field("value", 0, register.width, register.doc),)
        assert set(fields) == {field.name for field in expected}, register.name
        for field in expected:
            part = fields[field.name]
            where = f"{register.name}.{field.name}"
            assert (part.low, part.width) == (field.lsb, field.width), where
            assert part.get_property("sw") is SOFTWARE[register.access], where
            assert part.get_property("reset") == (register.reset & field.mask) >> field.lsb, where
            clears = part.get_property("onwrite") is OnWriteType.woclr
            assert clears == (register.access is Access.W1C), where
            assert part.get_property("singlepulse") == (register.access is Access.W1S), where


@pytest.mark.parametrize("ports", [1, 4])
def test_systemrdl_says_what_the_table_says(tmp_path: Path, ports: int) -> None:
    table = register_map(ports, config_hash=0x1234_5678)
    check(table, read_back(to_systemrdl(table), tmp_path))


@pytest.mark.parametrize(
    ("good", "wrong"),
    [
        ("} WATCHDOG @ 0x030", "} WATCHDOG @ 0x03C"),
        ("unit[31:28]", "unit[30:27]"),
        ("reset = 32'hf4240", "reset = 32'hf4241"),
        ("onwrite = woclr", "onwrite = wclr"),
    ],
)
def test_a_mistake_is_noticed(tmp_path: Path, good: str, wrong: str) -> None:
    table = register_map(1)
    text = to_systemrdl(table)
    assert good in text
    with pytest.raises(AssertionError):
        check(table, read_back(text.replace(good, wrong), tmp_path))
