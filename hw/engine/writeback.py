"""What happens to a finished accumulator: requantise, GELU, residual and scatter-add, softmax, context, routing."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.attention.softmax import SoftmaxBlock
from moesaic.hw.decode.operation import CONTEXTS, context_layout, operation_layout
from moesaic.hw.engine.latency import write_back_stages
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory, Stationary
from moesaic.hw.spec.tables import DIGITS_TOP, PLANE_BITS
from moesaic.hw.vector.gelu import Gelu
from moesaic.hw.vector.layernorm import SumUpdate
from moesaic.hw.vector.multiply import LutMultiply
from moesaic.hw.vector.pipeline import delay, delay_valid, stages
from moesaic.hw.vector.reciprocal import Reciprocal
from moesaic.hw.vector.requant import Requantise
from moesaic.hw.vector.rounding import digits
from moesaic.hw.vector.scale import Scale

__all__ = ["STATE_SUM_BITS", "WriteBack"]

STATE_SUM_BITS = 24
BIAS_BITS = 32
GROUP_ROWS = 16  # rows that share a copy of a control bit
MASK_AT, ADDRESS_AT = (
    3,
    4,
)  # cycles from the requantiser's input until the channels that count, and the address, are known


@dataclass(frozen=True)
class _Flow:
    """What travels beside the values; entry k: k cycles after the requantiser's input."""

    ops: list[data.View]
    vectors: list[Value]
    valids: list[Value]
    contexts: list[data.View]
    functions: dict[Function, list[Value]]
    adds: list[Value]  # a vector whose function is ADD

    def runs(self, cycle: int, function: Function) -> Value:
        """The instruction's function is `function`."""
        return self.functions[function][cycle]


