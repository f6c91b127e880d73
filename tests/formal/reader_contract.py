"""What the users of a read mover rely on: proved of the mover, and assumed where a free one stands in for it."""

from amaranth.hdl import Elaboratable, Fragment, Module, Mux, Signal
from amaranth.lib import wiring

from moesaic.hw.memory.axi_reader import AxiReader
from moesaic.hw.stream.rules import Check, StreamContract, require

__all__ = ["FreeReader", "ReaderContract"]


class ReaderContract(Elaboratable):
    """Counts beats at a reader's ports.

    Parameters
    ----------
    port : AxiReader or FreeReader
    reader : Check
        What becomes of the reader's duties.
    user : Check
        What becomes of its user's duties.
    """

    def __init__(self, port: "AxiReader | FreeReader", *, reader: Check, user: Check) -> None:
        self.port, self.reader, self.user = port, reader, user
        self.held = Signal(range(port.credits + 1))  # beats delivered, and not released
        self.owed = Signal(26)  # beats of accepted commands, not yet delivered
        self.flushing = Signal()
        self.begun = Signal()  # `asked` in the cycle before
        self.held_back = Signal()  # `hold` in the cycle before

    def elaborate(self, platform: object) -> Module:
        m = Module()
        port = self.port
        flush, taken, delivered = Signal(), Signal(), Signal()
        m.d.comb += [
            flush.eq(port.abort | self.flushing),
            taken.eq(port.cmd.valid & port.cmd.ready),
            delivered.eq(port.o.valid & port.o.ready),
        ]
        m.d.sync += [
            self.flushing.eq(flush & ~port.idle),
            self.held.eq(self.held + delivered - port.release),
            self.owed.eq(self.owed + Mux(taken, port.cmd.payload.beats, 0) - delivered),
            self.begun.eq(port.asked),
            self.held_back.eq(port.hold),
        ]
        with m.If(flush):
            m.d.sync += self.owed.eq(0)
        with m.If(port.clear):
            m.d.sync += self.held.eq(0)
        m.submodules.output = StreamContract(port.o, check=self.reader, unless=flush, name="reader output")
        for condition, message in (
            (~port.o.valid | ((self.owed != 0) & ~flush), "a beat was asked for, and not aborted"),
            (~port.o.valid | (self.held < port.credits), "the user has room for a beat"),
            (~port.cmd.ready | ~flush, "no command is taken in an abort"),
            (~port.cmd.ready | (self.owed <= port.credits), "all bursts of a command are begun before the next"),
            (~port.idle | (self.owed == 0), "idle means that no beat is owed"),
            (~port.error | delivered, "an error comes with its beat"),
            (~port.asked | (~self.begun & ~self.held_back), "a burst every other cycle, and none on hold"),
        ):
            require(m, self.reader, condition, f"reader: {message}")
        for condition, message in (
            (port.release <= self.held, "only room in use is released"),
            (~port.clear | port.idle, "clear only while idle"),
        ):
            require(m, self.user, condition, f"user: {message}")
        return m


class FreeReader(wiring.Component):
    """Ports of a reader with nothing behind them; `ReaderContract` says what they do.

    Parameters
    ----------
    like : AxiReader
        Reader that it stands for.

    Attributes
    ----------
    free : list of Signal
        Outputs, for the proof to choose; those of the bus are left out.
    """

    def __init__(self, like: AxiReader) -> None:
        super().__init__(like.signature)
        Fragment.get(like, None)  # Amaranth warns of what is never elaborated
        self.credits = like.credits
        self.free: list[Signal] = []
        for value in (self.cmd.ready, self.o.valid, self.o.payload, self.asked, self.asking, self.idle, self.error):
            self.free.append(value)
        self.free += [self.error_resp, self.error_addr]

    def elaborate(self, platform: object) -> Module:
        return Module()
