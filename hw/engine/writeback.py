"""What happens to a finished accumulator: requantise, GELU, residual and scatter-add, softmax, context, routing."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.attention.softmax import SoftmaxBlock
from moesaic.hw.engine.array import array_latency
from moesaic.hw.engine.payloads import CONTEXTS, context_layout, operation_layout
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Memory, Stationary
from moesaic.hw.vector.gelu import Gelu
from moesaic.hw.vector.layernorm import SumUpdate
from moesaic.hw.vector.pipeline import delay, delay_valid
from moesaic.hw.vector.reciprocal import Reciprocal
from moesaic.hw.vector.requant import Requantise
from moesaic.hw.vector.scale import Scale

__all__ = ["STATE_SUM_BITS", "WriteBack"]

STATE_SUM_BITS = 24


class WriteBack(wiring.Component):
    """Takes finished accumulators, applies their instruction's function and writes the result.

    One vector of `rows` outputs per cycle; every function takes the same ``latency``, so results are written in order. No back
    pressure. An output of the same token must not come again before the sums of the first are written (``reuse``).

    Members
    -------
    pop_valid, pop_op : In
        The operation at the time its vector enters the array: softmax state is read early, so that 1/sum is there in time.
    i_valid, i_op, i_acc : In
        From the accumulator.
    context : Out/In
        ``context_index`` and, in the same cycle, ``context``, for the operation at the input; ``pop_context_index`` likewise.
    parameters : In(2 x rows x 48), release : Out(1)
        Banks of biases and multipliers; the last vector that needs ``i_op.bank`` has passed.
    state_* : softmax state; maxima_*, vector_* : activation and key/value writes; residual_*, sums_* : residual and its sums.
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
    vector_memory: Signal
    vector_write: Signal
    vector_address: Signal
    vector_data: Signal
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
        self.requantise = Requantise(lanes=rows, acc_bits=config.acc_bits)
        self.gelu = Gelu(lanes=rows)
        self.scale = Scale(lanes=rows)
        self.softmax = SoftmaxBlock(rows=rows)
        self.reciprocal = Reciprocal(in_bits=STATE_SUM_BITS)
        self.update = SumUpdate(lanes=rows)
        early = array_latency(lanes) + 1          # from the array's input to the accumulator's output
        ready = 1 + self.reciprocal.LATENCY + 1   # state read, reciprocal, times the scalar
        self.hold = max(0, ready - early)         # cycles the accumulators wait for 1/sum
        self.ready_delay = max(0, early - ready)  # cycles 1/sum waits for the accumulators
        self.linear = self.requantise.LATENCY + self.gelu.LATENCY + self.scale.LATENCY
        # Residual: read, add, write. Softmax: written as it comes.
        self.commit = self.hold + max(self.linear + 1, self.requantise.LATENCY + self.softmax.latency)
        self.latency = self.commit + self.update.latency + 2
        self.reuse = max(self.latency - self.hold - self.requantise.LATENCY, self.softmax.latency + 4) + 2
        operation = operation_layout(config)
        residual = data.ArrayLayout(signed(16), lanes)
        super().__init__({
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
            "vector_memory": Out(2),
            "vector_write": Out(1),
            "vector_address": Out(16),
            "vector_data": Out(8 * lanes),
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
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        rows, lanes, groups = config.rows, config.lanes, config.groups
        group_bits = (groups - 1).bit_length()
        m.submodules.requantise = requantise = self.requantise
        m.submodules.gelu = gelu = self.gelu
        m.submodules.scale = scale = self.scale
        m.submodules.softmax = softmax = self.softmax
        m.submodules.reciprocal = reciprocal = self.reciprocal
        m.submodules.update = update = self.update
        row_layout = data.ArrayLayout(signed(16), rows)

        def chain(value, cycles: int, name: str, shape, *, reset_less: bool = True) -> list:
            """`value` 0, 1, ... `cycles` cycles later."""
            result = [value]
            for k in range(cycles):
                register = Signal(shape, name=f"{name}_{k + 1}", reset_less=reset_less)
                m.d.sync += register.eq(result[-1])
                result.append(register)
            return result

        # --- 1/sum of the query, for ATTEND; started when the vector enters the array ---
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
        factor = delay(m, factor, self.ready_delay, name="factor")
        exponent = delay(m, exponent, self.ready_delay, name="exponent")

        # --- input of the requantiser (time 0 = after the hold) ---
        operation = self.i_op.shape()
        op0 = delay(m, self.i_op, self.hold, name="hold_op")
        valid0 = delay_valid(m, self.i_valid, self.hold, name="hold_valid")
        acc0 = delay(m, self.i_acc, self.hold, name="hold_acc")
        m.d.comb += self.context_index.eq(op0.context)
        context = self.context
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
        for r in range(rows):
            parameter = parameters.word_select(r, 48)
            m.d.comb += [
                requantise.i_bias[r].eq(Mux(op0.weights, parameter[:32].as_signed(), 0)),
                requantise.i_mult[r].eq(Mux(op0.weights, parameter[32:], Mux(attend, factor, context.scalar))),
            ]

        total = self.latency - self.hold
        ops = chain(op0, total, "op", operation)
        vectors = chain(vector0, total, "vector", 1, reset_less=False)
        valids = chain(valid0, total, "valid", 1, reset_less=False)
        contexts = chain(context, self.commit - self.hold, "context", context.shape())
        at_v = requantise.LATENCY
        at_g = at_v + gelu.LATENCY
        at_p = at_g + scale.LATENCY
        at_c = self.commit - self.hold

        # --- where the result goes: word, group and channels that count ---
        group0 = Signal(12)
        m.d.comb += group0.eq(context.group + op0.block)
        groups_later = chain(group0, at_c, "group", 12)
        remaining = Signal(signed(17), reset_less=True)   # outputs from this block's first on
        first_channel = Signal(8, reset_less=True)         # of the group within its word
        position = Signal(12, reset_less=True)             # vector or token number
        stride = Signal(8, reset_less=True)
        m.d.sync += [
            remaining.eq(context.out_count - op0.block * rows),
            first_channel.eq((group0 & (groups - 1)) * rows),
            position.eq(Mux((context.function == Function.ADD) & context.expert_valid, op0.token, op0.slot)),
            stride.eq(context.dst_stride),
        ]
        base = delay(m, context.dst_addr, 1, name="dst")
        group1 = groups_later[1]
        distance = Signal(20, reset_less=True)
        word_base = Signal(16, reset_less=True)
        m.d.sync += [distance.eq(position * stride), word_base.eq(base + (group1 >> group_bits))]
        address = Signal(16, reset_less=True)
        m.d.sync += address.eq(word_base + distance)       # at time 3
        valid_rows = Signal(rows, reset_less=True)          # at time 2
        context1 = contexts[1]
        for r in range(rows):
            channel = Signal(9, name=f"channel_{r}")
            m.d.comb += channel.eq(first_channel + r)
            inside = (channel >= context1.lane_low) & (channel < context1.lane_low + context1.lane_count)
            m.d.sync += valid_rows[r].eq(Mux(context1.stationary == Stationary.VALUES, inside, remaining > r))
        masks = chain(valid_rows, at_c - 2, "mask", rows)   # entry k belongs to time k + 2
        addresses = chain(address, at_c - 3, "address", 16)  # entry k belongs to time k + 3
        if at_v < 3:
            raise AssertionError("the requantiser must take at least 3 cycles: addresses are made meanwhile")

        # --- GELU, then the second multiplication ---
        value = requantise.o
        m.d.comb += [gelu.i_valid.eq(vectors[at_v] & (contexts[at_v].function == Function.GELU)), gelu.i.eq(value)]
        plain = delay(m, value, gelu.LATENCY, name="plain")
        activated = Signal(row_layout)
        m.d.comb += activated.eq(Mux(contexts[at_g].function == Function.GELU, gelu.o.as_value(), plain.as_value()))
        is_gelu = contexts[at_g].function == Function.GELU
        scores = (contexts[at_g].function == Function.ADD) & contexts[at_g].expert_valid
        m.d.comb += [
            scale.i_valid.eq(vectors[at_g] & (is_gelu | scores)),
            scale.i.eq(activated),
            scale.i_mult.eq(Mux(scores, ops[at_g].score, contexts[at_g].scalar)),
            scale.i_shift.eq(contexts[at_g].post_shift),
        ]
        scaled_later = chain(is_gelu | scores, scale.LATENCY, "scaled", 1)[-1]
        unscaled = delay(m, activated, scale.LATENCY, name="unscaled")
        result = Signal(row_layout)
        m.d.comb += result.eq(Mux(scaled_later, scale.o.as_value(), unscaled.as_value()))

        # --- softmax and routing, from the requantised value ---
        function_v = contexts[at_v].function
        m.d.comb += [
            self.old_state_address.eq(ops[at_v - 1].token),
            softmax.i_valid.eq(vectors[at_v] & (function_v == Function.SOFTMAX)),
            softmax.i_t.eq(value),
            softmax.i_mask.eq(masks[at_v - 2]),
            softmax.i_first.eq(ops[at_v].block == 0),
            softmax.i_max.eq(self.old_state_maximum),
            softmax.i_sum.eq(self.old_state_sum),
            self.route_valid.eq(vectors[at_v] & (function_v == Function.ROUTE)),
            self.route_logits.eq(value),
            self.route_op.eq(ops[at_v]),
            self.route_context.eq(contexts[at_v]),
        ]
        wait_softmax = at_c - at_v - softmax.latency
        probabilities = delay(m, softmax.o_p, wait_softmax, name="probability")
        maximum = delay(m, softmax.o_max, wait_softmax, name="maximum")
        state_sum = delay(m, softmax.o_sum, wait_softmax, name="state_sum")

        # --- residual: read at p - 1, add at p, write at commit ---
        add_p = vectors[at_p] & (contexts[at_p].function == Function.ADD)
        m.d.comb += [
            self.residual_enable.eq(vectors[at_p - 1] & (contexts[at_p - 1].function == Function.ADD)),
            self.residual_address.eq(addresses[at_p - 1 - 3]),
        ]
        old = Signal(row_layout)
        group_p = groups_later[at_p][:group_bits] if group_bits else Const(0, 1)
        for r in range(rows):
            words = [self.residual_data[g * rows + r] for g in range(groups)]
            picked = words[0]
            for g in range(1, groups):
                picked = Mux(group_p == g, words[g], picked)
            m.d.comb += old[r].eq(picked)
        added, before = Signal(row_layout, reset_less=True), Signal(row_layout, reset_less=True)
        narrow = Signal(8 * rows, reset_less=True)
        with m.If(add_p):
            for r in range(rows):
                halves = Signal(signed(17), name=f"rounded_{r}")
                shift = contexts[at_p].residual_shift
                m.d.comb += halves.eq((old[r] + ((1 << shift) >> 1)[:8]) >> shift)
                sum_r = Signal(signed(18), name=f"residual_sum_{r}")
                m.d.comb += sum_r.eq(halves + result[r])
                m.d.sync += added[r].eq(Mux(sum_r > 32767, 32767, Mux(sum_r < -32768, -32768, sum_r)))
            m.d.sync += before.eq(old)
        with m.Elif(vectors[at_p]):
            for r in range(rows):
                m.d.sync += narrow.word_select(r, 8).eq(
                    Mux(result[r] > 127, 127, Mux(result[r] < -128, -128, result[r]))[:8])
        wait_linear = at_c - at_p - 1
        added = delay(m, added, wait_linear, name="added")
        before = delay(m, before, wait_linear, name="before")
        narrow = delay(m, narrow, wait_linear, name="narrow")

        # --- commit ---
        function_c = contexts[at_c].function
        valid_c = vectors[at_c]
        is_softmax = function_c == Function.SOFTMAX
        is_add = function_c == Function.ADD
        output = Signal(8 * rows)
        m.d.comb += output.eq(Mux(is_softmax, probabilities.as_value(), narrow))
        group_c = groups_later[at_c][:group_bits] if group_bits else Const(0, 1)
        rows_c = Signal(rows)
        m.d.comb += rows_c.eq(masks[at_c - 2])
        group_mask = Signal(groups)
        m.d.comb += group_mask.eq(1 << group_c)
        spread = Cat(*(rows_c & group_mask[g].replicate(rows) for g in range(groups)))
        whole = Cat(*(group_mask[g].replicate(rows) for g in range(groups)))
        m.d.comb += [
            self.vector_write.eq(valid_c & ~is_add & (function_c != Function.ROUTE)),
            self.vector_memory.eq(Mux(is_softmax, Memory.ACTIVATION, contexts[at_c].dst_memory)),
            self.vector_address.eq(addresses[at_c - 3]),
            self.vector_data.eq(output.replicate(groups)),
            self.vector_mask.eq(Mux(is_softmax, whole, spread)),
            self.maxima_write.eq(valid_c & is_softmax),
            self.maxima_mask.eq(group_mask),
            self.maxima_data.eq(maximum),
            self.state_write.eq(valid_c & is_softmax),
            self.state_write_address.eq(ops[at_c].token),
            self.state_write_maximum.eq(maximum),
            self.state_write_sum.eq(state_sum),
            self.residual_write.eq(valid_c & is_add),
            self.residual_write_address.eq(addresses[at_c - 3]),
            self.residual_write_data.eq(added.as_value().replicate(groups)),
            self.residual_write_mask.eq(spread),
        ]

        # --- LayerNorm sums: changed by what the residual changed ---
        m.d.comb += [
            update.i_valid.eq(valid_c & is_add),
            update.i_new.eq(added),
            update.i_old.eq(before),
            update.i_mask.eq(rows_c),
            update.i_fresh.eq(contexts[at_c].fresh),
        ]
        at_s = at_c + update.latency
        fresh_start = delay(m, contexts[at_c].fresh & (ops[at_c].block == 0), update.latency, name="fresh_start")
        summed = delay_valid(m, valid_c & is_add, update.latency, name="summed")
        new_total, new_squares = Signal(signed(28), reset_less=True), Signal(unsigned(42), reset_less=True)
        m.d.comb += self.sums_address.eq(ops[at_s - 1].token)
        m.d.sync += [
            new_total.eq(Mux(fresh_start, 0, self.sums_total) + update.o_total),
            new_squares.eq(Mux(fresh_start, 0, self.sums_squares) + update.o_squares),
        ]
        write_sums = Signal()
        m.d.sync += write_sums.eq(summed)
        m.d.comb += [
            self.sums_write.eq(write_sums),
            self.sums_write_address.eq(ops[at_s + 1].token),
            self.sums_write_total.eq(new_total),
            self.sums_write_squares.eq(new_squares),
            self.ended.eq(valids[at_s + 2] & ops[at_s + 2].end),
        ]
        return m
