"""A key beyond whole blocks, such as that of a class token: its score and its value, beside the array."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.engine.array import array_latency
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.vector.multiply import DSP_LATENCY, dsp_product
from moesaic.hw.vector.pipeline import copies, delay, delay_valid
from moesaic.hw.vector.reduce import AdderTree

__all__ = ["ExtraFillSignature", "ExtraKey", "extra_products_layout", "extra_score_bits"]


def _product_bits(config: AcceleratorConfig) -> int:
    return config.streamed_bits + 8


def extra_products_layout(config: AcceleratorConfig) -> data.ArrayLayout:
    """The extra key's probability times the channels of its value."""
    return data.ArrayLayout(signed(_product_bits(config)), config.rows)


def extra_score_bits(config: AcceleratorConfig) -> int:
    """Bits of the extra key's dot product with a query."""
    return _product_bits(config) + (config.lanes - 1).bit_length()


class ExtraFillSignature(wiring.Signature):
    """Fills the shadow of the extra key.

    Members
    -------
    load : Out(1)
    values : Out(1)
        From `column`, else from `key`.
    key : Out([lanes] unsigned(8)), column : Out([rows] unsigned(8))
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(
            {
                "load": Out(1),
                "values": Out(1),
                "key": Out(data.ArrayLayout(unsigned(8), config.lanes)),
                "column": Out(data.ArrayLayout(unsigned(8), config.rows)),
            }
        )


class ExtraKey(wiring.Component):
    """`lanes` multipliers that share the array's stream: the dot product of a query with one key, or a probability
    times one value.

    The stationary operand is held twice, and exchanged with the array's block. One vector per cycle, no back pressure.

    Members
    -------
    x : In([lanes] signed), swap : In(1)
        As the array takes them.
    probability : In(unsigned)
        Of the extra key.
    attend : In(1), used : In(1)
        The probability is multiplied, not the vector; the products count.
    fill : In(ExtraFillSignature)
    score : Out(signed(extra_score_bits(config)))
        With the array's sums, ``array_latency(lanes)`` cycles after the vector.
    products : Out([rows] signed)
        With them: what the key adds to each sum, 0 if it is not `used`.
    """

    x: data.View
    swap: Signal
    probability: Signal
    attend: Signal
    used: Signal
    fill: Any
    score: Signal
    products: data.View

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        bits = _product_bits(config)
        self.tree = AdderTree(shape=signed(bits), terms=config.lanes)
        super().__init__(
            {
                "x": In(data.ArrayLayout(signed(config.streamed_bits), config.lanes)),
                "swap": In(1),
                "probability": In(config.probability_width),
                "attend": In(1),
                "used": In(1),
                "fill": In(ExtraFillSignature(config)),
                "score": Out(signed(extra_score_bits(config))),
                "products": Out(extra_products_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, fill = self.config, self.fill
        m.submodules.tree = tree = self.tree
        # Two registers, the product, and the last register before the sums.
        wait = array_latency(config.lanes) - 2 - DSP_LATENCY - 1
        used = delay_valid(m, self.used & self.attend, array_latency(config.lanes) - 1, name="used")
        # Inputs in registers, as the array has them: what drives them is far, and has other loads.
        x_in: Any = delay(m, self.x, 1, name="x")
        probability = delay(m, self.probability, 1, name="probability")
        key, column = (delay(m, part, 1, name=name) for part, name in ((fill.key, "key"), (fill.column, "column")))
        swaps, loads, values, attends = (
            copies(m, bit, config.lanes, name=name)
            for bit, name in (
                (self.swap, "swap"),
                (fill.load, "load"),
                (fill.values, "values"),
                (self.attend, "attend"),
            )
        )
        for lane in range(config.lanes):
            shadow = Signal(signed(8), name=f"shadow_{lane}", reset_less=True)
            active = Signal(signed(8), name=f"active_{lane}", reset_less=True)
            factor = Signal(signed(config.streamed_bits), name=f"factor_{lane}", reset_less=True)
            new: Value = key[lane]
            x: Value = x_in[lane]
            if lane < config.rows:
                new = Mux(values[lane], column[lane], new)
                x = Mux(attends[lane], probability, x)
            with m.If(loads[lane]):
                m.d.sync += shadow.eq(new)
            with m.If(swaps[lane]):
                m.d.sync += active.eq(shadow)
            m.d.sync += factor.eq(x)
            product = dsp_product(m, factor, active, name=f"product_{lane}")
            m.d.comb += tree.i[lane].eq(product)
            if lane < config.rows:
                late = delay(m, product, wait, name=f"late_{lane}")
                counted = Signal(late.shape(), name=f"counted_{lane}", reset_less=True)
                m.d.sync += counted.eq(Mux(used, late, 0))
                m.d.comb += self.products[lane].eq(counted)
        m.d.comb += self.score.eq(delay(m, tree.o, wait + 1 - tree.latency, name="score"))
        return m
