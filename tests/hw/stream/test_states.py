# amaranth: UnusedElaboratable=no
"""One-hot states on Amaranth's own simulator."""

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from moesaic.hw.stream.states import States


def machine() -> tuple[Module, Signal, Signal, States]:
    """Two states that follow each other with `go`, and a third that `stop` prefers; the last `to` counts."""
    m, go, stop = Module(), Signal(), Signal()
    states = States(m, "first", "second", "end")
    with states.state("first"), m.If(go):
        states.to("second")
        with m.If(stop):
            states.to("end")
    with states.state("second"):
        states.to("first")
        with m.If(stop):
            states.to("second")
    states.close()
    return m, go, stop, states


def test_ways() -> None:
    m, go, stop, states = machine()
    seen = []

    async def bench(ctx) -> None:
        for pressed, stopped in [(0, 0), (0, 1), (1, 0), (0, 1), (0, 0), (1, 1), (1, 0)]:
            ctx.set(go, pressed)
            ctx.set(stop, stopped)
            await ctx.tick()
            seen.append("".join(name[0] for name, at in states.at.items() if ctx.get(at)))

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == ["f", "f", "s", "s", "f", "e", "e"]


def test_names_are_given_first() -> None:
    states = States(Module(), "first")
    with pytest.raises(KeyError, match="second"), states.state("second"):
        pass
    with states.state("first"), pytest.raises(KeyError, match="second"):
        states.to("second")
