"""What happens to a finished accumulator: the function units in a row."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.attention.softmax import distance_layout
from moesaic.hw.decode.operation import CONTEXTS, context_layout, operation_layout
from moesaic.hw.engine.latency import write_back_stages
from moesaic.hw.functions.activate import Activate
from moesaic.hw.functions.add import Add
from moesaic.hw.functions.attend import Attend
from moesaic.hw.functions.companion import WordsSignature, companion_layout
from moesaic.hw.functions.gated import Gated
from moesaic.hw.functions.place import Place
from moesaic.hw.functions.requantise import Requantisation, finished_layout
from moesaic.hw.functions.rescale import Rescale
from moesaic.hw.functions.route import Route
from moesaic.hw.functions.softmax import Softmax
from moesaic.hw.functions.store import Store
from moesaic.hw.memory.ports import Port, ReadSignature, WriteSignature
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function
from moesaic.hw.stream.rules import connect_stream
from moesaic.hw.vector.pipeline import copies, delay, delay_valid, stages

__all__ = ["WriteBack"]


class WriteBack(wiring.Component):
    """Takes finished accumulators, applies their instruction's function and writes the result.

    One vector of `rows` outputs per cycle; every function takes the same ``latency``, so results are written in order.
    No back pressure. An output of the same token must not come again within ``REUSE_CYCLES``.

    Members
    -------
    early : In(stream of operation_layout(), always ready)
        The operation at the time its vector enters the array: probabilities are added up early, so that
        1/sum is there in time.
    i : In(stream of finished_layout(config), always ready)
        From the accumulator.
    context, early_context : Out(ReadSignature), in the same cycle
        The context table, for the operation at the input and for the early one.
    parameters : In([2] unsigned(48 * rows)), release : Out(1)
        Banks of biases and multipliers; the last vector that needs its operation's bank has passed.
    words : Out(WordsSignature)
        Results for activation and key/value memory.
    old_state : Out(ReadSignature), state : Out(WriteSignature)
        Softmax state.
    maxima : Out(WriteSignature)
        Maxima of the blocks of probabilities.
    old_residual : Out(ReadSignature), residual : Out(WriteSignature), residual_due : Out(1)
        Residual; it is written in the next cycle.
    will_read : Out(1)
        For the early operation, the residual will be read (`WriteBackStages.reads`).
    old_sums : Out(ReadSignature), sums : Out(WriteSignature)
        LayerNorm sums.
    logits : Out(stream of logits_layout(config), always ready)
        For the router.
    extra : Out(WriteSignature)
        What is kept of a query's extra key, with `extra_key`.
    ended : Out(1)
        An instruction's last result is written (its last vector, or its lone operation, has left the pipeline).
    """

    early: stream.Interface
    total: Signal
    i: stream.Interface
    context: Port
    early_context: Port
    parameters: data.View
    release: Signal
    words: Port
    old_state: Port
    state: Port
    maxima: Port
    old_residual: Port
    residual: Port
    residual_due: Signal
    will_read: Signal
    old_sums: Port
    sums: Port
    logits: stream.Interface
    extra: Port
    ended: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        times = write_back_stages(config)
        self.hold, self.latency = times.hold, times.latency
        # Cycles from the requantiser's input: requantised, activated, rescaled, written.
        self.at_value = Requantisation.LATENCY
        self.at_activated = self.at_value + Activate.LATENCY
        self.at_result = self.at_activated + Rescale.LATENCY
        self.at_commit = times.commit - times.hold
        self.attend = Attend(config, delay=times.ready_delay)
        self.requantise = Requantisation(config, hold=times.hold)
        self.place = Place(config)
        self.activate, self.rescale, self.route = Activate(config), Rescale(config), Route(config)
        self.gated = Gated(config) if config.gated_mlp else None
        self.softmax = Softmax(config, commit=self.at_commit - self.at_value)
        self.store = Store(config, commit=self.at_commit - self.at_result)
        self.add = Add(config, commit=self.at_commit - self.at_result)
        context = Out(ReadSignature(range(CONTEXTS), context_layout(config)))
        super().__init__(
            {
                "early": In(stream.Signature(operation_layout(), always_ready=True)),
                "total": In(config.total_bits),
                "i": In(stream.Signature(finished_layout(config), always_ready=True)),
                "context": context,
                "early_context": context,
                "parameters": In(self.requantise.parameters.shape()),
                "release": Out(1),
                "words": Out(WordsSignature(config)),
                "old_state": self.softmax.signature.members["old"],
                "state": self.softmax.signature.members["state"],
                "maxima": self.softmax.signature.members["maxima"],
                "old_residual": self.add.signature.members["old"],
                "residual": self.add.signature.members["residual"],
                "residual_due": Out(1),
                "will_read": Out(1),
                "old_sums": self.add.signature.members["old_sums"],
                "sums": self.add.signature.members["sums"],
                "logits": self.route.signature.members["o"],
                "ended": Out(1),
                **({"extra": Out(WriteSignature(12, distance_layout()))} if config.extra_key else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        attend, requantise, place, softmax, add = self.attend, self.requantise, self.place, self.softmax, self.add
        for name in ("attend", "requantise", "place", "activate", "rescale", "softmax", "route", "store", "add"):
            m.submodules[name] = getattr(self, name)
        if self.gated is not None:
            m.submodules.gated = self.gated
            m.d.comb += [self.gated.value.eq(self.activate.o), self.rescale.gate.eq(self.gated.o)]
        ports = {
            "context": requantise.context,
            "early_context": attend.context,
            "old_state": softmax.old,
            "state": softmax.state,
            "maxima": softmax.maxima,
            "old_residual": add.old,
            "residual": add.residual,
            "old_sums": add.old_sums,
            "sums": add.sums,
        }
        for name, port in ports.items():
            wiring.connect(m, wiring.flipped(getattr(self, name)), port)
        connect_stream(m, self.early, attend.i)
        m.d.comb += attend.total.eq(self.total)
        connect_stream(m, self.i, requantise.i)
        if self.config.extra_key:
            wiring.connect(m, wiring.flipped(self.extra), softmax.extra)
            m.d.comb += softmax.extra_value.eq(requantise.extra_value)
        if self.config.packed_keys:
            m.d.comb += softmax.upper_value.eq(requantise.upper_value)
        connect_stream(m, requantise.o, place.i)
        connect_stream(m, self.route.o, self.logits)
        m.d.comb += [
            requantise.factor.eq(attend.factor),
            requantise.exponent.eq(attend.exponent),
            requantise.parameters.eq(self.parameters),
            self.release.eq(requantise.release),
            self.activate.value.eq(requantise.value),
            softmax.value.eq(requantise.value),
            self.route.value.eq(requantise.value),
            self.rescale.value.eq(self.activate.o),
            self.store.value.eq(self.rescale.o),
            add.value.eq(self.rescale.o),
            self.residual_due.eq(add.due),
            self.will_read.eq(
                self.early.valid & self.early.p.acc_last & (attend.context.data.function == Function.ADD)
            ),
        ]
        self._accompany(m)
        self._merge(m)
        # The sums are the last that an instruction writes.
        ends = requantise.o.valid & requantise.o.p.op.end
        at_end = self.at_commit + Add.sums_latency(self.config.rows)
        m.d.comb += self.ended.eq(delay_valid(m, ends, at_end, name="ended"))
        return m

    def _accompany(self, m: Module) -> None:
        """Bring the companion to every unit, as many cycles before its values as it asks for."""
        arrival, shape = self.requantise.o, companion_layout(self.config)
        first: Any = Signal(shape)
        m.d.comb += [
            first.op.eq(delay(m, arrival.p.op, Place.LATENCY, name="op")),
            first.context.eq(delay(m, arrival.p.context, Place.LATENCY, name="context")),
            first.place.eq(self.place.o),
        ]
        vector = delay_valid(m, arrival.valid & arrival.p.op.vector, Place.LATENCY, name="vector")
        values_at: dict[Any, int] = {
            self.activate: self.at_value,
            self.softmax: self.at_value,
            self.route: self.at_value,
            self.rescale: self.at_activated,
            self.store: self.at_result,
            self.add: self.at_result,
        }
        if self.gated is not None:
            values_at[self.gated] = self.at_activated
        waits = {unit: at - unit.AHEAD - Place.LATENCY for unit, at in values_at.items()}
        valids = stages(m, vector, max(waits.values()), name="companion_valid", reset_less=False)
        companions = stages(m, first, max(waits.values()), name="companion")
        for unit, wait in waits.items():
            m.d.comb += [unit.i.valid.eq(valids[wait]), unit.i.payload.eq(companions[wait])]

    def _merge(self, m: Module) -> None:
        """Put the results of a store or of softmax, one of them in a cycle, into their group of a word's channels."""
        words, stored, softmax, groups = self.words, self.store.result, self.softmax.result, self.config.groups
        picked: Any = Signal(stored.data.shape())
        early = copies(m, softmax.activation_due, self.config.rows, name="softmax")
        for r, here in enumerate(early):
            m.d.comb += picked[r].eq(Mux(here, softmax.data[r], stored.data[r]))
        place: Any = Signal(stored.place.shape())
        m.d.comb += place.eq(stored.place)
        with m.If(softmax.write):
            m.d.comb += place.eq(softmax.place)
        m.d.comb += [
            words.activation_due.eq(stored.activation_due | softmax.activation_due),
            words.write.eq(stored.write | softmax.write),
            words.memory.eq(Mux(softmax.write, softmax.memory, stored.memory)),
            words.address.eq(place.address),
            Value.cast(words.low).eq(Value.cast(stored.low).replicate(groups)),
        ]
        if self.config.packed_keys:
            self._merge_packed(m, picked)
            return
        m.d.comb += [
            Value.cast(words.data).eq(Value.cast(picked).replicate(groups)),
            words.mask.eq(Cat(*(Mux(place.group == g, place.mask, 0) for g in range(groups)))),
        ]

    def _merge_packed(self, m: Module, picked: data.View) -> None:
        """The same where a block of packed keys takes two groups, of which the second has bytes of its own."""
        words, softmax, stored, config = self.words, self.softmax, self.store.result.place, self.config
        beyond: Any = Signal(picked.shape())
        for r, here in enumerate(copies(m, softmax.beyond_due, config.rows, name="softmax_beyond")):
            m.d.comb += beyond[r].eq(Mux(here, softmax.beyond[r], picked[r]))
        early = copies(m, softmax.result.activation_due, config.lanes, name="softmax_mask")
        lanes = ((early[k], *divmod(k, config.rows)) for k in range(config.lanes))
        m.d.comb += [
            Value.cast(words.data).eq(Cat(picked, beyond).replicate(config.groups // 2)),
            words.mask.eq(
                Cat(*(Mux(here, softmax.groups[g], (stored.group == g) & stored.mask[r]) for here, g, r in lanes))
            ),
        ]
