"""Two corners of the timing model: short nets, and those of a well filled device."""

import pytest
from netlists import Netlist

from moesaic.boards.synthesis.advice import reachable_mhz
from moesaic.boards.synthesis.analysis import analyse
from moesaic.boards.synthesis.delays import DELAYS
from moesaic.boards.synthesis.modules import Module

D = DELAYS["zynqmp"]


def test_nets_are_longer_in_a_full_device() -> None:
    n = Netlist()
    n.register(n.lut(n.register("0", "a")), "b")
    full = analyse({"top": Module("top", "", (), {})}, {"top": n.raw()}, top="top", delays=D.pessimistic).paths[0]
    cells = D.ff_out + D.lut + D.ff_setup
    assert full.logic == pytest.approx(cells)
    assert full.nets == pytest.approx(D.net_full * (D.net + D.net_local))
    assert full.delay == pytest.approx(cells + full.nets)
    assert reachable_mhz([full], D) == pytest.approx(1e3 / (full.delay + D.uncertainty), abs=0.05)
    assert reachable_mhz([], D) is None
    assert D.pessimistic.digest != D.digest
