"""Passes on RTLIL: what they remove, share and name, on designs of a few lines; what they leave alone."""

import re

import pytest

from moesaic.hw.rtlil.design import parse
from moesaic.hw.rtlil.tidy import tidy

TOP = """
attribute \\src "/somewhere/unit.py:10"
module \\top
  wire width 4 input 0 \\new
  wire width 4 output 1 \\o
  wire width 1 input 2 \\clk
{wires}
{items}
{connections}
end
{others}
"""


def text(*, wires: str = "", items: str = "", connections: str = "", others: str = "", checks: bool = False) -> str:
    made = TOP.format(wires=wires, items=items, connections=connections, others=others)
    return tidy(made, top="top", prefix="p", checks=checks).text


def cell(kind: str, name: str, **ports: str) -> str:
    lines = "".join(f"    connect \\{port} {value}\n" for port, value in ports.items())
    return f"  cell {kind} {name}\n{lines}  end\n"


def test_what_nothing_reads_goes() -> None:
    result = text(
        wires="  wire width 4 $1\n  wire width 4 $2\n  wire width 4 \\idle",
        items=cell("$not", "$3", A="\\new", Y="$1") + cell("$not", "$4", A="\\new", Y="$2"),
        connections="connect \\o $1\nconnect \\idle $2",
    )
    assert result.count("cell $not") == 1 and "idle" not in result


def test_an_output_that_nothing_reads_stays_connected() -> None:
    part = (
        "module \\top.part\n  wire width 4 input 0 \\x\n  wire width 4 output 1 \\y\n  wire width 4 output 2 \\z\n"
        "connect \\y \\x\nconnect \\z \\x\nend\n"
    )
    items = cell("\\top.part", "\\part", x="\\new", y="\\o", z="\\idle")
    result = text(wires="  wire width 4 \\idle", items=items, others=part)
    assert "connect \\z \\idle" in result and "wire width 4 \\idle" in result


def test_checks_keep_what_they_read_until_they_go() -> None:
    items = cell("$not", "$3", A="\\new", Y="$1") + cell("$check", "$4", A="$1 [0]", EN="1'1")
    for checks in (True, False):
        result = text(wires="  wire width 4 $1", items=items, connections="connect \\o \\new", checks=checks)
        assert ("cell $not" in result) == ("cell $check" in result) == checks


PART = "module \\{name}\n  wire width 4 input {a} \\x\n  wire width 4 output {b} \\y{n}\nconnect \\y{n} {value}\nend\n"


def test_equal_modules_are_one_and_constants_keep_them_apart() -> None:
    result = text(
        wires="  wire width 4 \\u\n  wire width 4 \\v",
        items=cell("\\top.one", "\\one", **{"x": "\\new", "y$5": "\\u"})
        + cell("\\top.two", "\\two", **{"x": "\\u", "y$77": "\\v"})
        + cell("\\top.other", "\\other", x="\\v", y="\\o"),
        others=PART.format(name="top.one", a=0, b=1, n="$5", value="\\x")
        + PART.format(name="top.two", a=1, b=0, n="$77", value="\\x")
        + PART.format(name="top.other", a=0, b=1, n="", value="4'0000"),
    )
    assert re.findall(r"^module \\(\w+)", result, re.MULTILINE) == ["top", "p_one", "p_other"]
    assert re.findall(r"^cell \\(\w+) \\(\w+)", result, re.MULTILINE) == [
        ("p_one", "one"), ("p_one", "two"), ("p_other", "other")
    ]  # fmt: skip
    assert result.count("connect \\y \\u") == result.count("connect \\y \\v") == 1


def test_names() -> None:
    result = text(
        wires="  wire width 4 \\release\n  wire width 4 \\row$3[0].x\n  wire width 4 $1\n  wire width 4 $2",
        items=cell("$dff", "$3", CLK="\\clk", D="$1", Q="\\release")
        + cell("$not", "$4", A="\\row$3[0].x", Y="$1")
        + cell("$neg", "$5", A="\\release", Y="$2")
        + cell("$not", "$6", A="\\new", Y="\\row$3[0].x"),
        connections="connect \\o $2",
    )
    # Ports of the top keep their names, even a reserved word.
    assert set(re.findall(r"^wire .*\\(\w+)$", result, re.MULTILINE)) == {
        "new", "o", "clk", "release_", "row_0_x", "release_next", "neg_1"
    }  # fmt: skip


def test_a_better_name_of_the_source_is_taken() -> None:
    result = text(
        wires='  wire width 4 \\write$3\n  attribute \\src "/somewhere/unit.py:12"\n  wire width 4 \\count',
        items=cell("$not", "$3", A="\\new", Y="\\write$3"),
        connections="connect \\count \\write$3 [3:0]\nconnect \\o \\write$3",
    )
    assert "connect \\Y \\count" in result and "write" not in result
    assert 'attribute \\src "unit.py:12"\nwire width 4 \\count' in result


