# amaranth: UnusedElaboratable=no
"""No word of the weight stream is lost, doubled, reordered or changed, and those skipped are those asked for."""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Cat, Elaboratable, Module, Mux, Signal, Value
from inside import Opened, Planted
from prove import free_inputs, prove, refute
from reader_contract import FreeReader, ReaderContract

from moesaic.hw.memory.weight_stream import MOST_LEAD, WeightStream
from moesaic.hw.stream.rules import Check, StreamContract

SMALL = {"addr_bits": 12, "port_bits": 8, "depth_words": 4, "max_burst": 2, "max_outstanding": 2, "check_slave": False}
WORDS_BITS = 4  # width of a word's number
AT_OUTLET = 2  # words that the buffer at the outlet holds
ONE_PORT = {"ports": 1, "word_bytes": 1}
TWO_STRIPES = {"ports": 1, "word_bytes": 2, "depth_words": 2}
TWO_PORTS = {"ports": 2, "word_bytes": 2, "depth_words": 2}


class WordsProof(Elaboratable):
    """Any readers that keep their contract, any user; one word, of any number, is followed from its beats on."""

    def __init__(self, dut: WeightStream, *, invariants: bool) -> None:
        self.dut, self.invariants = dut, invariants
        self.readers = [FreeReader(reader) for reader in dut.readers]
        dut.readers = self.readers
        self.number = Signal(WORDS_BITS)  # of the word that is followed
        self.free = [*free_inputs(dut), self.number, *(port for reader in self.readers for port in reader.free)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        dut = self.dut
        self.inner = m.submodules.dut = Opened(dut, platform)
        self.contracts = [ReaderContract(reader, reader=Check.ASSUME, user=Check.ASSERT) for reader in self.readers]
        for p, contract in enumerate(self.contracts):
            m.submodules[f"contract_{p}"] = contract
        self.skip = m.submodules.skip = StreamContract(dut.skip, check=Check.OFF, unless=dut.clear)
        # Also in a reset, in whose cycle the assertions look on.
        same = dut.skip.valid & (dut.skip.payload == self.skip.held)
        m.d.comb += Assume(~self.skip.stalled | dut.clear | same, "a skip holds until it is done")
        m.submodules.cmd = StreamContract(dut.cmd, check=Check.ASSUME, unless=dut.abort)
        known, number = Signal(), Signal.like(self.number)
        m.d.sync += [known.eq(1), number.eq(self.number)]
        m.d.comb += Assume(~known | (number == self.number), "the same word is followed all along")
        m.d.comb += Assume(~dut.clear | dut.idle, "clear only while idle")

        self._words(m)
        self._latency(m)
        self._skips_go_on(m)
        self._commands(m)
        self._steps(m)
        if self.invariants:
            self._queue(m)
            self._skips(m)
        return m

    def _words(self, m: Module) -> None:
        """Words at the ports since the last clear, by their number modulo more than there is room for."""
        dut, stripes = self.dut, self.dut.stripes
        stripe_log2 = stripes.bit_length() - 1
        self.gone = gone = Signal(WORDS_BITS)  # handed over or thrown away
        self.arrived = [Signal(WORDS_BITS + stripe_log2, name=f"arrived_{p}") for p in range(dut.ports)]
        self.followed = [
            [Signal(dut.port_bits, name=f"followed_{p}_{s}") for s in range(stripes)] for p in range(dut.ports)
        ]
        for reader, arrived, beats in zip(self.readers, self.arrived, self.followed, strict=True):
            with m.If(reader.o.valid & reader.o.ready):
                m.d.sync += arrived.eq(arrived + 1)
                for s, beat in enumerate(beats):
                    with m.If(arrived == (self.number << stripe_log2) + s):
                        m.d.sync += beat.eq(reader.o.payload)
        self.word = Cat(self.followed[p][s] for s in range(stripes) for p in range(dut.ports))

        handed, thrown = dut.o.valid & dut.o.ready, self._skip(m)
        m.d.sync += gone.eq(gone + handed + thrown)
        there = [Signal(WORDS_BITS, name=f"there_{p}") for p in range(dut.ports)]
        for words, arrived in zip(there, self.arrived, strict=True):
            m.d.comb += words.eq((arrived >> stripe_log2) - gone)
            m.d.comb += Assert(words <= dut.depth_words + AT_OUTLET, "no more words than there is room for")
            m.d.comb += Assert(thrown <= words, "no word is thrown away before it is there")
        m.d.comb += Assert(dut.level <= dut.depth_words, "no more words than the queue has room for")
        self.ready = Cat(words.any() for words in there).all()
        with m.If(dut.o.valid):
            m.d.comb += Assert(self.ready, "no word before its beats")
            with m.If(gone == self.number):
                m.d.comb += Assert(dut.o.payload == self.word, "words are in order and unchanged")
        with m.If(dut.clear):
            m.d.sync += [gone.eq(0), *(arrived.eq(0) for arrived in self.arrived)]

    def _skip(self, m: Module) -> Value:
        """Words that are thrown away in this cycle; together those that were asked for."""
        dut, inner = self.dut, self.inner
        self.pending, self.due, total = Signal(), Signal.like(dut.skip.payload), Signal.like(dut.bytes_skipped)
        thrown, counted = Signal(range(dut.depth_words + 1)), Signal(range(dut.depth_words + 1))
        self.thrown = thrown
        m.d.comb += thrown.eq(Mux(inner["counted"], inner["amount"], inner["passed"]))
        m.d.comb += [
            Assert((thrown == 0) | self.pending, "nothing is thrown away that nobody asked for"),
            Assert(thrown <= self.due, "nor more than that"),
            Assert(~dut.o.valid | ~dut.skip.valid, "no word is offered while others are skipped"),
            Assert(~dut.skip.ready | (self.pending & (self.due == 0)), "a skip is done when all are gone"),
            Assert(dut.bytes_skipped == total, "what was thrown away is counted"),
        ]
        m.d.sync += [counted.eq(thrown), total.eq(total + counted * dut.word_bytes), self.due.eq(self.due - thrown)]
        with m.If(dut.skip.ready):
            m.d.sync += self.pending.eq(0)
        with m.If(dut.skip.valid & ~self.pending):
            m.d.sync += [self.pending.eq(1), self.due.eq(dut.skip.payload)]
        with m.If(dut.clear):
            m.d.sync += [self.pending.eq(0), total.eq(0)]
        return thrown

    def _latency(self, m: Module) -> None:
        """A word that is there is offered in time: none is lost."""
        dut = self.dut
        self.waited = waited = Signal(range(dut.LATENCY + 2))
        with m.If(self.ready & ~dut.o.valid & ~dut.skip.valid & ~dut.clear):
            m.d.sync += waited.eq(waited + 1)
        with m.Else():
            m.d.sync += waited.eq(0)
        m.d.comb += Assert(waited < dut.LATENCY, "a word is offered in time")
        if self.invariants:
            head = self.inner.m.submodules.head.o.valid
            m.d.comb += [
                Assert((waited < 1) | self.inner["joined"] | self.inner["full"] | head),
                Assert((waited < 2) | self.inner["full"] | head),
                Assert((waited < 3) | head),
            ]

    def _skips_go_on(self, m: Module) -> None:
        """Words to skip go as they are there: a skip waits for readers alone."""
        dut, inner = self.dut, self.inner
        waited = Signal(range(8))
        with m.If(self.pending & (self.ready | (self.due == 0)) & ~self.thrown.any() & ~dut.skip.ready & ~dut.clear):
            m.d.sync += waited.eq(waited + 1)
        with m.Else():
            m.d.sync += waited.eq(0)
        m.d.comb += Assert(waited < 5, "a skip goes on")
        if self.invariants:
            at_work = inner["counted"] & inner["amount"].any()
            m.d.comb += [
                Assert((waited < 1) | inner["joined"] | inner["full"]),
                Assert((waited < 2) | inner["full"]),
                Assert((waited < 3) | ~inner["counted"] | at_work),
                Assert((waited < 4) | at_work),
                Assert((waited < 1) | inner["skipping"]),
            ]

    def _commands(self, m: Module) -> None:
        """Every reader gets every command once."""
        dut = self.dut
        self.got = got = Signal(dut.ports)
        given = Cat(reader.cmd.valid & reader.cmd.ready for reader in self.readers)
        m.d.sync += got.eq(Mux(dut.cmd.valid & dut.cmd.ready, 0, got | given))
        with m.If(dut.abort):
            m.d.sync += got.eq(0)
        for p, reader in enumerate(self.readers):
            with m.If(reader.cmd.valid):
                m.d.comb += [
                    Assert(dut.cmd.valid & ~got[p], "a port gets a command once"),
                    Assert(reader.cmd.payload.addr == dut.cmd.payload.addr[p], "with its own address"),
                    Assert(reader.cmd.payload.beats == dut.cmd.payload.beats),
                ]
        with m.If(dut.cmd.valid & dut.cmd.ready):
            m.d.comb += Assert(got.all(), "a command is done when all ports have it")
        with m.If(dut.idle):
            m.d.comb += Assert(
                ~got.any() & Cat(reader.idle for reader in self.readers).all(), "idle means that none is"
            )
        if self.invariants:
            m.d.comb += Assert(got == self.inner["taken"])

    def _steps(self, m: Module) -> None:
        """Ports wait for each other, but never all of them."""
        asking = Cat(reader.asking for reader in self.readers)
        held = Cat(reader.asking & reader.hold for reader in self.readers)
        stuck = Signal(2)
        m.d.sync += stuck.eq(Mux(asking.any() & (held == asking), stuck + 1, 0))
        m.d.comb += Assert(stuck < 3, "ports do not hold each other for ever")
        if not self.invariants:
            return
        for p, contract in enumerate(self.contracts):
            lead = self.inner[f"lead_{p}"]
            m.d.comb += [
                Assert(lead <= MOST_LEAD),
                Assert((lead < MOST_LEAD) | contract.held_back | contract.begun),
                Assert((lead < MOST_LEAD) | (stuck == 0) | ((stuck == 1) & self.inner["together"])),
            ]

    def _queue(self, m: Module) -> None:
        """Invariants: where words are, from the outlet back to the readers."""
        dut, inner, stripes = self.dut, self.inner, self.dut.stripes
        head, depth = inner.m.submodules.head, dut.depth_words
        skipping, released = inner["skipping"], inner["released"]

        taken, behind = Signal(WORDS_BITS), Signal(WORDS_BITS)
        inside = Signal(2)  # words in the buffer at the outlet
        m.d.comb += [
            inside.eq(head.full[0] + head.full[1]),
            taken.eq(self.gone + inside),
            behind.eq(self.number - self.gone),
            Assert((inside == 0) | Mux(head.read, head.full[1], head.full[0])),
            Assert(head.o.valid == Mux(head.read, head.full[1], head.full[0])),
            Assert((head.write == head.read) == (inside != 1)),
            Assert(inner["full"] == (dut.level != 0)),
            Assert(inner["offering"] == (inner["full"] & ~skipping)),
            Assert(inner["shown"] == (head.o.valid & ~skipping)),
            Assert(inner["one"] == (dut.level == 1)),
            Assert(dut.level <= depth),
        ]
        with m.If(head.o.valid & (behind == 0)):
            m.d.comb += Assert(head.o.payload == self.word)
        with m.If((inside == 2) & (behind == 1)):
            m.d.comb += Assert(Mux(head.read, head.entries[0], head.entries[1]) == self.word)
        with m.If(inner["full"] & (self.number == taken)):
            m.d.comb += Assert(head.i.payload == self.word)

        stripe_log2 = stripes.bit_length() - 1
        after = Signal(WORDS_BITS)  # words between the oldest one of the queue and the one that is followed
        m.d.comb += after.eq(self.number - taken)
        for p, contract in enumerate(self.contracts):
            valid, fill, ahead = inner[f"valid_{p}"], inner[f"fill_{p}"], inner[f"ahead_{p}"]
            stored, partial, held = (
                Signal(WORDS_BITS + stripe_log2, name=f"{name}_{p}") for name in ("stored", "partial", "held")
            )
            m.d.comb += [
                stored.eq(self.arrived[p] - valid),
                partial.eq(stored - ((taken + dut.level + ahead) << stripe_log2)),
                held.eq(self.arrived[p] - ((taken - released) << stripe_log2)),
                Assert(partial < stripes),
                Assert(fill == stored[: len(fill)]),
                Assert(inner[f"some_{p}"] == (ahead != 0)),
                Assert(inner[f"read_{p}"] == taken[: len(inner[f"read_{p}"])]),
                Assert(inner[f"next_{p}"] == (taken + 1)[: len(inner[f"next_{p}"])]),
                Assert(contract.held == held),
                Assert(contract.held <= dut.depth_words * stripes),
                Assert(dut.level + ahead <= depth),
            ]
            for s in range(stripes):
                view = inner.m.submodules[f"bank_{p}_{s}"].read_port(domain="comb")
                place = Signal(WORDS_BITS + stripe_log2, name=f"place_{p}_{s}")
                m.d.comb += [
                    view.addr.eq(self.number),
                    place.eq(((taken + after) << stripe_log2) + s),
                ]
                kept = Signal(WORDS_BITS + stripe_log2, name=f"kept_{p}_{s}")  # beats stored from that one on
                m.d.comb += kept.eq(stored - place)
                with m.If((after <= depth) & (kept != 0) & (kept <= depth * stripes)):
                    m.d.comb += Assert(view.data == self.followed[p][s])
                with m.If(valid & (stored == place)):
                    m.d.comb += Assert(inner[f"beat_{p}"] == self.followed[p][s])

    def _skips(self, m: Module) -> None:
        """Invariants of words that are being skipped."""
        dut, inner = self.dut, self.inner
        head = inner.m.submodules.head
        counted, amount, left = inner["counted"], inner["amount"], inner["left"]
        m.d.comb += Assert(self.pending == inner["skipping"])
        with m.If(inner["skipping"]):
            m.d.comb += [Assert(self.skip.stalled), Assert(self.due == left), Assert(inner["some_left"] == (left != 0))]
        with m.If(counted):
            m.d.comb += [
                Assert(inner["skipping"] & ~head.full[0] & ~head.full[1]),
                Assert((amount <= left) & (amount <= dut.level)),
                Assert(inner["all_left"] == (amount == left)),
                Assert(left != 0),
            ]


@pytest.mark.parametrize("sizes", [ONE_PORT, TWO_STRIPES, TWO_PORTS], ids=["one port", "two stripes", "two ports"])
def test_weight_stream(tmp_path: Path, sizes: dict[str, int]) -> None:
    top = WordsProof(WeightStream(**{**SMALL, **sizes}), invariants=True)
    prove(top, free=top.free, work=tmp_path)


class PlantedStream(Planted, WeightStream):
    """A stream with one mistake."""

    SIZES = ONE_PORT


class SkipsOneMore(PlantedStream):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(self.skip.valid & ~inner["skipping"]):
            m.d.sync += inner["left"].eq(self.skip.payload + 1)


class SkipForgetsTheBuffer(PlantedStream):
    """Does not count the words that were on offer."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["passed"]):
            m.d.sync += inner["left"].eq(inner["left"])


class SkipWaitsForAll(PlantedStream):
    """Throws nothing away before all that it is asked for is there."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(self.level < inner["left"]):
            m.d.sync += inner["counted"].eq(0)


class OffersWhatIsSkipped(PlantedStream):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.comb += self.o.valid.eq(m.submodules.head.o.valid & ~self.skip.ready)


class MiscountsSkipped(PlantedStream):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["counted"]):
            m.d.sync += inner["skipped"].eq(1)


