from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
import pytest

from moesaic.sim.verilated import SimulationFailed, build, cocotb_test, run


class Counter(wiring.Component):
    def __init__(self):
        super().__init__({"go": In(1), "step": In(4), "total": Out(8)})

    def elaborate(self, platform):
        m = Module()
        with m.If(self.go):
            m.d.sync += self.total.eq(self.total + self.step)
        return m

def test_c(tmp_path):
    cocotb_test(Counter(), name="counter", module="tb_counter", tmp_path=tmp_path)

def test_d(tmp_path):
    with pytest.raises(SimulationFailed, match="tb_counter.counts failed"):
        cocotb_test(Counter(), name="counter", module="tb_counter", tmp_path=tmp_path, env={"EXPECT": "301"})
