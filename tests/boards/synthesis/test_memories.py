"""Memories become what a calculation by hand says: block RAM, UltraRAM, LUT RAM."""

from amaranth.hdl import Module as Design
from amaranth.hdl import Signal, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from moesaic.boards.synthesis.mapping import map_modules
from moesaic.boards.synthesis.modules import split_modules
from moesaic.hw.verilog import to_verilog


class Store(wiring.Component):
    """One memory with a write port and read ports, all on ports of the module."""

    def __init__(
        self, *, depth: int, parts: int, bits: int, reads: int = 1, style: str = "block", asynchronous: bool = False
    ) -> None:
        self.depth, self.parts, self.bits, self.reads, self.style, self.asynchronous = (
            depth,
            parts,
            bits,
            reads,
            style,
            asynchronous,
        )
        shape = parts * bits
        super().__init__(
            {
                "w_addr": In(range(depth)),
                "w_data": In(shape),
                "w_en": In(parts),
                **{f"r{k}_addr": In(range(depth)) for k in range(reads)},
                **{f"r{k}_data": Out(shape) for k in range(reads)},
            }
        )

    def elaborate(self, platform: object) -> Design:
        m = Design()
        attrs = {"ram_style": self.style} if self.style else {}
        store = memory.Memory(
            shape=data.ArrayLayout(unsigned(self.bits), self.parts), depth=self.depth, init=[], attrs=attrs
        )
        m.submodules.store = store
        write = store.write_port(granularity=1)
        m.d.comb += [write.addr.eq(self.w_addr), write.data.eq(self.w_data), write.en.eq(self.w_en)]
        for k in range(self.reads):
            read = store.read_port(domain="comb" if self.asynchronous else "sync")
            m.d.comb += [read.addr.eq(getattr(self, f"r{k}_addr")), getattr(self, f"r{k}_data").eq(read.data)]
        # A register, so that the clock reaches the module in every case.
        seen = Signal()
        m.d.sync += seen.eq(self.w_en.any())
        return m


class All(wiring.Component):
    """Every memory of the table as a submodule."""

    def __init__(self, stores: dict[str, Store]) -> None:
        self.stores = stores
        members = {}
        for name, store in stores.items():
            members |= {f"{name}_{port}": member for port, member in store.signature.members.items()}
        super().__init__(members)

    def elaborate(self, platform: object) -> Design:
        m = Design()
        for name, store in self.stores.items():
            m.submodules[name] = store
            for port, member in store.signature.members.items():
                outer, inner = getattr(self, f"{name}_{port}"), getattr(store, port)
                m.d.comb += outer.eq(inner) if member.flow == Out else inner.eq(outer)
        return m


# What it is, and the primitives that it takes, calculated: a RAMB36 is 4096 x 9, 2048 x 18, 1024 x 36 or (one read, one
# write port)
# 512 x 72; every ninth bit is lost if bytes are written one by one. An UltraRAM is 4096 x 72.
BLOCK = {
    # 4096 words of 64 bytes, written by bytes: 4096 x 8 of a RAMB36, 64 times.
    "activation": (Store(depth=4096, parts=64, bits=8), {"RAMB36E2": 64}),
    # 1024 words of 16 x 16 bits with two read ports: two copies of 1024 x 32 of a RAMB36, 8 times.
    "residual": (Store(depth=1024, parts=16, bits=16, reads=2), {"RAMB36E2": 16}),
    # 512 x 11 with two read ports, no parts: 1024 x 18 is half a RAMB36 (a RAMB18), two copies.
    "state": (Store(depth=512, parts=1, bits=11, reads=2), {"RAMB18E2": 2}),
    # 32 x 28 read without a clock: 14 bits of a RAM32M16, twice.
    "contexts": (Store(depth=32, parts=1, bits=28, style="distributed", asynchronous=True), {"RAM32M16": 2}),
}
ULTRA = {
    # 8192 words of 144 bits: two deep, two wide.
    "prefetch": (Store(depth=8192, parts=1, bits=144, style="ultra"), {"URAM288": 4}),
    # 4096 words of 64 bytes, written by bytes of eight of nine bits: 8 UltraRAMs of 64 bits.
    "activation": (Store(depth=4096, parts=64, bits=8, style="ultra"), {"URAM288": 8}),
}


def test_memories_take_what_was_calculated() -> None:
    table = {**BLOCK, **{f"ultra_{name}": entry for name, entry in ULTRA.items()}}
    modules = split_modules(
        to_verilog(All({name: store for name, (store, _) in table.items()}), name="memories", assertions=False)
    )
    children = modules["memories"].children
    mapped, failures = map_modules(list(children.values()), modules, family="zynqmp", uram=True)
    assert not failures
    found = {
        name: {cell: count for cell, count in mapped[module].counts.cells.items() if cell.startswith(("RAM", "URAM"))}
        for name, module in children.items()
    }
    assert found == {name: cells for name, (_, cells) in table.items()}
