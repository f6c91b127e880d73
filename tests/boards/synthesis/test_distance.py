"""Nets by placed distance: the delay of wires, and a path computed by hand."""

import numpy as np
import pytest
from netlists import Netlist

from moesaic.boards.resources import Resources
from moesaic.boards.synthesis.analysis import Analysis, analyse
from moesaic.boards.synthesis.blocks import blocks_of
from moesaic.boards.synthesis.delays import DELAYS
from moesaic.boards.synthesis.distances import Distances, NetDelays
from moesaic.boards.synthesis.grid import Grid
from moesaic.boards.synthesis.modules import Module, Port
from moesaic.boards.synthesis.placement import Placement
from moesaic.boards.synthesis.wires import EcpWires, XilinxWires, wires_of

D = DELAYS["zynqmp"]
GRID = Grid(100, 200, Resources(lut=160_000, ff=320_000, dsp=1_000, bram36=300))


def test_a_net_takes_longer_the_farther_it_goes() -> None:
    for wires in (wires_of("zynqmp", GRID), wires_of("zynq7000", GRID), EcpWires()):
        for axis in ((1, 0), (0, 1)):
            far = [wires.delay(step / 4 * axis[0], step / 4 * axis[1], "LUT") for step in range(400)]
            assert far == sorted(far)
            assert 5 * far[4] < far[-1]


def test_wires_by_hand() -> None:
    wires = XilinxWires()
    assert wires.delay(0, 0, "LUT") == pytest.approx(0.043 + 0.051)
    assert wires.delay(12, 0, "LUT") == pytest.approx((43 + 3.5 * 14 + 1.3 * 12 + 51) / 1e3)
    assert wires.delay(0, 4, "D") == pytest.approx((43 + 3.6 * 5 + 9.5 * 4 * 1.05 + 165) / 1e3)
    columns = XilinxWires(memory_columns=0.25, dsp_columns=0.5)  # a long wire crosses three and six
    assert columns.delay(12, 0, "LUT") == pytest.approx((43 + 3.5 * 14 + 1.3 * (12 + 3 * 20 + 6 * 3) + 51) / 1e3)
    assert XilinxWires(factor=2.0).delay(3, 3, "") == pytest.approx(2 * wires.delay(3, 3, ""))
    assert EcpWires().delay(7, 3) == pytest.approx(0.054 * (6 + 2 + 2 * (5 + 3)))
    with pytest.raises(ValueError, match="family must be zynqmp or zynq7000, not 'ecp5'"):
        wires_of("ecp5", GRID)


def child(ports: dict[str, bool]) -> tuple[Netlist, Module, dict[str, int]]:
    """A netlist with ports of one bit (whether they are outputs), its module, and their nets."""
    n = Netlist()
    nets = {name: n.net(name) for name in ports}
    n.ports = {name: ["output" if output else "input", [nets[name]]] for name, output in ports.items()}
    return n, Module("", "", tuple(Port(name, output, 1) for name, output in ports.items()), {}), nets


def drive(n: Netlist, net: int, data: object) -> None:
    n.cell("FDRE", C=1, CE="1", R="0", D=data, Q=net)


def worst(centres: list[tuple[float, float]], *, wire: bool) -> Analysis:
    """From a register in ``a`` to a LUT and a register in ``b``; with `wire` through ``c``, which passes it on."""
    a, a_module, a_nets = child({"o": True})
    drive(a, a_nets["o"], "0")
    b, b_module, b_nets = child({"i": False, "o": True})
    b.cell("LUT1", I0=b_nets["i"], O=b_nets["o"])
    drive(b, b.net("end"), b_nets["o"])
    c = Netlist()
    passed = c.net("i")
    c.ports = {"i": ["input", [passed]], "o": ["output", [passed]]}
    c_module = Module("", "", (Port("i", False, 1), Port("o", True, 1)), {})
    top = Netlist()
    first, second, last = top.net(), top.net(), top.net()
    top.ports = {"o": ["output", [last]]}
    top.cells = {
        "a0": ["a", {}, {"o": [first]}],
        "c0": ["c", {}, {"i": [first], "o": [second]}],
        "b0": ["b", {}, {"i": [second if wire else first], "o": [last]}],
    }
    raw = {"a": a.raw(), "b": b.raw(), "c": c.raw(), "top": top.raw()}
    modules = {
        "a": a_module,
        "b": b_module,
        "c": c_module,
        "top": Module("top", "", (), {"a0": "a", "c0": "c", "b0": "b"}),
    }
    needs = dict.fromkeys(modules, Resources(lut=8, ff=8))

    def placed(netlists: dict) -> NetDelays:
        blocks = blocks_of(modules, netlists, needs, "top")
        assert blocks.weights[blocks.paths[("a0",)], blocks.paths[("b0",)]] == 1.0
        order = [("a0",), ("b0",), ("c0",), ()]
        at = np.array([centres[order.index(path)] for path in blocks.paths])
        placement = Placement(np.arange(4), np.ones(4), at, np.ones((4, 2)))
        return NetDelays(blocks, Distances(blocks, placement, GRID), XilinxWires())

    return analyse(modules, raw, top="top", delays=D, place=placed)


@pytest.mark.parametrize("wire", [False, True])
def test_a_path_between_modules_by_hand(wire: bool) -> None:
    found = worst([(10, 10), (22, 34), (60, 190), (50, 50)], wire=wire)
    (path,) = found.paths
    across, along = 43 + 3.5 * 14 + 1.3 * 12, 2 * (43 + 3.6 * 12 + 3.5 * 12 * 1.05)
    assert path.nets == pytest.approx((across + along + 51) / 1e3 + D.net_local)
    assert path.logic == pytest.approx(D.ff_out + D.lut + D.ff_setup)
    assert found.outputs["o"] == pytest.approx(D.ff_out + (across + along + 51) / 1e3 + D.lut)
    (near,) = worst([(10, 10), (11, 11), (60, 190), (50, 50)], wire=wire).paths
    assert near.nets < path.nets


def test_a_net_within_a_module_goes_by_its_size() -> None:
    def nets(luts: int, loads: int) -> float:
        n = Netlist()
        first = n.register("0", "first")
        for load in range(loads):
            n.register(n.lut(first), f"end_{load}")
        modules = {"top": Module("top", "", (), {})}

        def placed(netlists: dict) -> NetDelays:
            blocks = blocks_of(modules, netlists, {"top": Resources(lut=luts)}, "top")
            placement = Placement(np.arange(1), np.ones(1), np.full((1, 2), 50.0), np.ones((1, 2)))
            return NetDelays(blocks, Distances(blocks, placement, GRID), XilinxWires())

        return analyse(modules, {"top": n.raw()}, top="top", delays=D, place=placed).paths[0].nets

    assert nets(8, 1) == pytest.approx(0.043 + 0.051 + D.net_local)  # one tile
    assert nets(8, 1) < nets(800, 1) < nets(80_000, 1)
    assert nets(800, 1) < nets(800, 4) < nets(800, 64)
