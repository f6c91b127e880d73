"""Activations: the curve of an instruction's function, or none."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.functions.companion import CompanionSignature
from moesaic.hw.functions.curves import TABLES, Curves
from moesaic.hw.functions.gated import is_gated_value
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.curves import CURVES
from moesaic.hw.spec.functions import FUNCTIONS, functions_of, functions_that
from moesaic.hw.spec.isa import Function
from moesaic.hw.vector.pipeline import copies

__all__ = ["Activate", "is_activated", "is_squared"]


def _is_one_of(function: Value, functions: tuple[Function, ...]) -> Value:
    return reduce(or_, [function == one for one in functions], Const(0, 1))


def is_activated(function: Value) -> Value:
    """1 for an instruction's function that is an activation."""
    return _is_one_of(function, tuple(function for function, use in FUNCTIONS.items() if use.activation))


def is_squared(function: Value) -> Value:
    """1 for a function that multiplies its activation by itself."""
    return _is_one_of(function, functions_that("squared"))


class Activate(wiring.Component):
    """Applies the instruction's activation, or none: the values of a gated MLP pass as they are.

    Computes ``golden.numerics.activation`` bit for bit, with the tables of the functions that the configuration has.
    One vector per cycle, `LATENCY` cycles later; no back pressure.

    Members
    -------
    i : In(CompanionSignature), `AHEAD` cycles before the values
    value : In([rows] signed(16)), o : Out([rows] signed(16))
    """

    AHEAD = 1
    LATENCY = Curves.LATENCY

    i: stream.Interface
    value: data.View
    o: data.View

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        curves = {function: CURVES[FUNCTIONS[function].activation or ""] for function in functions_of(config)}
        self.users = [tuple(f for f, curve in curves.items() if curve is table) for table in TABLES]
        self.curves = Curves(lanes=config.rows, tables=sum(bool(users) << k for k, users in enumerate(self.users)))
        row = data.ArrayLayout(signed(16), config.rows)
        super().__init__({"i": In(CompanionSignature(config)), "value": In(row), "o": Out(row)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.curves = curves = self.curves
        rows, function = self.config.rows, self.i.p.context.function
        plain = is_gated_value(self.config, self.i.p)
        active = copies(m, is_activated(function) & ~plain, rows, name="active")
        tables = Cat(_is_one_of(function, users) & ~plain for users in self.users if users)
        chosen = copies(m, tables, rows, name="chosen")
        m.d.comb += [curves.i.eq(self.value), self.o.eq(curves.o)]
        for r in range(rows):
            m.d.comb += [curves.active[r].eq(active[r]), curves.chosen[r].eq(chosen[r])]
        return m
