"""The register between the weight stream and the array's shadow block, the banks of parameters, and whether the shadow
block is complete.
"""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.functions.requantise import PARAMETER_BITS
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["Stage", "narrow_words", "staged_layout"]


def narrow_words(config: AcceleratorConfig) -> int:
    """Words of a block of narrow weights."""
    return config.stationary_words(4) if config.narrow_weights else config.block_words


def staged_layout(config: AcceleratorConfig) -> data.StructLayout:
    """A word on its way. ``index``: within its block, or its parameters. ``parameters``: it is one of those."""
    return data.StructLayout(
        {
            "word": unsigned(8 * config.word_bytes),
            "index": range(max(config.block_words, config.param_words)),
            "parameters": 1,
            "first": 1,
            "last": 1,
            "narrow": 1,
        }
    )


class Stage(wiring.Component):
    """Holds one word, so that the next block's first is at hand when the shadow block is exchanged.

    One word per cycle. It waits for the shadow block to be taken, and with the first word of parameters for a bank to
    be released. Empty after reset.

    Members
    -------
    i : In(stream of staged_layout(config))
    keys_filled : In(1)
        The last key of a block is written in this cycle.
    completing : In(1)
        The block is complete after the next cycle.
    swap, release : In(1); full : Out(1); parameters : Out
        As of the loader.
    available : Out(1)
        The shadow block may be written.
    empty : Out(1)
        No word waits.
    word_load : Out, word : Out, narrow : Out(1)
        To the array.
    """

    i: stream.Interface
    keys_filled: Signal
    completing: Signal
    swap: Signal
    release: Signal
    full: Signal
    parameters: data.View
    available: Signal
    empty: Signal
    word_load: Signal
    word: Signal
    narrow: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(staged_layout(config))),
                "keys_filled": In(1),
                "completing": In(1),
                "swap": In(1),
                "release": In(1),
                "full": Out(1),
                "parameters": Out(data.ArrayLayout(unsigned(PARAMETER_BITS * config.rows), 2)),
                "available": Out(1),
                "empty": Out(1),
                "word_load": Out(config.rows // config.load_rows),
                "word": Out(8 * config.word_bytes),
                "narrow": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        go = Signal()
        held: Any = Signal(staged_layout(config), reset_less=True)
        filled = Signal()  # the shadow block is complete, and not taken
        bank_full, released = self._parameters(m, held, go)
        incoming = self.i.p
        # Twice the same: one for the many bits of the word, one for what is decided. Their hold is their own, so that
        # no tool makes one of them.
        readies = []
        for copy in ("", "_wide"):
            # The word waits for a bank, or for the shadow block; registers, so that the answer is one LUT.
            bank, block = Signal(name=f"waits_bank{copy}"), Signal(name=f"waits_block{copy}")
            ready = Signal(name=f"free{copy}")
            m.d.comb += ready.eq(~(bank & bank_full & ~released) & ~(block & filled & ~self.swap))
            with m.If(ready):
                m.d.sync += [
                    bank.eq(self.i.valid & incoming.parameters & incoming.first),
                    block.eq(self.i.valid & ~incoming.parameters),
                ]
            readies.append(ready)
        ready, load = readies
        valid = Signal()
        m.d.comb += [
            self.available.eq(~filled | self.swap),
            self.empty.eq(~valid),
            go.eq(valid & ready),
            self.i.ready.eq(ready),
            self.word.eq(held.word),
            self.narrow.eq(held.narrow),
        ]
        with m.If(self.swap):
            m.d.sync += [filled.eq(0), self.full.eq(0)]
        with m.If(go & ~held.parameters):
            for g in range(config.block_words):
                m.d.comb += self.word_load[g].eq(held.index == Mux(held.narrow, g >> 1, g))
            with m.If(held.last):
                m.d.sync += filled.eq(1)
                with m.If(self.alone(held.narrow)):
                    m.d.sync += self.full.eq(1)
        with m.If(self.keys_filled):
            m.d.sync += filled.eq(1)
        with m.If(self.completing):
            m.d.sync += self.full.eq(1)
        with m.If(load):
            m.d.sync += held.word.eq(self.i.p.word)
        with m.If(ready):
            m.d.sync += valid.eq(self.i.valid)
            for name in ("index", "parameters", "first", "last", "narrow"):
                m.d.sync += held[name].eq(self.i.p[name])
        return m

    def alone(self, narrow: Value) -> Value:
        """Whether a block is a single word."""
        return Mux(narrow, narrow_words(self.config) == 1, self.config.block_words == 1)

    def _parameters(self, m: Module, held: data.View, go: Signal) -> tuple[Signal, Signal]:
        """Fill the banks in turn. 1 while none of them is free; but one of them is if the second is 1."""
        word_bits = len(self.word)
        used = Signal(range(3))
        bank = Signal()
        released = Signal()
        claim = Signal()
        using = Signal(range(3))
        full = Signal()
        m.d.comb += [claim.eq(go & held.parameters & held.first), using.eq(used + claim - released)]
        m.d.sync += [released.eq(self.release), used.eq(using), full.eq(using == 2)]
        for b in range(2):
            words = Signal(self.config.param_words * word_bits, name=f"bank_{b}", reset_less=True)
            with m.If(go & held.parameters & (bank == b)):
                m.d.sync += words.word_select(held.index, word_bits).eq(held.word)
            m.d.comb += self.parameters[b].eq(words)
        with m.If(go & held.parameters & held.last):
            m.d.sync += bank.eq(~bank)
        return full, released
