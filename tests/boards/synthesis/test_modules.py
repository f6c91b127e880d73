"""Exported Verilog taken apart, cells counted, instances given to units."""

import pytest
from amaranth.hdl import Module as Design
from amaranth.hdl import Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.boards.resources import Resources
from moesaic.boards.synthesis.cells import CellCounts, UnknownCell, resources_of
from moesaic.boards.synthesis.modules import Port, instance_paths, places, split_modules, stub
from moesaic.hw.spec.units import unit_of
from moesaic.hw.verilog import to_verilog


class Leaf(wiring.Component):
    i: Signal
    o: Signal

    def __init__(self) -> None:
        super().__init__({"i": In(8), "o": Out(9)})

    def elaborate(self, platform: object) -> Design:
        m = Design()
        m.d.sync += self.o.eq(self.i + 1)
        return m


class Pair(wiring.Component):
    i: Signal
    o: Signal

    def __init__(self) -> None:
        super().__init__({"i": In(8), "o": Out(10)})

    def elaborate(self, platform: object) -> Design:
        m = Design()
        m.submodules.left = left = Leaf()
        m.submodules.right = right = Leaf()
        m.d.comb += [left.i.eq(self.i), right.i.eq(~self.i), self.o.eq(left.o + right.o)]
        return m


class Quad(wiring.Component):
    i: Signal
    o: Signal

    def __init__(self) -> None:
        super().__init__({"i": In(8), "o": Out(10)})

    def elaborate(self, platform: object) -> Design:
        m = Design()
        m.submodules.one = one = Pair()
        m.submodules.two = two = Pair()
        m.d.comb += [one.i.eq(self.i), two.i.eq(one.o[:8]), self.o.eq(two.o)]
        return m


def test_a_design_of_two_levels() -> None:
    modules = split_modules(to_verilog(Quad(), name="quad", assertions=False))
    assert len(modules) == 3  # equal ones are written once
    counts = places(modules, "quad")
    leaf = next(name for name in modules if not modules[name].children)
    pair = next(name for name in modules if set(modules[name].children) == {"left", "right"})
    assert counts == {"quad": 1, pair: 2, leaf: 4}
    assert set(modules[leaf].ports) == {
        Port("clk", False, 1),
        Port("rst", False, 1),
        Port("i", False, 8),
        Port("o", True, 9),
    }
    paths = instance_paths(modules, "quad")
    assert paths[()] == "quad"
    assert paths[("two", "right")] == leaf
    assert len(paths) == 7
    assert "input [7:0] \\i ;" in stub(modules[leaf])
    assert stub(modules[leaf]).startswith("(* blackbox *)\nmodule")


def test_what_is_no_design_is_refused() -> None:
    with pytest.raises(ValueError, match="verilog must have a module"):
        split_modules("wire x;\n")
    with pytest.raises(ValueError, match="module 'a' must place modules of the same text, not 'b'"):
        split_modules("module a(x);\n  input x ;\n  b  u (\n    .x(x)\n  );\nendmodule\n")


def test_each_cell_counts_once() -> None:
    cells = {
        "LUT1": 1,
        "LUT6": 10,
        "INV": 2,
        "SRL16E": 3,
        "RAM64M8": 2,
        "RAM32X1D": 1,
        "FDRE": 7,
        "FDSE": 1,
        "CARRY4": 5,
        "MUXF7": 4,
        "DSP48E2": 6,
        "RAMB36E2": 2,
        "RAMB18E2": 3,
        "URAM288": 4,
    }
    counts = CellCounts(cells)
    assert (counts.lut_logic, counts.lut_memory, counts.carry8) == (13, 3 + 16 + 2, 3)
    assert resources_of(counts) == Resources(lut=34, ff=8, dsp=6, bram36=3.5, uram=4)


def test_a_cell_that_nobody_knows_is_named() -> None:
    with pytest.raises(UnknownCell, match=r"cells must be mapped to a device that is known here, not '\$_MUX_'"):
        resources_of(CellCounts({"LUT2": 1, "$_MUX_": 3}))


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("", "top"),
        ("core", "memories and core"),
        ("core.array.row_3", "array"),
        ("core.writeback", "write-back"),
        ("core.writeback.rescale.scale.lane_0.multiply", "expert scores"),
        ("core.router.gate.exponential_4", "router"),
        ("weights.reader_0", "weight stream"),
        ("core.something_new", "memories and core"),
        ("something_new", "top"),
    ],
)
def test_instances_have_units(path: str, unit: str) -> None:
    assert unit_of(tuple(path.split(".")) if path else ()).title == unit
