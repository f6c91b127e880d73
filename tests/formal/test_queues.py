# amaranth: UnusedElaboratable=no
"""No entry of the expert queues is lost, doubled, changed or out of its place, for any tokens: proved, and refuted on
planted bugs.
"""

from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Array, Assert, Assume, Const, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib.data import View
from inside import Opened, Planted
from prove import free_inputs, prove, refute

from moesaic.hw.moe.queues import ExpertQueues

SIZES = [
    {"experts": 2, "max_tokens": 2, "max_top_k": 1},
    {"experts": 2, "max_tokens": 3, "max_top_k": 2},
    {"experts": 3, "max_tokens": 2, "max_top_k": 2},
]
COUNT = 4  # bits of a count of entries


class QueuesProof(Elaboratable):
    """The router's promises are assumed. One entry, a rank of a token, is followed; all are counted."""

    def __init__(self, dut: ExpertQueues, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        self.pick = Signal()
        self.rank = Signal(range(dut.max_top_k))  # of the entry that is followed
        self.free = [*free_inputs(dut), self.pick, self.rank]

    def elaborate(self, platform: object) -> Module:
        m, dut = Module(), self.dut
        self.inner = m.submodules.dut = Opened(dut, platform)
        at = self.inner
        self.pending = Signal()
        m.d.comb += self.pending.eq((at["written"] != at["taken"]) | at["active"] | at["choose_valid"])
        self._promises(m)
        self._count(m)
        self._follow(m)
        self._buffered(m)
        if self.invariants:
            self._counts(m)
            self._places(m)
        return m

    def _promises(self, m: Module) -> None:
        """What the router keeps."""
        dut = self.dut
        known, rank, top_k = Signal(), Signal.like(self.rank), Signal.like(dut.i_top_k)
        self.total = total = Signal(range(dut.max_tokens + 1))  # tokens since the queues were emptied
        ended, busy = Signal(), Signal()
        m.d.comb += busy.eq(self.pending | self.inner["place_valid"])
        m.d.sync += [known.eq(1), rank.eq(self.rank), top_k.eq(dut.i_top_k)]
        m.d.comb += [
            Assume(~known | (self.rank == rank), "one rank is followed all along"),
            Assume((self.rank < dut.i_top_k) & (dut.i_top_k <= dut.max_top_k)),
            Assume(dut.i_clear | (dut.i_top_k == top_k), "stable from a clear to the next"),
            Assume(~(dut.i_clear & (dut.i_valid | busy)), "no clear while tokens come"),
            Assume(~dut.i_valid | ((total < dut.max_tokens) & ~ended)),
            Assume((dut.q_expert < dut.experts) & (dut.q_slot < dut.max_tokens)),
            Assume(dut.i_token < dut.max_tokens),
        ]
        for j in range(dut.max_top_k):
            m.d.comb += Assume(dut.i_index[j] < dut.experts)
            for k in range(j):
                m.d.comb += Assume((j >= dut.i_top_k) | (dut.i_index[j] != dut.i_index[k]), "an expert once a token")
        with m.If(dut.i_valid):
            m.d.sync += [total.eq(total + 1), ended.eq(dut.i_last)]
        with m.If(dut.i_clear):
            m.d.sync += ended.eq(0)
            with m.If(~dut.i_keep):
                m.d.sync += total.eq(0)

    def _takes(self, index: Value, expert: Value | int, *, below: Value | int) -> Value:
        """Whether a token of those experts is for one of them, by its ranks below some rank."""
        ranks = range(self.dut.max_top_k)
        return reduce(lambda a, b: a | b, ((index[j] == expert) & (j < below) for j in ranks))

    def _ranked(self, of: Any) -> Value:
        """What belongs to the rank that is followed."""
        top_k = self.dut.max_top_k
        return Array([of[j] for j in range(top_k)])[self.rank] if top_k > 1 else of[0]

    def _count(self, m: Module) -> None:
        """Entries of each queue, by the tokens that came."""
        dut = self.dut
        self.given = [Signal(COUNT, name=f"given_{e}") for e in range(dut.experts)]
        for e, given in enumerate(self.given):
            with m.If(dut.i_clear & ~dut.i_keep):
                m.d.sync += given.eq(0)
            with m.Elif(dut.i_valid & self._takes(dut.i_index, e, below=dut.i_top_k)):
                m.d.sync += given.eq(given + 1)
            with m.If(~self.pending):
                m.d.comb += Assert(dut.o_counts[e] == given, "an entry was lost or doubled")
        with m.If(dut.o_done):
            m.d.comb += Assert(~self.pending & ~self.inner["place_valid"], "done too early")

    def _follow(self, m: Module) -> None:
        """The entry: where it came, what it is, and what a read of its place gives."""
        dut, at = self.dut, self.inner
        self.active = Signal(name="followed")  # it came
        self.buffered = Signal(name="followed_buffered")  # its token waits in the buffer
        self.came = Signal(range(dut.max_tokens), name="followed_came")  # its token's place there
        self.token = Signal.like(dut.i_token, name="followed_token")
        self.score = Signal(16, name="followed_score")
        self.expert = Signal.like(dut.q_expert, name="followed_expert")
        self.slot = Signal(COUNT, name="followed_slot")
        index = self._ranked(dut.i_index)
        with m.If(dut.i_clear & ~dut.i_keep):
            m.d.sync += [self.active.eq(0), self.buffered.eq(0)]
        with m.Elif(dut.i_valid & self.pick & ~self.active):
            m.d.sync += [
                self.active.eq(1),
                self.buffered.eq(1),
                self.came.eq(at["written"]),
                self.token.eq(dut.i_token),
                self.score.eq(self._ranked(dut.i_score)),
                self.expert.eq(index),
                self.slot.eq(Array(self.given)[index]),
            ]
        # it is in these stages
        self.choosing, self.placing = Signal(name="followed_choosing"), Signal(name="followed_placing")
        leaves = Signal()
        m.d.comb += leaves.eq(self.buffered & at["active"] & (at["rank"] == self.rank) & (self.came + 1 == at["taken"]))
        with m.If(leaves):
            m.d.sync += self.buffered.eq(0)
        m.d.sync += [self.choosing.eq(leaves), self.placing.eq(self.choosing)]
        self.there = Signal()
        m.d.comb += self.there.eq(self.active & ~self.buffered & ~self.choosing & ~self.placing)
        asked = Signal()
        m.d.sync += asked.eq(
            self.there & (dut.q_expert == self.expert) & (dut.q_slot == self.slot) & ~(dut.i_clear & ~dut.i_keep)
        )
        with m.If(asked):
            m.d.comb += Assert((dut.q_token == self.token) & (dut.q_score == self.score), "the entry is not there")

    def _buffered(self, m: Module) -> None:
        """Words of the buffer and of the queues, as a proof sees them."""
        dut = self.dut
        buffer = self.inner.m.submodules.buffer
        (self.taking,) = buffer.read_ports  # the design's own
        self.words = [buffer.read_port(domain="comb") for _ in range(dut.max_tokens)]
        for k, port in enumerate(self.words):
            m.d.comb += port.addr.eq(k)
        self.stored = {}
        for name in ("token", "score"):
            port = getattr(self.inner.m.submodules, f"{name}s").read_port(domain="comb")
            m.d.comb += port.addr.eq(self.expert * dut.max_tokens + self.slot)
            self.stored[name] = port.data

    def _waiting(self, expert: Value | int, *, until: Value, rank: Value | int) -> Value:
        """Entries of a queue that are on their way, of tokens in front of a place of the buffer: those that wait
        there, those of the token whose ranks are appended (below `rank` if it is the place's), and the chosen one.
        """
        dut, at = self.dut, self.inner
        current = self.taking.data  # of the token whose ranks are appended
        ranks = range(dut.max_top_k)
        own = at["taken"] > until
        counts = [
            (self._takes(port.data.index, expert, below=dut.i_top_k) & (k >= at["taken"]) & (k < until))
            for k, port in enumerate(self.words)
        ]
        counts += [
            at["active"] & (current.index[j] == expert) & (j >= at["rank"]) & (j < Mux(own, rank, dut.i_top_k))
            for j in ranks
        ]
        counts.append(at["choose_valid"] & (at["chosen"] == expert) & ~self.choosing)
        return reduce(add, counts)

    def _counts(self, m: Module) -> None:
        dut, at = self.dut, self.inner
        written, taken = at["written"], at["taken"]
        m.d.comb += [
            Assert(written <= self.total),
            Assert(self.total <= dut.max_tokens),
            Assert(taken <= written),
            Assert(~at["active"] | (taken != 0)),
            Assert(~at["active"] | (at["rank"] < dut.i_top_k)),
            Assert(~at["active"] | (at["last_rank"] == (at["rank"] + 1 == dut.i_top_k))),
            Assert(~at["choose_valid"] | (at["chosen"] < dut.experts)),
        ]
        last = Array([Value.cast(port.data) for port in self.words])[taken - 1]
        m.d.comb += Assert(~at["active"] | (Value.cast(self.taking.data) == last))
        for e, given in enumerate(self.given):
            chosen = at["choose_valid"] & (at["chosen"] == e) & self.choosing
            waiting = self._waiting(e, until=written, rank=0)
            m.d.comb += [Assert(given <= self.total), Assert(dut.o_counts[e] + waiting + chosen == given)]
        here = [((k >= taken) & (k < written), port.data.index) for k, port in enumerate(self.words)]
        for there, index in (*here, (at["active"], self.taking.data.index)):
            with m.If(there):
                for j in range(dut.max_top_k):
                    m.d.comb += Assert(index[j] < dut.experts)
                    for i in range(j):
                        m.d.comb += Assert((j >= dut.i_top_k) | (index[j] != index[i]))

    def _places(self, m: Module) -> None:
        """Where the followed entry is."""
        dut, at = self.dut, self.inner
        token = Array([port.data.token for port in self.words])[self.came]
        index = Array([self._ranked(port.data.index) for port in self.words])[self.came]
        score = Array([self._ranked(port.data.score) for port in self.words])[self.came]
        count = Array([dut.o_counts[e] for e in range(dut.experts)])[self.expert]
        stages = self.buffered + self.choosing + self.placing
        m.d.comb += [Assert(stages <= self.active), Assert((self.expert < dut.experts) | ~self.active)]
        with m.If(self.active):
            m.d.comb += Assert(self.slot < dut.max_tokens)
        with m.If(self.buffered):
            m.d.comb += [
                Assert(self.came < at["written"]),
                Assert((self.came >= at["taken"]) | (at["active"] & (self.came + 1 == at["taken"]))),
                Assert((self.came >= at["taken"]) | (at["rank"] <= self.rank)),
                Assert((token == self.token) & (index == self.expert) & (score == self.score)),
                Assert(self.slot == count + self._waiting(self.expert, until=self.came, rank=self.rank)),
            ]
        place = self.expert * Const(dut.max_tokens) + self.slot
        entry, placed = (View(dut.entry, at[name]) for name in ("entry", "placed"))
        with m.If(self.choosing):
            m.d.comb += [
                Assert(at["choose_valid"] & (at["chosen"] == self.expert) & (self.slot == count)),
                Assert((entry.token == self.token) & (entry.score == self.score)),
            ]
        with m.If(self.placing):
            m.d.comb += [
                Assert(at["place_valid"] & (at["place"] == place) & (self.slot < count)),
                Assert((placed.token == self.token) & (placed.score == self.score)),
            ]
        with m.If(self.there):
            m.d.comb += [
                Assert((self.stored["token"] == self.token) & (self.stored["score"] == self.score)),
                Assert(self.slot < count),
                Assert(~at["place_valid"] | (at["place"] != place)),
            ]


@pytest.mark.parametrize("sizes", SIZES, ids=["top-1", "top-2", "3 experts"])
def test_queues(tmp_path: Path, sizes: dict[str, int]) -> None:
    top = QueuesProof(ExpertQueues(**sizes), invariants=True)
    prove(top, free=top.free, work=tmp_path)


class SecondEntryOverTheFirst(Planted, ExpertQueues):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["count_1"] == 1):
            m.d.sync += inner["place"].eq(inner["chosen"] * self.max_tokens)