class ReleasesTwice(PlantedStream):
    """Gives the readers more room than there is."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.comb += self.readers[0].release.eq(inner["released"] * 2)


class TrustsOnePort(PlantedStream):
    """Queues a word when port 0 has its part."""

    SIZES = TWO_PORTS

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.comb += inner["joined"].eq(inner["some_0"])


class RepeatsAWord(PlantedStream):
    """Does not read on."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["taken$1"]):
            m.d.comb += inner["following_0"].eq(inner["read_0"])


class LosesAWord(PlantedStream):
    """Overlooks a word that joins the queue as the last one leaves."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["joined"] & inner["freed"].any()):
            m.d.sync += [self.level.eq(self.level - inner["freed"]), inner["full"].eq(0), inner["offering"].eq(0)]


class ClearKeepsABeat(PlantedStream):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(self.clear):
            m.d.sync += inner["fill_0"].eq(inner["fill_0"])


class SendsACommandTwice(PlantedStream):
    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.comb += self.readers[0].cmd.valid.eq(self.cmd.valid)


class OneAddressForAll(PlantedStream):
    SIZES = TWO_PORTS

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.comb += self.readers[1].cmd.payload.addr.eq(self.cmd.payload.addr[0])


class HoldsAllPorts(PlantedStream):
    """Never lets go of the leads."""

    SIZES = TWO_PORTS

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["together"].eq(0)


@pytest.mark.parametrize("bug", PlantedStream.__subclasses__())
def test_weight_stream_bug_is_found(tmp_path: Path, bug: type[PlantedStream]) -> None:
    top = WordsProof(bug(**{**SMALL, **bug.SIZES}), invariants=False)
    assert refute(top, free=top.free, work=tmp_path)