def _copies(m: Module, early: Value, rows: int, *, name: str) -> list[Value]:
    """`early`, a cycle later, for every row: one register for every few rows, so that none drives them all."""
    groups = []
    for g in range(-(-rows // GROUP_ROWS)):
        register = Signal(early.shape(), name=f"{name}_group_{g}", reset_less=True, attrs={"keep": "true"})
        m.d.sync += register.eq(early)
        groups.append(register)
    return [groups[r // GROUP_ROWS] for r in range(rows)]


@dataclass(frozen=True)
class _Places:
    """Where results go, by cycle after the requantiser's input."""

    groups: list[Value]
    masks: list[Value]
    addresses: list[Value]

    def mask(self, cycle: int) -> Value:
        """Rows that count."""
        return self.masks[cycle - MASK_AT]

    def address(self, cycle: int) -> Value:
        """Word of the result."""
        return self.addresses[cycle - ADDRESS_AT]


class WriteBack(wiring.Component):
    """Takes finished accumulators, applies their instruction's function and writes the result.

    One vector of `rows` outputs per cycle; every function takes the same ``latency``, so results are written in order.
    No back pressure. An output of the same token must not come again before the sums of the first are written
    (``reuse``).

    Members
    -------
    pop_valid, pop_op : In
        The operation at the time its vector enters the array: softmax state is read early, so that 1/sum is there in
        time.
    i_valid, i_op, i_acc : In
        From the accumulator.
    context : Out/In
        ``context_index`` and, in the same cycle, ``context``, for the operation at the input; ``pop_context_index``
        likewise.
    parameters : In(2 x rows x 48), release : Out(1)
        Banks of biases and multipliers; the last vector that needs ``i_op.bank`` has passed.
    activation_due, residual_due : Out(1)
        That memory is written in the next cycle.
    state_* : softmax state; maxima_*, vector_* : activation and key/value writes (``vector_low``: lower bytes of
        16-bit results); residual_*, sums_* : residual and its sums.
    route_* : Out
        Logits for the router.
    ended : Out(1)
        An instruction's last result is written (its last vector, or its lone operation, has left the pipeline).
    """

    pop_valid: Signal
    pop_op: data.View
    i_valid: Signal
    i_op: data.View
    i_acc: data.View
    context_index: Signal
    context: data.View
    pop_context_index: Signal
    pop_scalar: Signal
    parameters: data.View
    release: Signal
    state_address: Signal
    state_sum: Signal
    old_state_address: Signal
    old_state_maximum: Signal
    old_state_sum: Signal
    state_write: Signal
    state_write_address: Signal
    state_write_maximum: Signal
    state_write_sum: Signal
    activation_due: Signal
    residual_due: Signal
    vector_memory: Signal
    vector_write: Signal
    vector_address: Signal
    vector_data: Signal
    vector_low: Signal
    vector_mask: Signal
    maxima_write: Signal
    maxima_mask: Signal
    maxima_data: Signal
    residual_enable: Signal
    residual_address: Signal
    residual_data: data.View
    residual_write: Signal
    residual_write_address: Signal
    residual_write_data: data.View
    residual_write_mask: Signal
    sums_address: Signal
    sums_total: Signal
    sums_squares: Signal
    sums_write: Signal
    sums_write_address: Signal
    sums_write_total: Signal
    sums_write_squares: Signal
    route_valid: Signal
    route_logits: data.View
    route_op: data.View
    route_context: data.View
    ended: Signal

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        rows, lanes = config.rows, config.lanes
        self.requantise = Requantise(
            lanes=rows, acc_bits=config.acc_bits, bias_bits=BIAS_BITS + (PLANE_BITS if config.wide_operands else 0)
        )
        self.gelu = Gelu(lanes=rows)
        self.scale = Scale(lanes=rows)
        self.softmax = SoftmaxBlock(rows=rows)
        self.reciprocal = Reciprocal(in_bits=STATE_SUM_BITS)
        self.update = SumUpdate(lanes=rows)
        times = write_back_stages(config)
        self.hold, self.ready_delay, self.linear = times.hold, times.ready_delay, times.linear
        self.commit, self.latency, self.reuse = times.commit, times.latency, times.reuse
        # Cycles from the requantiser's input.
        self.at_value = self.requantise.LATENCY
        self.at_activated = self.at_value + self.gelu.LATENCY
        self.at_result = self.at_activated + self.scale.LATENCY
        self.at_commit = self.commit - self.hold
        if self.at_value < ADDRESS_AT:
            raise AssertionError(
                f"the requantiser must take at least {ADDRESS_AT} cycles: addresses are made meanwhile"
            )
        self.group_bits = (config.groups - 1).bit_length()
        self.row_layout = data.ArrayLayout(signed(16), rows)
        operation = operation_layout()
        residual = data.ArrayLayout(signed(16), lanes)
        super().__init__(
            {
                "pop_valid": In(1),
                "pop_op": In(operation),
                "i_valid": In(1),
                "i_op": In(operation),
                "i_acc": In(data.ArrayLayout(signed(config.acc_bits), rows)),
                "context_index": Out(range(CONTEXTS)),
                "context": In(context_layout()),
                "pop_context_index": Out(range(CONTEXTS)),
                "pop_scalar": In(16),
                "parameters": In(data.ArrayLayout(unsigned(48 * rows), 2)),
                "release": Out(1),
                "state_address": Out(12),
                "state_sum": In(STATE_SUM_BITS),
                "old_state_address": Out(12),
                "old_state_maximum": In(signed(9)),
                "old_state_sum": In(STATE_SUM_BITS),
                "state_write": Out(1),
                "state_write_address": Out(12),
                "state_write_maximum": Out(signed(9)),
                "state_write_sum": Out(STATE_SUM_BITS),
                "activation_due": Out(1),
                "residual_due": Out(1),
                "vector_memory": Out(2),
                "vector_write": Out(1),
                "vector_address": Out(16),
                "vector_data": Out(8 * lanes),
                "vector_low": Out(8 * lanes),
                "vector_mask": Out(lanes),
                "maxima_write": Out(1),
                "maxima_mask": Out(config.groups),
                "maxima_data": Out(signed(9)),
                "residual_enable": Out(1),
                "residual_address": Out(16),
                "residual_data": In(residual),
                "residual_write": Out(1),
                "residual_write_address": Out(16),
                "residual_write_data": Out(residual),
                "residual_write_mask": Out(lanes),
                "sums_address": Out(12),
                "sums_total": In(signed(28)),
                "sums_squares": In(unsigned(42)),
                "sums_write": Out(1),
                "sums_write_address": Out(12),
                "sums_write_total": Out(signed(28)),
                "sums_write_squares": Out(unsigned(42)),
                "route_valid": Out(1),
                "route_logits": Out(data.ArrayLayout(signed(16), rows)),
                "route_op": Out(operation),
                "route_context": Out(context_layout()),
                "ended": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.requantise = self.requantise
        m.submodules.gelu = self.gelu
        m.submodules.scale = self.scale
        m.submodules.softmax = self.softmax
        m.submodules.reciprocal = self.reciprocal
        m.submodules.update = self.update
        factor, exponent = self._divide(m)
        flow = self._requantise(m, factor, exponent)
        places = self._place(m, flow)
        result = self._activate_and_scale(m, flow)
        probabilities, maximum, state_sum = self._score_and_route(m, flow, places)
        added, before, narrow, lower = self._add(m, flow, places, result)
        self._commit(m, flow, places, probabilities, maximum, state_sum, added, narrow, lower)
        self._update_sums(m, flow, places, added, before)
        return m

    def _divide(self, m: Module) -> tuple[Value, Value]:
        """The multiplier that holds 1/sum of the query, and its exponent, for ATTEND; started when the vector enters
        the array.
        """
        reciprocal = self.reciprocal
        popped = Signal()
        m.d.sync += popped.eq(self.pop_valid)
        scalar = Signal(16, reset_less=True)
        m.d.sync += scalar.eq(self.pop_scalar)
        m.d.comb += [
            self.state_address.eq(self.pop_op.token),
            self.pop_context_index.eq(self.pop_op.context),
            reciprocal.i_valid.eq(popped),
            reciprocal.i.eq(self.state_sum),
        ]
        product = Signal(32)
        m.d.comb += product.eq(reciprocal.o_r * delay(m, scalar, reciprocal.LATENCY, name="scalar") + (1 << 15))
        factor, exponent = Signal(16, reset_less=True), Signal(6, reset_less=True)
        m.d.sync += [factor.eq(product >> 16), exponent.eq(reciprocal.o_e)]
        return delay(m, factor, self.ready_delay, name="factor"), delay(m, exponent, self.ready_delay, name="exponent")

    def _requantise(self, m: Module, factor: Value, exponent: Value) -> _Flow:
        """Hold the accumulators until 1/sum is there, then start the requantiser: time 0 of the flow."""
        rows, requantise, context = self.config.rows, self.requantise, self.context
        op0 = delay(m, self.i_op, self.hold, name="hold_op")
        valid0 = delay_valid(m, self.i_valid, self.hold, name="hold_valid")
        acc0 = delay(m, self.i_acc, self.hold, name="hold_acc")
        m.d.comb += self.context_index.eq(op0.context)
        parameters = Signal(48 * rows)
        m.d.comb += parameters.eq(Mux(op0.bank, self.parameters[1], self.parameters[0]))
        attend = context.function == Function.ATTEND
        vector0 = Signal()
        m.d.comb += [
            vector0.eq(valid0 & op0.vector),
            self.release.eq(vector0 & op0.weights & op0.block_end),
            requantise.i_valid.eq(vector0),
            requantise.i_acc.eq(acc0),
            requantise.i_shift.eq(Mux(attend, context.shift + exponent, context.shift)),
        ]
        # Beside weights of 16 bits, biases are in units of 2^8.
        upper = context.wide_stationary if self.config.wide_operands else Const(0, 1)
        for r in range(rows):
            parameter = parameters.word_select(r, 48)
            bias = parameter[:BIAS_BITS].as_signed()
            m.d.comb += [
                requantise.i_bias[r].eq(Mux(op0.weights, Mux(upper, bias.shift_left(PLANE_BITS), bias), 0)),
                requantise.i_mult[r].eq(Mux(op0.weights, parameter[BIAS_BITS:], Mux(attend, factor, context.scalar))),
            ]
        total = self.latency - self.hold
        functions = {}
        for function in Function:
            runs = Signal(name=f"runs_{function.name.lower()}")
            m.d.comb += runs.eq(context.function == function)
            functions[function] = stages(m, runs, self.at_commit, name=f"runs_{function.name.lower()}")
        adds0 = Signal()
        m.d.comb += adds0.eq(vector0 & functions[Function.ADD][0])
        return _Flow(
            ops=stages(m, op0, total, name="op"),
            vectors=stages(m, vector0, total, name="vector", reset_less=False),
            valids=stages(m, valid0, total, name="valid", reset_less=False),
            contexts=stages(m, context, self.at_commit, name="context"),
            functions=functions,
            adds=stages(m, adds0, self.at_commit, name="adds", reset_less=False),
        )

    def _place(self, m: Module, flow: _Flow) -> _Places:
        """Where a result goes: word, group of channels in it, and the channels that count."""
        rows, groups, group_bits = self.config.rows, self.config.groups, self.group_bits
        context, op0 = flow.contexts[0], flow.ops[0]
        group0 = Signal(12)
        m.d.comb += group0.eq(context.group + op0.block)
        groups_later = stages(m, group0, self.at_commit, name="group")
        remaining = Signal(signed(17), reset_less=True)  # outputs from this block's first on
        first_channel = Signal(8, reset_less=True)  # of the group within its word
        position = Signal(12, reset_less=True)  # vector or token number
        stride = Signal(8, reset_less=True)
        m.d.sync += [
            remaining.eq(context.out_count - op0.block * rows),
            first_channel.eq((group0 & (groups - 1)) * rows),
            position.eq(Mux((context.function == Function.ADD) & context.expert_valid, op0.token, op0.slot)),
            stride.eq(context.dst_stride),
        ]
        base = delay(m, context.dst_addr, 1, name="dst")
        m.submodules.distance = multiply = LutMultiply(a_bits=13, b_shape=unsigned(8))
        word_base = Signal(16, reset_less=True)
        m.d.comb += [multiply.a.eq(position), multiply.b.eq(stride)]
        m.d.sync += word_base.eq(base + (groups_later[1] >> group_bits))
        address = Signal(16, reset_less=True)
        m.d.sync += address.eq(delay(m, word_base, multiply.latency - 1, name="word_base") + multiply.o)
        # Channels of the first row, counted from the first that is wanted, and from the one after the last.
        low, high = Signal(signed(10), reset_less=True), Signal(signed(10), reset_less=True)
        end = Signal(9, reset_less=True)
        valid_rows = Signal(rows, reset_less=True)
        later = delay(m, remaining, 1, name="remaining")
        m.d.sync += [
            end.eq(context.lane_low + context.lane_count),
            low.eq(flow.contexts[1].lane_low - first_channel),
            high.eq(end - first_channel),
        ]
        values = flow.contexts[2].stationary == Stationary.VALUES
        for r in range(rows):
            m.d.sync += valid_rows[r].eq(Mux(values, (low <= r) & (high > r), later > r))
        return _Places(
            groups=[later[:group_bits] if group_bits else Const(0, 1) for later in groups_later],
            masks=stages(m, valid_rows, self.at_commit - MASK_AT, name="mask"),
            addresses=stages(m, address, self.at_commit - ADDRESS_AT, name="address"),
        )

    def _activate_and_scale(self, m: Module, flow: _Flow) -> data.View:
        """GELU, then the second multiplication (of its result, or of an expert's output by the router's score)."""
        at_v, at_g, gelu, scale = self.at_value, self.at_activated, self.gelu, self.scale
        value = self.requantise.o
        m.d.comb += [gelu.i_valid.eq(flow.vectors[at_v] & flow.runs(at_v, Function.GELU)), gelu.i.eq(value)]
        plain = delay(m, value, gelu.LATENCY, name="plain")
        activated: Any = Signal(self.row_layout)
        for r, runs in enumerate(_copies(m, flow.runs(at_g - 1, Function.GELU), self.config.rows, name="gelu")):
            m.d.comb += activated[r].eq(Mux(runs, gelu.o[r], plain[r]))
        is_gelu = flow.runs(at_g, Function.GELU)
        scores = flow.runs(at_g, Function.ADD) & flow.contexts[at_g].expert_valid
        m.d.comb += [
            scale.i_valid.eq(flow.vectors[at_g] & (is_gelu | scores)),
            scale.i.eq(activated),
            scale.i_mult.eq(Mux(scores, flow.ops[at_g].score, flow.contexts[at_g].scalar)),
            scale.i_shift.eq(flow.contexts[at_g].post_shift),
        ]
        scaled = delay(m, is_gelu | scores, scale.LATENCY - 1, name="scaled")
        unscaled = delay(m, activated, scale.LATENCY, name="unscaled")
        result: Any = Signal(self.row_layout)
        for r, runs in enumerate(_copies(m, scaled, self.config.rows, name="scaled")):
            m.d.comb += result[r].eq(Mux(runs, scale.o[r], unscaled[r]))
        return result

    def _score_and_route(self, m: Module, flow: _Flow, places: _Places) -> tuple[data.View, Value, Value]:
        """Softmax and routing, from the requantised value; probabilities, maximum and sum at commit."""
        at_v, softmax = self.at_value, self.softmax
        value = self.requantise.o
        m.d.comb += [
            self.old_state_address.eq(flow.ops[at_v - 1].token),
            softmax.i_valid.eq(flow.vectors[at_v] & flow.runs(at_v, Function.SOFTMAX)),
            softmax.i_t.eq(value),
            softmax.i_mask.eq(places.mask(at_v)),
            softmax.i_first.eq(flow.ops[at_v].block == 0),
            softmax.i_max.eq(self.old_state_maximum),
            softmax.i_sum.eq(self.old_state_sum),
            self.route_valid.eq(flow.vectors[at_v] & flow.runs(at_v, Function.ROUTE)),
            self.route_logits.eq(value),
            self.route_op.eq(flow.ops[at_v]),
            self.route_context.eq(flow.contexts[at_v]),
        ]
        wait = self.at_commit - at_v - softmax.latency
        return (
            delay(m, softmax.o_p, wait, name="probability"),
            delay(m, softmax.o_max, wait, name="maximum"),
            delay(m, softmax.o_sum, wait, name="state_sum"),
        )

    def _add(
        self, m: Module, flow: _Flow, places: _Places, result: data.View
    ) -> tuple[data.View, data.View, Value, Value]:
        """Residual plus result, residual before, the result as int8 (or its upper byte), and its lower byte, all at
        commit.

        The residual is read three cycles before the result is there: picked from its word, rounded, then added.
        """
        rows, groups, at_p = self.config.rows, self.config.groups, self.at_result
        m.d.comb += [self.residual_enable.eq(flow.adds[at_p - 3]), self.residual_address.eq(places.address(at_p - 3))]
        old: Any = Signal(self.row_layout, reset_less=True)
        group = _copies(m, places.groups[at_p - 3], rows, name="group")
        shift = _copies(m, flow.contexts[at_p - 2].residual_shift, rows, name="residual_shift")
        halves: Any = Signal(data.ArrayLayout(signed(17), rows), reset_less=True)
        added: Any = Signal(self.row_layout, reset_less=True)
        narrow, lower = Signal(8 * rows, reset_less=True), Signal(8 * rows, reset_less=True)
        wide = (
            _copies(m, flow.contexts[at_p - 1].wide_result, rows, name="wide")
            if self.config.wide_operands
            else [Const(0, 1)] * rows
        )
        for r in range(rows):
            pair = digits(Mux(result[r] > DIGITS_TOP, DIGITS_TOP, result[r]))
            picked = self.residual_data[r]
            for g in range(1, groups):
                picked = Mux(group[r] == g, self.residual_data[g * rows + r], picked)
            sum_r = Signal(signed(18), name=f"residual_sum_{r}")
            m.d.sync += [
                old[r].eq(picked),
                halves[r].eq((old[r] + ((1 << shift[r]) >> 1)[:8]) >> shift[r]),
                added[r].eq(Mux(sum_r > 32767, 32767, Mux(sum_r < -32768, -32768, sum_r))),
                narrow.word_select(r, 8).eq(
                    Mux(wide[r], pair[0], Mux(result[r] > 127, 127, Mux(result[r] < -128, -128, result[r]))[:8])
                ),
                lower.word_select(r, 8).eq(pair[1]),
            ]
            m.d.comb += sum_r.eq(halves[r] + result[r])
        wait = self.at_commit - at_p - 1
        return (
            delay(m, added, wait, name="added"),
            delay(m, old, wait + 2, name="before"),
            delay(m, narrow, wait, name="narrow"),
            delay(m, lower, wait, name="lower") if self.config.wide_operands else Const(0, 8 * rows),
        )

    def _commit(
        self,
        m: Module,
        flow: _Flow,
        places: _Places,
        probabilities: data.View,
        maximum: Value,
        state_sum: Value,
        added: data.View,
        narrow: Value,
        lower: Value,
    ) -> None:
        """Write the result, whichever it is."""
        rows, groups, at_c = self.config.rows, self.config.groups, self.at_commit
        is_softmax, softmax_write = flow.runs(at_c, Function.SOFTMAX), Signal()
        vector_due, vector_write = Signal(), Signal()
        will_softmax = flow.runs(at_c - 1, Function.SOFTMAX)
        m.d.comb += [
            vector_due.eq(
                flow.vectors[at_c - 1] & ~flow.runs(at_c - 1, Function.ADD) & ~flow.runs(at_c - 1, Function.ROUTE)
            ),
            self.activation_due.eq(
                vector_due & (will_softmax | (flow.contexts[at_c - 1].dst_memory == Memory.ACTIVATION))
            ),
            self.residual_due.eq(flow.adds[at_c - 1]),
        ]
        m.d.sync += [softmax_write.eq(flow.vectors[at_c - 1] & will_softmax), vector_write.eq(vector_due)]
        output = Signal(8 * rows)
        for r, softmax in enumerate(_copies(m, flow.runs(at_c - 1, Function.SOFTMAX), rows, name="softmax")):
            m.d.comb += output.word_select(r, 8).eq(Mux(softmax, probabilities[r], narrow.word_select(r, 8)))
        rows_c = Signal(rows)
        m.d.comb += rows_c.eq(places.mask(at_c))
        group_mask = Signal(groups)
        m.d.comb += group_mask.eq(1 << places.groups[at_c])
        spread = Cat(*(rows_c & group_mask[g].replicate(rows) for g in range(groups)))
        whole = Cat(*(group_mask[g].replicate(rows) for g in range(groups)))
        m.d.comb += [
            self.vector_write.eq(vector_write),
            self.vector_memory.eq(Mux(is_softmax, Memory.ACTIVATION, flow.contexts[at_c].dst_memory)),
            self.vector_address.eq(places.address(at_c)),
            self.vector_data.eq(output.replicate(groups)),
            self.vector_low.eq(lower.replicate(groups)),
            self.vector_mask.eq(Mux(is_softmax, whole, spread)),
            self.maxima_write.eq(softmax_write),
            self.maxima_mask.eq(group_mask),
            self.maxima_data.eq(maximum),
            self.state_write.eq(softmax_write),
            self.state_write_address.eq(flow.ops[at_c].token),
            self.state_write_maximum.eq(maximum),
            self.state_write_sum.eq(state_sum),
            self.residual_write.eq(flow.adds[at_c]),
            self.residual_write_address.eq(places.address(at_c)),
            self.residual_write_data.eq(added.as_value().replicate(groups)),
            self.residual_write_mask.eq(spread),
        ]

    def _update_sums(self, m: Module, flow: _Flow, places: _Places, added: data.View, before: data.View) -> None:
        """Change the token's LayerNorm sums by what the residual changed, and end the instruction."""
        at_c, update = self.at_commit, self.update
        adds = flow.adds[at_c]
        m.d.comb += [
            update.i_valid.eq(adds),
            update.i_new.eq(added),
            update.i_old.eq(before),
            update.i_mask.eq(places.mask(at_c)),
            update.i_fresh.eq(flow.contexts[at_c].fresh),
        ]
        at_s = at_c + update.latency
        fresh_start = delay(
            m, flow.contexts[at_c].fresh & (flow.ops[at_c].block == 0), update.latency, name="fresh_start"
        )
        summed = delay_valid(m, adds, update.latency, name="summed")
        new_total, new_squares = Signal(signed(28), reset_less=True), Signal(unsigned(42), reset_less=True)
        m.d.comb += self.sums_address.eq(flow.ops[at_s - 1].token)
        m.d.sync += [
            new_total.eq(Mux(fresh_start, 0, self.sums_total) + update.o_total),
            new_squares.eq(Mux(fresh_start, 0, self.sums_squares) + update.o_squares),
        ]
        write_sums = Signal()
        m.d.sync += write_sums.eq(summed)
        m.d.comb += [
            self.sums_write.eq(write_sums),
            self.sums_write_address.eq(flow.ops[at_s + 1].token),
            self.sums_write_total.eq(new_total),
            self.sums_write_squares.eq(new_squares),
            self.ended.eq(flow.valids[at_s + 2] & flow.ops[at_s + 2].end),
        ]
