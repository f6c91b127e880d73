"""The rules of AXI4 and AXI4-Lite ports, as assertions for simulations and for proofs."""

from typing import Any

from amaranth.hdl import Array, Elaboratable, Module, Mux, Signal, Value, ValueLike

from moesaic.hw.bus.axi import PAGE_BYTES, Burst
from moesaic.hw.stream.rules import Check, StreamContract, require

__all__ = ["Axi4ReadRules", "Axi4WriteRules", "AxiLiteRules"]


def _positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be positive, not {value!r}")


def _transfer(port: Any) -> Value:
    return port.valid & port.ready


def _burst_rules(m: Module, check: Check, channel: Any, data_bytes: int, name: str) -> None:
    """Incrementing, full width, aligned, within 4 KiB."""
    size = data_bytes.bit_length() - 1
    burst = channel.payload
    with m.If(channel.valid):
        require(m, check, burst.burst == Burst.INCR, f"{name}: burst must be incrementing")
        require(m, check, burst.size == size, f"{name}: beats must have the width of the bus")
        require(m, check, burst.addr[:size] == 0, f"{name}: address must be aligned to a beat")
        last = (burst.addr[:12] >> size) + burst.len
        require(m, check, last < PAGE_BYTES // data_bytes, f"{name}: burst must not cross 4 KiB")


class _Ring:
    """Index that wraps at any size."""

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self.index = Signal(range(size), name=name)

    def advance(self, m: Module) -> None:
        m.d.sync += self.index.eq(Mux(self.index == self.size - 1, 0, self.index + 1))


class Axi4ReadRules(Elaboratable):
    """Watches the read channels of one AXI4 port without identifiers; responses come in order.

    Parameters
    ----------
    bus : interface
        Interface of :class:`~moesaic.hw.bus.axi.Axi4ReadSignature`, either side.
    data_bits : int
        Width of a beat.
    max_outstanding : int
        Accepted bursts that may wait for their last beat.
    master : Check
        Addresses hold until accepted; bursts are incrementing, aligned, full width and within 4 KiB; no more than
        ``max_outstanding`` of them.
    slave : Check
        Responses hold until accepted; none without a request; ``RLAST`` on the last beat of a burst and only there.
    name : str
        Name of the port in messages.

    Raises
    ------
    ValueError
        If max_outstanding is not positive.
    """

    def __init__(
        self,
        bus: Any,
        *,
        data_bits: int,
        max_outstanding: int,
        master: Check = Check.ASSERT,
        slave: Check = Check.ASSERT,
        name: str = "axi read",
    ) -> None:
        _positive("max_outstanding", max_outstanding)
        self.bus, self.data_bits, self.max_outstanding = bus, data_bits, max_outstanding
        self.master, self.slave, self.name = master, slave, name
        self.lengths = Array(Signal(8, name=f"length_{k}") for k in range(max_outstanding))
        self.newest = _Ring(max_outstanding, "newest")
        self.oldest = _Ring(max_outstanding, "oldest")
        self.outstanding = Signal(range(max_outstanding + 1))
        self.beat = Signal(8)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ar, r, name = self.bus.ar, self.bus.r, self.name
        m.submodules.ar = StreamContract(ar, check=self.master, name=f"{name} AR")
        m.submodules.r = StreamContract(r, check=self.slave, name=f"{name} R")
        _burst_rules(m, self.master, ar, self.data_bits // 8, f"{name} AR")

        begin = Signal()
        last_beat = Signal()
        end = Signal()
        m.d.comb += [
            begin.eq(_transfer(ar)),
            last_beat.eq(self.beat == self.lengths[self.oldest.index]),
            end.eq(_transfer(r) & last_beat & (self.outstanding != 0)),
        ]
        m.d.sync += self.outstanding.eq(self.outstanding + begin - end)
        with m.If(begin):
            require(
                m,
                self.master,
                self.outstanding != self.max_outstanding,
                f"{name} AR: at most {self.max_outstanding} bursts may be outstanding",
            )
            m.d.sync += self.lengths[self.newest.index].eq(ar.payload.len)
            self.newest.advance(m)
        with m.If(_transfer(r) & (self.outstanding != 0)):
            m.d.sync += self.beat.eq(Mux(last_beat, 0, self.beat + 1))
        with m.If(end):
            self.oldest.advance(m)
        with m.If(r.valid):
            require(m, self.slave, self.outstanding != 0, f"{name} R: a response needs a request")
            require(m, self.slave, r.payload.last == last_beat, f"{name} R: RLAST must be on the last beat")
        return m


class Axi4WriteRules(Elaboratable):
    """Watches the write channels of one AXI4 port without identifiers.

    Parameters
    ----------
    bus : interface
        Interface of :class:`~moesaic.hw.bus.axi.Axi4WriteSignature`, either side.
    data_bits : int
        Width of a beat.
    max_outstanding : int
        Accepted bursts that may wait for their response.
    master : Check
        Addresses and data hold until accepted; bursts are incrementing, aligned, full width and within 4 KiB; no more
        than ``max_outstanding`` of them; data once their address is on offer, accepted or not (AXI would allow them
        earlier); ``WLAST`` on the last beat of a burst and only there.
    slave : Check
        Responses hold until accepted; none before address and last beat of its burst.
    name : str
        Name of the port in messages.

    Raises
    ------
    ValueError
        If max_outstanding is not positive.
    """

    def __init__(
        self,
        bus: Any,
        *,
        data_bits: int,
        max_outstanding: int,
        master: Check = Check.ASSERT,
        slave: Check = Check.ASSERT,
        name: str = "axi write",
    ) -> None:
        _positive("max_outstanding", max_outstanding)
        self.bus, self.data_bits, self.max_outstanding = bus, data_bits, max_outstanding
        self.master, self.slave, self.name = master, slave, name
        self.lengths = Array(Signal(8, name=f"length_{k}") for k in range(max_outstanding))
        self.newest = _Ring(max_outstanding, "newest")
        self.filling = _Ring(max_outstanding, "filling")
        self.owed = Signal(range(max_outstanding + 1))  # accepted bursts whose data are not complete
        self.unanswered = Signal(range(max_outstanding + 1))  # accepted and complete bursts without response
        self.ahead = Signal()  # the data of the burst on offer are complete
        self.beat = Signal(8)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        aw, w, b, name = self.bus.aw, self.bus.w, self.bus.b, self.name
        m.submodules.aw = StreamContract(aw, check=self.master, name=f"{name} AW")
        m.submodules.w = StreamContract(w, check=self.master, name=f"{name} W")
        m.submodules.b = StreamContract(b, check=self.slave, name=f"{name} B")
        _burst_rules(m, self.master, aw, self.data_bits // 8, f"{name} AW")

        begin = Signal()
        last_beat = Signal()
        full = Signal()
        end = Signal()
        expected = Signal()  # there is a burst for the beat on offer
        m.d.comb += [
            begin.eq(_transfer(aw)),
            expected.eq((self.owed != 0) | (aw.valid & ~self.ahead)),
            last_beat.eq(self.beat == Mux(self.owed != 0, self.lengths[self.filling.index], aw.payload.len)),
            full.eq(_transfer(w) & last_beat & expected),
            end.eq(_transfer(b) & (self.unanswered != 0)),
        ]
        early = self.ahead | (full & (self.owed == 0))  # the data of the burst on offer, with this cycle's beat
        m.d.sync += [
            self.ahead.eq(early & ~begin),
            self.owed.eq(self.owed + (begin & ~early) - (full & (self.owed != 0))),
            self.unanswered.eq(self.unanswered + (begin & early) + (full & (self.owed != 0)) - end),
        ]
        with m.If(begin):
            require(
                m,
                self.master,
                self.owed + self.unanswered < self.max_outstanding,
                f"{name} AW: at most {self.max_outstanding} bursts may be outstanding",
            )
            m.d.sync += self.lengths[self.newest.index].eq(aw.payload.len)
            self.newest.advance(m)
        with m.If(_transfer(w) & expected):
            m.d.sync += self.beat.eq(Mux(last_beat, 0, self.beat + 1))
        with m.If(full):
            self.filling.advance(m)
        with m.If(w.valid):
            require(m, self.master, expected, f"{name} W: data must not come before their address is offered")
            require(m, self.master, w.payload.last == last_beat, f"{name} W: WLAST must be on the last beat")
        with m.If(b.valid):
            require(m, self.slave, self.unanswered != 0, f"{name} B: a response needs a complete burst")
        return m


class AxiLiteRules(Elaboratable):
    """Watches one AXI4-Lite port.

    Parameters
    ----------
    bus : interface
        Interface of :class:`~moesaic.hw.bus.axi.AxiLiteSignature`, either side.
    max_outstanding : int
        Accepted requests that may wait for their response, per direction.
    master : Check
        Addresses and data hold until accepted.
    slave : Check
        Responses hold until accepted; none without a request (address and data for a write); the slave accepts no
        more than ``max_outstanding`` requests ahead of its responses.
    name : str
        Name of the port in messages.

    Raises
    ------
    ValueError
        If max_outstanding is not positive.
    """

    def __init__(
        self,
        bus: Any,
        *,
        max_outstanding: int = 1,
        master: Check = Check.ASSERT,
        slave: Check = Check.ASSERT,
        name: str = "axi lite",
    ) -> None:
        _positive("max_outstanding", max_outstanding)
        self.bus, self.max_outstanding = bus, max_outstanding
        self.master, self.slave, self.name = master, slave, name
        self.reads = Signal(range(max_outstanding + 1))
        self.addressed = Signal(range(max_outstanding + 1))
        self.written = Signal(range(max_outstanding + 1))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = self.bus
        for channel, check in (
            ("aw", self.master),
            ("w", self.master),
            ("ar", self.master),
            ("b", self.slave),
            ("r", self.slave),
        ):
            name = f"{self.name} {channel.upper()}"
            m.submodules[channel] = StreamContract(getattr(bus, channel), check=check, name=name)
        for channel, count, response in (
            ("ar", self.reads, "r"),
            ("aw", self.addressed, "b"),
            ("w", self.written, "b"),
        ):
            request, answer = getattr(bus, channel), getattr(bus, response)
            ended: ValueLike = _transfer(answer) & (count != 0)
            m.d.sync += count.eq(count + _transfer(request) - ended)
            with m.If(_transfer(request)):
                require(
                    m,
                    self.slave,
                    count != self.max_outstanding,
                    f"{self.name} {channel.upper()}: at most {self.max_outstanding} may be outstanding",
                )
            with m.If(answer.valid):
                require(m, self.slave, count != 0, f"{self.name} {response.upper()}: a response needs a request")
        return m
