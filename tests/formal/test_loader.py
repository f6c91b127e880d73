# amaranth: UnusedElaboratable=no
"""No word is lost, doubled, reordered or changed between the weight stream and the array."""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Elaboratable, Module, Signal
from inside import Planted
from loader_proof import LoaderProof
from prove import free_inputs, prove, refute

from moesaic.hw.engine.entry import Entry
from moesaic.hw.engine.loader import Loader
from moesaic.hw.engine.stage import Stage
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.presets import PRESETS

MICRO = PRESETS["micro8"]
SHORT = {"rows": 4, "extra_key": False}  # blocks of two words, or of one


@pytest.mark.parametrize("changes", [{}, SHORT, {"load_rows": 4}], ids=str)
def test_loader(tmp_path: Path, changes: dict[str, int]) -> None:
    top = LoaderProof(Loader(MICRO.replace(**changes)), invariants=True)
    prove(top, free=top.free, work=tmp_path, depth=2)


class OverwritesBlock(Planted, Stage):
    """A word does not wait until the block before it is taken."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += [inner[f"waits_block{copy}"].eq(0) for copy in ("", "_wide")]


class OverwritesBank(Planted, Stage):
    """Parameters do not wait for a bank."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += [inner[f"waits_bank{copy}"].eq(0) for copy in ("", "_wide")]


class TwoForOne(Planted, Stage):
    """A bank comes back twice: when it is released, and a cycle later."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["used"].eq(inner["using"] - self.release)


class KeepsBank(Planted, Stage):
    """A bank that comes back while another is claimed is lost."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["claim"]):
            m.d.sync += [inner["used"].eq(inner["used"] + 1), inner["full"].eq(inner["used"] != 0)]


class Moves(Planted, Stage):
    """The word in the stage does not wait."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["held"][: len(self.word)].eq(self.i.p.word)


class SameBank(Planted, Stage):
    """All parameters go to one bank."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["bank"].eq(0)


class TooEarly(Planted, Loader):
    """Parameters complete a block, too."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.comb += self.stage.completing.eq(inner["took_word"] & inner["final"])


class Repeats(Planted, Loader):
    """The last word stays in the weight stream."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["took_all"]):
            m.d.comb += self.weights.ready.eq(0)


class Loses(Planted, Loader):
    """A word is taken while the stage waits."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["giving"]):
            m.d.comb += self.weights.ready.eq(1)


class NoParameters(Planted, Loader):
    """Only the first block of outputs has parameters."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["took_word"]):
            m.d.sync += inner["parameters$1"].eq(0)


class DropsOneBlock(Planted, Loader):
    """Words of the last block of outputs are not dropped."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["in_measure"] & inner["last_out"]):
            m.d.sync += inner["skip_words"].eq(inner["skip_words"])


class CopiesLess(Planted, Loader):
    """The word before does not count yet when the last one is looked for."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.comb += inner["copies_before_last"].eq(inner["left"] == 2)


class MissesTheSwap(Planted, Loader):
    """Keys are written into a block that waits for the array."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        with m.If(inner["in_keys"] & self.stage.empty & ~inner["pending"]):
            m.d.comb += inner["keys_to_read"].eq(1)


BANKS, LATE = (OverwritesBank, TwoForOne, KeepsBank), 11  # cycles before which no third bank is asked for


def _with(bug: type[Planted], config: AcceleratorConfig) -> Loader:
    if issubclass(bug, Loader):
        return bug(config)
    dut = Loader(config)
    dut.stage.__class__ = bug
    return dut


@pytest.mark.parametrize(
    "bug",
    [
        OverwritesBlock,
        OverwritesBank,
        TwoForOne,
        KeepsBank,
        Moves,
        SameBank,
        TooEarly,
        Repeats,
        Loses,
        NoParameters,
        DropsOneBlock,
        CopiesLess,
        MissesTheSwap,
    ],
)
def test_loader_bug_is_found(tmp_path: Path, bug: type[Planted]) -> None:
    top = LoaderProof(_with(bug, MICRO.replace(**SHORT)), invariants=False)
    free, skip = top.free if bug in (Moves, CopiesLess) else top.control, LATE if bug in BANKS else 0
    assert refute(top, free=free, work=tmp_path, depth=18, skip=skip)


class EntryProof(Elaboratable):
    """What the loader is promised of the array: it takes what was offered, and not in two cycles in a row."""

    def __init__(self, dut: Entry) -> None:
        self.dut, self.free = dut, free_inputs(dut)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        offered = Signal()
        m.d.sync += offered.eq(dut.full & ~dut.taken)
        m.d.comb += Assert(~dut.taken | offered)
        return m


class TakesAtOnce(Planted, Entry):
    """The next pass may start at once."""

    def plant(self, m: Module, inner: dict[str, Signal]) -> None:
        m.d.sync += inner["spaced"].eq(1)


def test_entry(tmp_path: Path) -> None:
    top = EntryProof(Entry(MICRO))
    prove(top, free=top.free, work=tmp_path)


def test_entry_bug_is_found(tmp_path: Path) -> None:
    top = EntryProof(TakesAtOnce(MICRO))
    assert refute(top, free=top.free, work=tmp_path)
