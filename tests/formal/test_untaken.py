# amaranth: UnusedElaboratable=no
"""Branches of `micro8` that its coverage leaves out (`coverage_exclusions.toml`): no state takes them."""

from pathlib import Path

import pytest
from amaranth.hdl import Array, Assert, Assume, Elaboratable, Module, Mux, Signal
from inside import Opened, Planted, opened
from prove import free_inputs, prove, refute

from moesaic.hw.attention.softmax import SoftmaxBlock
from moesaic.hw.engine.feeder import Feeder
from moesaic.hw.engine.walk import QUEUE_DEPTH, Walk
from moesaic.hw.functions.attend import Attend
from moesaic.hw.moe.gate import Gate
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import FORMATS, Opcode
from moesaic.hw.spec.latency import REUSE_CYCLES
from moesaic.hw.spec.presets import PRESETS

MICRO = PRESETS["micro8"]


class LevelProof(Elaboratable):
    """Neighbours are never heavier than the last limit of a level."""

    def __init__(self, kind: type[SoftmaxBlock]) -> None:
        self.dut = kind(rows=MICRO.rows, bits=MICRO.probability_width)
        self.free = free_inputs(self.dut)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inner = m.submodules.dut = Opened(self.dut, platform)
        m.d.comb += Assert(~inner["above"][-1], "neighbours are at most as heavy as two that are the maximum")
        return m


class HeavierByOne(Planted, SoftmaxBlock):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["above"][-1].eq(m.submodules.heaviest.o > 509)


class ScoreProof(Elaboratable):
    """The score of a gate is never negative. The product and its rounding are those of any number of experts."""

    def __init__(self, kind: type[Gate]) -> None:
        self.dut = kind(experts=MICRO.max_top_k, max_top_k=MICRO.max_top_k)
        self.free = free_inputs(self.dut)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inner = m.submodules.dut = Opened(self.dut, platform)
        for k in range(MICRO.max_top_k):
            rounding = opened(getattr(inner.m.submodules, f"round_{k}"), platform)
            m.d.comb += Assert(~rounding["negative"], "a score is not negative")
        return m


class RoundsDown(Planted, Gate):
    """A product is one less before it is rounded."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.comb += m.submodules.round_0.i.eq(inner["score_0"] - 1)


class CreditsProof(Elaboratable):
    """A vector that has a credit has a place before the array, and the queue before it never becomes full."""

    def __init__(self, kind: type[Feeder]) -> None:
        self.dut = kind(MICRO)
        self.free = free_inputs(self.dut)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut = self.dut
        walk = opened(dut.walk, platform)
        inner = m.submodules.dut = Opened(dut, platform)
        queue, totals, head = dut.waiting, dut.totals, dut.head.o.valid
        on_their_way = sum((inner[f"live_{k}"] for k in range(1, dut.final + 1)), start=0)
        credits, in_pipe = walk["credits"], walk["in_pipe"]
        m.d.comb += [
            Assert(~queue.full, "a vector may always enter"),
            Assert(~totals.full | ~inner["added_1"], "and its sum"),
            Assert(~totals.o.ready | totals.o.valid, "which is there when the vector enters the array"),
            Assert(credits + in_pipe + queue.level + head + inner["pop"] == QUEUE_DEPTH, "credits are kept"),
            Assert(in_pipe == on_their_way),
            Assert(walk["credit"] == (credits != 0)),
            Assert(head == inner["held"]),
            Assert(head == dut.vector.o.valid),
            Assert(head | (queue.level <= 1), "what waits goes on"),
            Assert(totals.level + inner["added_1"] == queue.level + head),
            *(Assert(part.full == (part.level == QUEUE_DEPTH)) for part in (queue, totals)),
            *(Assert(part.some == (part.level != 0)) for part in (queue, totals)),
        ]
        return m


class LoneOnesAreFree(Planted, Walk):
    """What is issued without a vector takes no credit."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["credits"].eq(inner["credits"] - self.busy + self.popped)


class FeederOfFreeOnes(Feeder):
    def __init__(self, config: AcceleratorConfig) -> None:
        super().__init__(config)
        self.walk.__class__ = LoneOnesAreFree


