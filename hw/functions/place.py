"""Where a result goes: word, group of channels in it, and the channels that count."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.decode.operation import context_layout, operation_layout
from moesaic.hw.functions.companion import place_layout
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Stationary
from moesaic.hw.vector.multiply import LutMultiply
from moesaic.hw.vector.pipeline import delay

__all__ = ["Place", "arrival_layout"]


def arrival_layout(config: AcceleratorConfig) -> data.StructLayout:
    """An operation and its instruction's context."""
    return data.StructLayout({"op": operation_layout(), "context": context_layout(config)})


class Place(wiring.Component):
    """Computes the place of each operation's results, `LATENCY` cycles later.

    Word ``dst_addr + position * dst_stride + group // groups``, as docs/isa.md says it: the position is that of the
    vector, or of the token if an expert's result is added. One per cycle, no back pressure, no reset state.

    Members
    -------
    i : In(stream of arrival_layout(config), always ready)
    o : Out(place_layout(config))
    """

    LATENCY = 4  # cycles

    i: stream.Interface
    o: data.View

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.multiply = LutMultiply(a_bits=13, b_shape=unsigned(8))
        if self.multiply.latency + 2 != self.LATENCY:
            raise AssertionError(f"a distance must take {self.LATENCY - 2} cycles, not {self.multiply.latency}")
        super().__init__(
            {"i": In(stream.Signature(arrival_layout(config), always_ready=True)), "o": Out(place_layout(config))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        group_bits = (self.config.groups - 1).bit_length()
        op, context = self.i.p.op, self.i.p.context
        group = Signal(12)
        # Of a pair of blocks, gate and value, the results go to one place.
        pair = Mux(context.gated, op.block >> 1, op.block) if self.config.gated_mlp else op.block
        first: Value = context.group
        if self.config.packed_keys:  # two groups for each block, from an even one on
            first = Cat(context.group[0] & ~context.packs, context.group[1:])
            pair = Mux(context.packs, pair.shift_left(1), pair)
        m.d.comb += group.eq(first + pair)
        m.d.comb += self.o.group.eq(delay(m, group, self.LATENCY, name="group")[:group_bits])
        m.d.comb += self.o.mask.eq(self._mask(m, group))

        position = Signal(12, reset_less=True)  # vector or token number
        stride = Signal(8, reset_less=True)
        m.d.sync += [
            position.eq(Mux((context.function == Function.ADD) & context.expert_valid, op.token, op.slot)),
            stride.eq(context.dst_stride),
        ]
        m.submodules.distance = multiply = self.multiply
        m.d.comb += [multiply.a.eq(position), multiply.b.eq(stride)]
        base = delay(m, context.dst_addr, 1, name="dst")
        word_base = Signal(16, reset_less=True)
        m.d.sync += word_base.eq(base + (delay(m, group, 1, name="group_word") >> group_bits))
        address = Signal(16, reset_less=True)
        m.d.sync += address.eq(delay(m, word_base, multiply.latency - 1, name="word_base") + multiply.o)
        m.d.comb += self.o.address.eq(address)
        return m

    def _mask(self, m: Module, group: Value) -> Value:
        """The channels that count, of the first row counted from the first that is wanted, and from the one after the
        last.
        """
        rows, groups, context = self.config.rows, self.config.groups, self.i.p.context
        block: Value = self.i.p.op.block
        if self.config.packed_keys:
            block = Mux(context.packs, block.shift_left(1), block)
        remaining = Signal(signed(17), reset_less=True)  # outputs from this block's first on
        first_channel = Signal(8, reset_less=True)  # of the group within its word
        m.d.sync += [
            remaining.eq(context.out_count - block * rows),
            first_channel.eq((group & (groups - 1)) * rows),
        ]
        low = Signal(signed(10), reset_less=True)
        high = Signal(signed(10), reset_less=True)
        end = Signal(9, reset_less=True)
        m.d.sync += [
            end.eq(context.lane_low + context.lane_count),
            low.eq(delay(m, context.lane_low, 1, name="lane_low") - first_channel),
            high.eq(end - first_channel),
        ]
        later = delay(m, remaining, 1, name="remaining")
        values = delay(m, context.stationary == Stationary.VALUES, 2, name="values")
        mask = Signal(rows, reset_less=True)
        for r in range(rows):
            m.d.sync += mask[r].eq(Mux(values, (low <= r) & (high > r), later > r))
        if self.config.packed_keys:
            packed = delay(m, context.packs, 2, name="packs")
            beyond = Signal(rows, reset_less=True)
            for r in range(rows):
                m.d.sync += beyond[r].eq(packed & (later > rows + r))
            m.d.comb += self.o.beyond.eq(delay(m, beyond, self.LATENCY - 3, name="beyond"))
        return delay(m, mask, self.LATENCY - 3, name="mask")
