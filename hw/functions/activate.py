"""Activations: functions of one value, each in a file of its own that is named in `hw.spec.functions`."""

import importlib
from functools import reduce
from operator import or_
from typing import Any, Protocol

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.functions.companion import CompanionSignature
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.functions import FUNCTIONS
from moesaic.hw.spec.isa import Function
from moesaic.hw.vector.pipeline import copies, delay, delay_valid

__all__ = ["ACTIVATIONS", "Activate", "Activation", "is_activated"]


class Activation(Protocol):
    """A component that computes a function of int16 with 10 fraction bits in every lane.

    ``UNIT`` of module ``hw.functions.<activation>`` is its class; the constructor takes `lanes`.
    """

    LATENCY: int  # cycles
    i_valid: Signal
    i: Any
    o: Any


def _units() -> dict[Function, Any]:
    named = {function: use.activation for function, use in FUNCTIONS.items() if use.activation is not None}
    return {f: importlib.import_module(f"moesaic.hw.functions.{name}").UNIT for f, name in named.items()}


ACTIVATIONS: dict[Function, Any] = _units()


def is_activated(function: Value) -> Value:
    """1 for an instruction's function that is an activation."""
    return reduce(or_, [function == activation for activation in ACTIVATIONS])


class Activate(wiring.Component):
    """Applies the instruction's activation, or none.

    Each activation computes ``golden.numerics`` bit for bit; whichever it is, it takes `LATENCY` cycles. One vector per
    cycle, no back pressure.

    Members
    -------
    i : In(CompanionSignature), `AHEAD` cycles before the values
    value : In([rows] signed(16)), o : Out([rows] signed(16))
    """

    AHEAD = 1
    LATENCY = max(unit.LATENCY for unit in ACTIVATIONS.values())

    i: stream.Interface
    value: data.View
    o: data.View

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.units = {function: unit(lanes=config.rows) for function, unit in ACTIVATIONS.items()}
        row = data.ArrayLayout(signed(16), config.rows)
        super().__init__({"i": In(CompanionSignature(config)), "value": In(row), "o": Out(row)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows = self.config.rows
        result: Any = delay(m, self.value, self.LATENCY, name="plain")
        for function, unit in self.units.items():
            name = function.name.lower()
            m.submodules[name] = unit
            runs = self.i.p.context.function == function
            m.d.comb += [
                unit.i_valid.eq(delay_valid(m, self.i.valid & runs, self.AHEAD, name=f"{name}_valid")),
                unit.i.eq(self.value),
            ]
            output = delay(m, unit.o, self.LATENCY - unit.LATENCY, name=f"{name}_output")
            chosen: Any = Signal(self.o.shape(), name=f"{name}_chosen")
            early = delay(m, runs, self.AHEAD + self.LATENCY - 1, name=f"{name}_runs")
            for r, here in enumerate(copies(m, early, rows, name=name)):
                m.d.comb += chosen[r].eq(Mux(here, output[r], result[r]))
            result = chosen
        m.d.comb += self.o.eq(result)
        return m