class LosesTheLastRank(Planted, ExpertQueues):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["last_rank"].eq(1)


class ScoreOfTheFirstRank(Planted, ExpertQueues):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        (taking,) = m.submodules.buffer.read_ports
        m.d.sync += View(self.entry, inner["entry"]).score.eq(taking.data.score[0])


class EmptiesWhatItKeeps(Planted, ExpertQueues):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(self.i_clear):
            m.d.sync += inner["count_0"].eq(0)


class DoneBeforeTheLast(Planted, ExpertQueues):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += self.o_done.eq(inner["choose_last"])


class CountsForTheNeighbour(Planted, ExpertQueues):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["choose_valid"] & (inner["count_1"] == 1)):
            m.d.sync += inner["count_1"].eq(2)


BUGS = [
    SecondEntryOverTheFirst,
    LosesTheLastRank,
    ScoreOfTheFirstRank,
    EmptiesWhatItKeeps,
    DoneBeforeTheLast,
    CountsForTheNeighbour,
]


@pytest.mark.parametrize("bug", BUGS)
def test_queue_bug_is_found(tmp_path: Path, bug: type[ExpertQueues]) -> None:
    top = QueuesProof(bug(experts=2, max_tokens=2, max_top_k=2), invariants=False)
    assert refute(top, free=top.free, work=tmp_path)