def test_fields_are_read_by_name() -> None:
    result = text(
        wires="  wire width 4 \\s\n  wire width 2 \\s.low\n  wire width 2 $1",
        items=cell("$not", "$3", A="\\new", Y="\\s") + cell("$not", "$4", A="\\s [1:0]", Y="$1"),
        connections="connect \\s.low \\s [1:0]\nconnect \\o { 2'00 $1 }",
    )
    assert "connect \\A \\s_low" in result and "connect \\s_low \\s [1:0]" in result


def test_another_name_of_some_bits_is_no_field() -> None:
    result = text(
        wires="  wire width 4 \\s\n  wire width 2 \\t\n  wire width 2 $1",
        items=cell("$not", "$3", A="\\new", Y="\\s") + cell("$not", "$4", A="\\s [1:0]", Y="$1"),
        connections="connect \\t \\s [1:0]\nconnect \\o { \\t $1 }",
    )
    assert "connect \\A \\s [1:0]" in result


def test_initial_values_are_those_of_registers() -> None:
    result = text(
        wires="  attribute \\init 4'0011\n  wire width 4 \\kept\n  attribute \\init 4'0011\n  wire width 4 \\sum",
        items=cell("$dff", "$3", CLK="\\clk", D="\\sum", Q="\\kept") + cell("$not", "$4", A="\\kept", Y="\\sum"),
        connections="connect \\o \\kept",
    )
    assert re.findall(r"^attribute \\init 4'0011\nwire width 4 \\(\w+)$", result, re.MULTILINE) == ["kept"]


def test_locations_of_processes_are_in_the_order_of_yosys() -> None:
    # So many that their numbers pass from two digits to three, where an order by letters would differ.
    wires = "".join(f"  wire width 4 \\s{index}\n" for index in range(60))
    items = "".join(
        f'  attribute \\src "/somewhere/unit.py:{20 + index}"\n  process ${index + 9}\n    assign \\s{index} 4\'0000\n'
        f"    switch \\new [0]\n      case 1'1\n        assign \\s{index} \\new\n    end\n  end\n"
        for index in range(60)
    )
    signals = " ".join(f"\\s{index} [0]" for index in range(60))
    made = TOP.format(
        wires=wires, items=items + cell("$reduce_or", "$50", A=f"{{ {signals} }}", Y="\\o"), connections="", others=""
    )
    result = tidy(made, top="top", prefix="p", checks=False)
    module = parse(result.text)["\\top"]
    written = sorted(module.of_kind("process"), key=lambda process: process.name)
    assert [process.body[0][1] for process in written] == [f"\\s{index}" for index in range(60)]
    assert result.processes["top"] == tuple(f"unit.py:{20 + index}" for index in range(60))


def test_a_process_shares_no_signal_with_another_driver() -> None:
    process = (
        "  process $9\n    assign \\o [3:2] 2'01\n"
        "    switch \\new [0]\n      case 1'1\n        assign \\o [3] 1'1\n    end\n  end"
    )
    result = text(items=process, connections="connect \\o [1:0] \\new [1:0]")
    part = re.search(r"^connect \\o \[3:2\] \\(\w+)$", result, re.MULTILINE)
    assert part is not None
    assert f"assign \\{part[1]} [1:0] 2'01" in result and f"assign \\{part[1]} [1] 1'1" in result


def test_choices_have_a_default() -> None:
    process = (
        "  process $9\n    assign \\o 4'0000\n"
        "    switch \\new\n      case 4'0001\n        assign \\o 4'0001\n    end\n  end"
    )
    assert "assign \\o 4'0001\ncase\nend" in text(items=process)
    assert "\ncase\n" not in text(
        items=process.replace("4'0001\n        ", "1'1\n        ").replace("switch \\new", "switch \\new [0]")
    )


def test_memories_of_zeros_have_no_contents() -> None:
    def memory(contents: str) -> str:
        init = f'  cell $meminit_v2 $3\n    parameter \\MEMID "\\\\words"\n    connect \\DATA {contents}\n  end\n'
        read = (
            '  cell $memrd_v2 $4\n    parameter \\MEMID "\\\\words"\n'
            "    connect \\ADDR \\new [0]\n    connect \\DATA \\o\n  end\n"
        )
        return text(items="  memory width 4 size 2 \\words\n" + init + read)

    assert "meminit" not in memory("8'00000000") and "meminit" in memory("8'00000001")


def test_what_amaranth_never_writes_is_refused() -> None:
    with pytest.raises(ValueError, match="RTLIL line 2 must be one that Amaranth writes, not 'nonsense'"):
        parse("module \\top\n  nonsense\nend\n")