class SumProof(Elaboratable):
    """The sum whose reciprocal is looked up has no bit in the highest place.

    A slot's vectors are added up from the first block of inputs on, as many as an instruction has blocks; a slot does
    not come again within `REUSE_CYCLES`.
    """

    SLOTS = 2  # that the walk uses
    BLOCKS = (1 << FORMATS[Opcode.MATMUL].field("in_blocks").bits) - 1
    MOST = (1 << MICRO.total_bits) - 1  # of a vector

    def __init__(self, kind: type[Attend]) -> None:
        self.dut = kind(MICRO.replace(max_tokens=8), delay=1)
        self.free = free_inputs(self.dut)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inner = m.submodules.dut = Opened(self.dut, platform)
        op, sums, total = self.dut.i.p, inner.m.submodules.sums, inner["total"]
        now = self.dut.i.valid & op.attention
        # Vectors that a slot's sum is of: in the memory, and with its word on the way.
        counts = Array(Signal(8, name=f"count_{slot}", reset_less=True) for slot in range(self.SLOTS))
        known, added, anew, begun = (Signal(bits, reset_less=True) for bits in (8, 8, 1, 1))
        slot = [op.slot, inner["slot_1"], inner["slot_2"]]
        kept = [now, inner["kept_1"], inner["kept_2"]]
        read = sums.read_port()
        m.d.sync += begun.eq(begun | self.dut.i.valid)
        m.d.comb += [
            Assume(op.slot < self.SLOTS),
            Assume(begun | (read.data == 0), "as in a simulation, before anything is read"),
        ]
        with m.If(now):
            m.d.comb += [
                Assume(op.acc_first | op.acc_shift | (counts[op.slot] < self.BLOCKS)),
                *(Assume(~kept[k] | (slot[k] != op.slot)) for k in range(1, REUSE_CYCLES)),
            ]
        m.d.sync += [known.eq(counts[op.slot]), added.eq(Mux(anew, 0, known) + 1)]
        m.d.sync += anew.eq(op.acc_first | op.acc_shift)
        with m.If(kept[2]):
            m.d.sync += counts[slot[2]].eq(added)

        views = [sums.read_port(domain="comb") for _ in counts]
        m.d.comb += [read.addr.eq(op.slot), read.en.eq(self.dut.i.valid)]
        m.d.comb += [view.addr.eq(k) for k, view in enumerate(views)]
        m.d.comb += [
            Assert(~total[-1], "a sum has no bit in the highest place"),
            *(Assert(view.data <= count * self.MOST) for view, count in zip(views, counts, strict=True)),
            Assert(read.data <= self.BLOCKS * self.MOST),
            Assert(~kept[1] | anew | ((read.data <= known * self.MOST) & (known < self.BLOCKS))),
            Assert(total <= (self.BLOCKS + 1) * self.MOST),
            Assert(~kept[2] | ((total <= added * self.MOST) & (added != 0))),
            Assert(~kept[1] | ~kept[2] | (slot[1] != slot[2])),
        ]
        return m


class NeverAnew(Planted, Attend):
    """Sums of other instructions are not forgotten."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["anew_1"].eq(0)


PROOFS = [(LevelProof, SoftmaxBlock), (ScoreProof, Gate), (CreditsProof, Feeder), (SumProof, Attend)]
BUGS = [(LevelProof, HeavierByOne), (ScoreProof, RoundsDown), (CreditsProof, FeederOfFreeOnes), (SumProof, NeverAnew)]


@pytest.mark.parametrize(("proof", "kind"), PROOFS)
def test_never_taken(tmp_path: Path, proof: type[Elaboratable], kind: type) -> None:
    top = proof(kind)
    prove(top, free=top.free, work=tmp_path)


@pytest.mark.parametrize(("proof", "bug"), BUGS)
def test_a_bug_takes_it(tmp_path: Path, proof: type[Elaboratable], bug: type) -> None:
    top = proof(bug)
    assert refute(top, free=top.free, work=tmp_path)
