"""Control sets, resets and nets with many loads, counted in netlists where they are known by hand."""

from netlists import Netlist as Written

from moesaic.boards.synthesis.analysis import analyse
from moesaic.boards.synthesis.delays import DELAYS
from moesaic.boards.synthesis.modules import Module


def counted(n: Written):
    return analyse({"top": Module("top", "", (), {})}, {"top": n.raw()}, top="top", delays=DELAYS["zynqmp"]).structure


def test_control_sets_and_resets() -> None:
    n = Written()
    enable, reset = n.register("0", "enable"), n.register("0", "reset")
    for k in range(40):
        n.cell("FDRE", C=1, CE=enable, R=reset if k < 33 else "0", D="0", Q=n.net(f"data[{k}]"))
    n.cell("FDSE", C=1, CE=enable, S=reset, D="0", Q=n.net("flag"))
    found = counted(n)
    # Without enable or reset; with both; without a reset; set instead of reset.
    assert found.control_sets == 4
    assert (found.flip_flops, found.with_enable, found.with_reset) == (43, 41, 34)
    assert found.reset_vectors == 33


def test_nets_with_many_loads_are_named() -> None:
    n = Written()
    wide, narrow = n.register("0", "wide"), n.register("0", "narrow")
    for k in range(257):
        n.register(wide, f"a{k}")
        if k < 256:
            n.register(narrow, f"b{k}")
    (found,) = counted(n).wide_nets
    assert (found.where, found.name, found.loads) == ("top", "wide", 257)
