"""Where the loader stands in an instruction, by blocks and by keys: registers, and the steps between their values."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data

from moesaic.hw.decode.packing import block_rows, packing
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Stationary

__all__ = ["BlockPosition", "KeyPosition", "lanes_inside"]

_NEAR = 8  # lanes that are compared together


def lanes_inside(m: Module, op: data.View, lanes: int) -> Signal:
    """The lanes that belong to the head, for keys: three cycles after the instruction.

    Three steps, for 64 comparisons with one number have many loads: the number, then groups of lanes and places in a
    group, then each lane.
    """
    width = (2 * lanes - 1).bit_length()
    inside = Signal(lanes)
    bounds = []
    for name, number in (("low", op.lane_low), ("beyond", op.lane_low + op.lane_count)):
        bound = Signal(width, name=f"lanes_{name}")
        groups, near = max(1, lanes // _NEAR), min(lanes, _NEAR)
        bits = (near - 1).bit_length()
        less, same = Signal(groups, name=f"{name}_less"), Signal(groups, name=f"{name}_same")
        place = Signal(near, name=f"{name}_place")
        m.d.sync += bound.eq(number)
        for g in range(groups):
            m.d.sync += [less[g].eq(g < bound[bits:]), same[g].eq(g == bound[bits:])]
        for p in range(near):
            m.d.sync += place[p].eq(p < bound[:bits])
        bounds.append([less[k // near] | (same[k // near] & place[k % near]) for k in range(lanes)])
    m.d.sync += inside.eq(Cat(~below & before for below, before in zip(*bounds, strict=True)))
    return inside


class BlockPosition:
    """Where an instruction stands. What a step decides on is counted down, and judged a step ahead."""

    def __init__(self, m: Module, op: data.View, config: AcceleratorConfig) -> None:
        self.op, self.lanes = op, config.lanes
        self.packs = Signal()  # two keys in a row: in time for the loader's state `wait`
        self.rows = block_rows(self.packs, config)  # outputs of a block
        self.packed = config.packed_keys
        if self.packed:
            m.d.sync += self.packs.eq(packing(op, config))
        self.wide = Const(config.wide_operands, 1)  # without, nothing here comes in planes
        self.in_block = Signal(8)  # in planes: counted within one
        self.plane = Signal()  # of keys or values: the lower one of two
        self.blocks_left = Signal(8)  # of inputs, with this one
        self.plane_left = Signal(8)  # of these, in its plane
        self.outputs_left = Signal(13)  # from this block's first on
        self.keys_left = Signal(12)  # VALUES: from this block's first on
        # twice the same, for many ask: this one for keys
        self.last_in, self.last_of_keys = (Signal(name=n, attrs={"keep": "true"}) for n in ("last_in", "last_of_keys"))
        self.last_out = Signal()
        # blocks come in planes; this is the last of one
        self.planes = Signal()
        self.last_plane = Signal()
        self.only_in = Signal()  # one block is all
        self.step = Signal()  # this block is complete: to the next one of inputs or outputs
        self.takes_extra = Signal()  # an extra key is loaded with this block
        with m.If(self.step):
            self._next_block(m)
        m.d.sync += [self.only_in.eq(op.in_blocks == 1), self.planes.eq(self.wide & (op.shift_block != 0))]

    @property
    def _lasts(self) -> tuple[Signal, Signal]:
        return self.last_in, self.last_of_keys

    def clear(self, m: Module) -> None:
        """Before an instruction."""
        m.d.sync += [self.in_block.eq(0), self.plane.eq(0)]

    def start(self, m: Module) -> None:
        """At its first block."""
        op = self.op
        m.d.sync += [
            self.blocks_left.eq(op.in_blocks),
            self.outputs_left.eq(op.out_count),
            self.keys_left.eq(op.key_count),
            *(last.eq(op.in_blocks == 1) for last in self._lasts),
            *([] if self.packed else [self.last_out.eq(op.out_count <= self.rows)]),
            self.plane_left.eq(op.shift_block),
            self.last_plane.eq(self.wide & (op.shift_block == 1)),
            self.takes_extra.eq(op.extra),
        ]

    def settle(self, m: Module) -> None:
        """A cycle after `start`, before the first step: what packing decides."""
        if self.packed:
            m.d.sync += self.last_out.eq(self.op.out_count <= self.rows)

    def next_outputs(self, m: Module) -> None:
        """Step to the next block of outputs."""
        m.d.sync += [
            self.outputs_left.eq(self.outputs_left - self.rows),
            self.last_out.eq(self.outputs_left <= 2 * self.rows),
        ]

    def _next_block(self, m: Module) -> None:
        op = self.op
        m.d.sync += [
            self.in_block.eq(self.in_block + 1),
            self.blocks_left.eq(self.blocks_left - 1),
            *(last.eq(self.blocks_left == 2) for last in self._lasts),
            self.keys_left.eq(self.keys_left - self.lanes),
            self.plane_left.eq(self.plane_left - 1),
            self.last_plane.eq(self.planes & (self.plane_left == 2)),
            # A key with its first blocks of outputs, a value with the first block of inputs of each.
            self.takes_extra.eq(
                op.extra & Mux(op.stationary == Stationary.VALUES, self.last_in, self.takes_extra & ~self.last_in)
            ),
        ]
        with m.If(self.last_in | self.last_plane):
            m.d.sync += [
                self.in_block.eq(0),
                self.keys_left.eq(op.key_count),
                self.plane.eq(~self.plane & ~self.last_in),
                self.plane_left.eq(op.shift_block),
                self.last_plane.eq(self.wide & (op.shift_block == 1)),
            ]
        with m.If(self.last_in):
            m.d.sync += [self.blocks_left.eq(op.in_blocks), *(last.eq(self.only_in) for last in self._lasts)]
            self.next_outputs(m)

    @property
    def last(self) -> Value:
        """The instruction's last block."""
        return self.last_in & self.last_out


