# amaranth: UnusedElaboratable=no
"""The export: equal text, equal modules once, names of the source, with and without assertions."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.hdl import Array, Assert, Module, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from cocotb_tools.runner import get_results, get_runner

from moesaic.hw.rtlil.tidy import Tidied
from moesaic.hw.vector.requant import Requantise
from moesaic.hw.verilog import ExportError, to_verilog, verilog_modules
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
    assert modules(text) == ["tree", "moesaic_first", "moesaic_left", "moesaic_other"]
    assert len(re.findall(r"^  moesaic_first (first|second) \($", text, flags=re.MULTILINE)) == 2
    assert len(re.findall(r"^  moesaic_left (left|right) \($", text, flags=re.MULTILINE)) == 2


@pytest.mark.parametrize("assertions", [True, False])
def test_assertions_are_kept_or_removed(assertions: bool) -> None:
    text = to_verilog(Tree(), name="tree", assertions=assertions)
    assert text.count("assert") == 2 * assertions  # in each of the two different modules
    assert "parameter" not in text


def test_ports_are_in_alphabetical_order() -> None:
    header = re.search(r"^module tree\(([^;]*)\);", to_verilog(Tree(), name="tree"), flags=re.MULTILINE)
    assert header is not None
    assert re.split(r",\s+", header[1].strip()) == sorted(
        ["clk", "rst", "i", "o", "address", "word", "entry", "constant"]
    )


def test_every_process_runs_at_the_start() -> None:
    text = to_verilog(Tree(), name="tree", assertions=False)
    with_logic = [part for part in verilog_modules(text).values() if "always @*" in part]
    assert with_logic and text.count("always @*") == text.count("if (at_start) begin end")
    assert text.count("  reg at_start = 0;\n") == len(with_logic)
    assert all("  reg at_start = 0;\n" in part for part in with_logic)


def test_each_module_can_stand_in_a_file() -> None:
    text = to_verilog(Tree(), name="tree", assertions=False)
    parts = verilog_modules(text)
    assert [modules(part) for part in parts.values()] == [[name] for name in parts]
    assert [name for name in parts if "endmodule" not in parts[name]] == []


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
    text = to_verilog(Tree(), name="tree", source_locations=True)
    assert {"tests/hw/test_verilog.py", "amaranth/lib/memory.py"} <= set(re.findall(r'src = "([^"]*):\d+"', text))
    assert re.search(r'src = "tests/hw/test_verilog.py:\d+" \*\)\n  always', text)
    assert 'src = "/' not in text


def test_port_attributes() -> None:
    text = to_verilog(Tree(), name="tree", port_attributes={"i": {"mark": "a b"}})
    assert '(* mark = "a b" *)\n  input [7:0] i;' in text
    with pytest.raises(ValueError, match="port 'x' must be one of module tree"):
        to_verilog(Tree(), name="tree", port_attributes={"x": {"mark": "a"}})


def test_name_must_be_an_identifier() -> None:
    for name in ("", "1st", "a-b", "a b"):
        with pytest.raises(ValueError, match=f"name must be a Verilog identifier, not {name!r}"):
            to_verilog(Tree(), name=name)


def test_what_yosys_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moesaic.hw.verilog.tidy", lambda *_, **__: Tidied("module \\top\n  nonsense\nend\n", ("top",)))
    with pytest.raises(ExportError, match="nonsense|syntax error"):
        to_verilog(Tree(), name="top")


def test_shared_modules_compute_the_same(tmp_path) -> None:
    run(build(to_verilog(Tree(), name="tree"), top="tree"), test_module="tb_tree", work_dir=tmp_path, timeout_s=60)


@pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed: apt-get install iverilog"
)
@pytest.mark.parametrize("name", ["tree", "requant"])
def test_icarus_computes_the_same(tmp_path: Path, name: str) -> None:
    """The cocotb tests that pass with Verilator pass here, on the Verilog for synthesis."""
    component = {"tree": Tree(), "requant": Requantise(lanes=4, acc_bits=27, bias_bits=32)}[name]
    sizes = {"LANES": "4", "ACC_BITS": "27", "BIAS_BITS": "32", "LATENCY": str(Requantise.LATENCY)}  # test_requant.py
    (tmp_path / "unit.v").write_text(to_verilog(component, name=name, assertions=False))
    runner = get_runner("icarus")
    runner.build(
        sources=[tmp_path / "unit.v"],
        hdl_toplevel=name,
        build_dir=tmp_path,
        build_args=["-g2005"],
        timescale=("1ns", "1ps"),
    )
    results = runner.test(
        test_module=f"tb_{name}",
        hdl_toplevel=name,
        build_dir=tmp_path,
        test_dir=tmp_path,
        seed=1,
        extra_env={**sizes, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    count, failed = get_results(results)
    assert count > 0 and failed == 0
