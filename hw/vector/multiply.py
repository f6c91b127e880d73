"""Products: in a DSP slice, or in LUTs where there are none to spare."""

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.vector.pipeline import delay
from moesaic.hw.vector.reduce import tree_latency

__all__ = ["DSP_LATENCY", "LutMultiply", "dsp_product"]

DSP_LATENCY = 2  # cycles, registered operands to product: the M and P registers of a DSP slice
DSP_BITS, FACTOR_BITS = 27, 18  # of a slice's two operands, signed


def dsp_product(m: Module, a: Value, b: Value, *, name: str, plus: Value | None = None) -> Signal:
    """``a * b``, exact, `DSP_LATENCY` cycles later. Give it registers: they become A and B of the slice.

    Signed `plus`, a register too (C), comes a cycle after `a` and `b` and is added to their product.

    A signed `a` of more bits than a slice takes beside `b` is divided over two of them, whose products are added in the
    second cycle.
    """
    product = Signal((a * b if plus is None else a * b + plus).shape(), name=name, reset_less=True)
    most = DSP_BITS if len(b) + (not b.shape().signed) <= FACTOR_BITS else FACTOR_BITS
    below = most - 1
    parts = [(a, 0)] if len(a) <= most else [(a[:below], 0), (a[below:].as_signed(), below)]
    total: Value = Const(0)
    for k, (part, place) in enumerate(parts):
        multiplied = Signal((part * b).shape(), name=f"{name}_m{k or ''}", reset_less=True, attrs={"use_dsp": "yes"})
        m.d.sync += multiplied.eq(part * b)
        total = multiplied if k == 0 else total + multiplied.shift_left(place)
    m.d.sync += product.eq(total if plus is None else total + plus)
    return product


class LutMultiply(wiring.Component):
    """Exact product as a pipelined tree of adders: one row for every bit of `b`, at most two adders between registers.

    It is not written as ``*``: not every synthesiser obeys ``use_dsp``, and none pipelines a product by itself.
    One product per cycle, `latency` cycles later; no back pressure; no reset.

    Parameters
    ----------
    a_bits : int
        Width of the signed multiplicand.
    b_shape : Shape
        Shape of the multiplier, signed or not, 2 bits or more.

    Members
    -------
    a : In(signed(a_bits))
    b : In(b_shape)
    o : Out(signed(a_bits + width of b))

    Raises
    ------
    ValueError
        If a width is too small.
    """

    a: Signal
    b: Signal
    o: Signal

    def __init__(self, *, a_bits: int, b_shape: Shape) -> None:
        if a_bits < 2:
            raise ValueError(f"a_bits must be 2 or more, not {a_bits!r}")
        if b_shape.width < 2:
            raise ValueError(f"b_shape must have 2 bits or more, not {b_shape!r}")
        self.a_bits, self.b_shape = a_bits, b_shape
        # The row of a sign bit is subtracted, which the first adder does if the number of rows is even.
        self.rows = b_shape.width + (b_shape.width % 2 if b_shape.signed else 0)
        self.latency = tree_latency(self.rows)
        super().__init__({"a": In(signed(a_bits)), "b": In(b_shape), "o": Out(signed(a_bits + b_shape.width))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        b = Signal(Shape(self.rows, self.b_shape.signed))
        m.d.comb += b.eq(self.b)
        zero = Const(0, signed(self.a_bits))
        rows: list[tuple[Value, int]] = [(Mux(b[k], self.a, zero), 1) for k in range(self.rows)]
        level = 0
        while len(rows) > 1:
            merged: list[tuple[Value, int]] = []
            registered = level % 2 == 1 or len(rows) == 2
            domain = m.d.sync if registered else m.d.comb
            for position in range(0, len(rows) - 1, 2):
                (low, low_span), (high, span) = rows[position], rows[position + 1]
                name = f"sum_{level}_{position // 2}"
                total = Signal(signed(self.a_bits + low_span + span), name=name, reset_less=True)
                sign_row = self.b_shape.signed and level == 0 and position == len(rows) - 2
                shifted = high.shift_left(low_span)
                domain += total.eq(low - shifted if sign_row else low + shifted)
                merged.append((total, low_span + span))
            if len(rows) % 2:
                last, span = rows[-1]
                merged.append((delay(m, last, int(registered), name=f"rest_{level}"), span))
            rows, level = merged, level + 1
        m.d.comb += self.o.eq(rows[0][0])
        return m