class KeyPosition:
    """Which key is read next."""

    def __init__(self, m: Module, op: data.View, config: AcceleratorConfig) -> None:
        # Keys become lanes; from the loader's state `wait` on. One for what steps, and one for what is read.
        self.steps_values, self.values = (
            Signal(name=name, attrs={"keep": "true"}) for name in ("steps_values", "values")
        )
        m.d.sync += [values.eq(op.stationary == Stationary.VALUES) for values in (self.steps_values, self.values)]
        self.groups, self.group_bits = config.groups, (config.groups - 1).bit_length()
        most = max(config.rows, config.lanes)
        self.place = Signal(range(most))  # of the next key in its block
        self.left = Signal(range(most + 1))  # of the block, with this one
        # It is the block's last, judged a key ahead; and it is read in this cycle: for what steps here, and for others.
        self.last = Signal()
        self.steps, self.ends = (Signal(name=name, attrs={"keep": "true"}) for name in ("steps", "block_ends"))
        # word of the next key, and of that behind it
        self.address = Signal(16)
        self.following = Signal(16)
        self.first = Signal(16)  # word of this block's first key, in its first word
        # The same key's word in the next block; where the next keys begin: behind this one, or, as values, with the
        # next block of channels.
        self.beside = Signal(16)
        self.beyond = Signal(16)
        self.group = Signal(max(self.group_bits, 1))
        self.reading = Signal()  # in this cycle
        self.has_extra = config.extra_key
        if self.has_extra:
            # The word of the extra key, a cycle after `first`; it is read in this cycle.
            self.extra_address = Signal(16)
            self.reading_extra = Signal()
            self.distance = distance = Signal(16)
            count = Signal(13)
            m.d.sync += [
                count.eq(Mux(op.stationary == Stationary.VALUES, op.key_count, op.out_count)),
                distance.eq(count * op.kv_stride),
            ]

    def start(self, m: Module, op: data.View) -> None:
        """At the instruction's first key."""
        m.d.sync += [self.address.eq(op.kv_addr), self.first.eq(op.kv_addr), self.group.eq(op.group)]
        with m.If(self.steps_values):
            self._begin(m, op.kv_addr + (op.group >> self.group_bits))

    def _begin(self, m: Module, address: Value) -> None:
        m.d.sync += [self.address.eq(address), self.first.eq(address)]

    def begin_block(self, m: Module, op: data.View, left: Value, width: Value) -> None:
        """Before the first key of a block of `width`, with `left` keys to come."""
        m.d.sync += [
            self.place.eq(0),
            self.left.eq(Mux(left < width, left, width)),
            self.last.eq(left == 1),
            self.following.eq(self.address + op.kv_stride),
            self.beyond.eq(self.first + Mux(self.values, self.group == self.groups - 1, op.kv_stride)),
        ]

    def next_key(self, m: Module, op: data.View) -> None:
        """Step to the next key of the block."""
        m.d.sync += [
            self.place.eq(self.place + 1),
            self.left.eq(self.left - 1),
            self.last.eq(self.left == 2),
            *(ends.eq((self.left == 2) & ~self.last) for ends in (self.steps, self.ends)),
            self.address.eq(self.following),
            self.following.eq(self.following + op.kv_stride),
            self.beyond.eq(self.beyond + Mux(self.values, 0, op.kv_stride)),
        ]

    def watch(self, m: Module, at: BlockPosition) -> None:
        """In every cycle: where the next block of channels begins, from what changes two cycles before it is used; and
        where the extra key lies.
        """
        m.d.sync += self.beside.eq(self.first + Mux(at.last_plane, 0, at.in_block + 1))
        if self.has_extra:
            m.d.sync += self.extra_address.eq(self.first + self.distance + at.in_block)

    def next_block(self, m: Module, at: BlockPosition) -> None:
        """Step from the last key of a block to the first one of the next."""
        with m.If(at.last_of_keys):
            self._begin(m, self.beyond)
            if self.groups > 1:
                with m.If(self.steps_values):
                    m.d.sync += self.group.eq(self.group + 1)
        with m.Elif(~self.steps_values):  # the same keys, next block of channels
            m.d.sync += self.address.eq(self.beside)
        with m.Elif(at.last_plane):  # the next block of keys continues where this one ends, the next plane starts over
            m.d.sync += self.address.eq(self.first)
