# amaranth: UnusedElaboratable=no
"""The export: equal text, equal modules once, with and without assertions, and clean in the simulator."""

import os
import re
import subprocess
import sys

import pytest
from amaranth.hdl import Array, Assert, Module, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.verilog import ExportError, share_modules, to_verilog
from moesaic.sim.build import build
from moesaic.sim.verilated import run


class Scale(wiring.Component):
    """``o`` is ``i`` times a constant, one cycle later; never -128."""

    def __init__(self, *, factor: int) -> None:
        self.factor = factor
        super().__init__({"i": In(signed(8)), "o": Out(signed(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += self.o.eq(self.i * self.factor)
        m.d.comb += Assert(self.o != -128)
        return m


class Pair(wiring.Component):
    """Two equal submodules in a row."""

    def __init__(self) -> None:
        super().__init__({"i": In(signed(8)), "o": Out(signed(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.first = first = Scale(factor=3)
        m.submodules.second = second = Scale(factor=3)
        m.d.comb += [first.i.eq(self.i), second.i.eq(first.o), self.o.eq(second.o)]
        return m


class Tree(wiring.Component):
    """Two pairs, a different submodule, a memory, a table, and combinational logic without inputs."""

    def __init__(self) -> None:
        super().__init__(
            {
                "i": In(signed(8)),
                "o": Out(signed(8)),
                "address": In(4),
                "word": Out(8),
                "entry": Out(8),
                "constant": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.left = left = Pair()
        m.submodules.right = right = Pair()
        m.submodules.other = other = Scale(factor=5)
        m.submodules.words = words = memory.Memory(shape=8, depth=16, init=[k * k for k in range(16)])
        port = words.read_port(domain="sync")
        table = Array([11, 7, 5, 3])
        constant = Signal(8)
        m.d.comb += [
            left.i.eq(self.i),
            right.i.eq(left.o),
            other.i.eq(right.o),
            self.o.eq(other.o),
            port.addr.eq(self.address),
            port.en.eq(1),
            self.word.eq(port.data),
            self.entry.eq(table[self.address[:2]]),
            constant.eq(42),
            self.constant.eq(constant),
        ]
        return m


def modules(text: str) -> list[str]:
    return re.findall(r"^module (\S+?) ?\(", text, flags=re.MULTILINE)


def test_equal_modules_are_written_once() -> None:
    text = to_verilog(Tree(), name="tree")
    # The memory has no module of its own; Scale(3) stands for four instances, Pair for two.
    assert sorted(modules(text)) == ["\\tree.left", "\\tree.left.first", "\\tree.other", "tree"]
    assert len(re.findall(r"^  \\tree\.left\.first ", text, flags=re.MULTILINE)) == 2
    assert len(re.findall(r"^  \\tree\.left ", text, flags=re.MULTILINE)) == 2


@pytest.mark.parametrize("assertions", [True, False])
def test_assertions_are_kept_or_removed(assertions: bool) -> None:
    text = to_verilog(Tree(), name="tree", assertions=assertions)
    assert text.count("assert") == 2 * assertions  # in each of the two different modules
    assert "parameter" not in text


def test_ports_are_in_alphabetical_order() -> None:
    header = re.search(r"^module tree\((.*)\);", to_verilog(Tree(), name="tree"), flags=re.MULTILINE)
    assert header is not None
    assert header[1].split(", ") == sorted(["clk", "rst", "i", "o", "address", "word", "entry", "constant"])


def test_no_process_waits_for_what_never_changes() -> None:
    assert "always @*" not in to_verilog(Tree(), name="tree", assertions=False)


def test_text_does_not_depend_on_the_process() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_verilog as t; print(t.to_verilog(t.Tree(), name='t'))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", script, os.path.dirname(__file__)],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in "12"
    }
    assert texts == {to_verilog(Tree(), name="t") + "\n"}
    assert "(* src" not in texts.pop()


def test_source_locations_on_request() -> None:
    assert "test_verilog.py:" in to_verilog(Tree(), name="tree", source_locations=True)


def test_sharing_keeps_what_differs() -> None:
    text = "".join(
        f"module \\top.{name}\n\n  wire width 8 input {a}  \\x\n\n  wire width 8 output {1 - a}  signed \\y\n\n  "
        f"connect \\y {value}\n\nend\n"
        for name, a, value in (("one", 0, "\\x"), ("two", 1, "\\x"), ("three", 0, "8'00000001"))
    )
    top = (
        "module \\top\n\n"
        + "".join(
            f"  cell \\top.{name} \\{name}\n    connect \\x 8'00000000\n  end\n\n" for name in ("one", "two", "three")
        )
        + "end\n"
    )
    shared = share_modules(top + text)
    assert re.findall(r"^module (\S+)", shared, flags=re.MULTILINE) == ["\\top.one", "\\top.three", "\\top"]
    assert re.findall(r"cell (\S+ \S+)", shared) == ["\\top.one \\one", "\\top.one \\two", "\\top.three \\three"]


def test_name_must_be_an_identifier() -> None:
    for name in ("", "1st", "a-b", "a b"):
        with pytest.raises(ValueError, match=f"name must be a Verilog identifier, not {name!r}"):
            to_verilog(Tree(), name=name)


def test_what_yosys_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moesaic.hw.verilog.share_modules", lambda text: "module \\top\n  nonsense\nend\n")
    with pytest.raises(ExportError, match="nonsense|syntax error"):
        to_verilog(Tree(), name="top")


def test_shared_modules_compute_the_same(tmp_path) -> None:
    run(build(to_verilog(Tree(), name="tree"), top="tree"), test_module="tb_tree", work_dir=tmp_path, timeout_s=60)
