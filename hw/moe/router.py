"""The router: gate logits in, expert queues out."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, signed
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.moe.gate import Gate, gate_latency
from moesaic.hw.moe.queues import ExpertQueues
from moesaic.hw.spec.tables import LOGIT_SHIFT_BITS

__all__ = ["Router", "router_latency"]


def router_latency(experts: int, max_top_k: int) -> int:
    """Cycles from the first token's last vector to complete queues, beyond `top_k` cycles for each token."""
    return 1 + gate_latency(experts, max_top_k) + ExpertQueues.LATENCY


class Router(wiring.Component):
    """Collects the logits of every token, picks its experts, and fills the queues in token order.

    Computes ``golden.numerics.route`` and the queues of `docs/isa.md` bit for bit. Takes one vector per cycle; the
    queues are complete at most ``top_k`` cycles per token, and `latency`, after the first token's last vector. No back
    pressure. Queues are empty and `o_busy` is 0 after reset.

    Parameters
    ----------
    rows : int
        Logits per vector: one block of outputs.
    experts : int
        Most experts, 2..64.
    max_top_k : int
        Most experts per token.
    max_tokens : int
        Most tokens per instruction.

    Members
    -------
    i_valid : In(1)
    i_logits : In([rows] signed(16)), log2 units, ``10 - i_shift`` fraction bits
    i_group : In(range), number of the block: experts ``i_group * rows`` and up
    i_slot : In(range(max_tokens)), number of the vector in the block
    i_token : In(range(max_tokens)), number of its token
    i_first : In(1), first vector of the instruction: takes `i_experts`, `i_top_k`, `i_kind` and `i_shift`, and clears
        the queues unless `i_append`
    i_append : In(1)
    i_last_group : In(1), in the last block
    i_last : In(1), last vector of the instruction
    i_experts : In(range(experts + 1)), at least `i_top_k`
    i_top_k : In(range(max_top_k + 1)), 1 at least
    i_kind : In(1), `GateKind`
    i_shift : In(LOGIT_SHIFT_BITS)
    o_busy : Out(1), from the first vector until the queues are complete
    o_done : Out(1), high for one cycle when they are
    o_counts : Out([experts] range(max_tokens + 1))
    q_expert, q_slot : In, address of a read
    q_token, q_score : Out, its data, one cycle later

    Raises
    ------
    ValueError
        If a size is out of range.
    """

    i_valid: Signal
    i_logits: data.View
    i_group: Signal
    i_slot: Signal
    i_token: Signal
    i_first: Signal
    i_append: Signal
    i_last_group: Signal
    i_last: Signal
    i_experts: Signal
    i_top_k: Signal
    i_kind: Signal
    i_shift: Signal
    o_busy: Signal
    o_done: Signal
    o_counts: data.View
    q_expert: Signal
    q_slot: Signal
    q_token: Signal
    q_score: Signal

    def __init__(self, *, rows: int, experts: int, max_top_k: int, max_tokens: int) -> None:
        if rows < 1:
            raise ValueError(f"rows must be positive, not {rows!r}")
        self.rows, self.experts, self.max_top_k, self.max_tokens = rows, experts, max_top_k, max_tokens
        self.token_shape = Shape.cast(range(max_tokens))
        self.gate = Gate(experts=experts, max_top_k=max_top_k, tag_bits=self.token_shape.width + 1)
        self.queues = ExpertQueues(experts=experts, max_tokens=max_tokens, max_top_k=max_top_k)
        self.groups = -(-experts // rows)
        self.latency = router_latency(experts, max_top_k)
        super().__init__(
            {
                "i_valid": In(1),
                "i_logits": In(data.ArrayLayout(signed(16), rows)),
                "i_group": In(range(max(self.groups, 2))),
                "i_slot": In(self.token_shape),
                "i_token": In(self.token_shape),
                "i_first": In(1),
                "i_append": In(1),
                "i_last_group": In(1),
                "i_last": In(1),
                "i_experts": In(range(experts + 1)),
                "i_top_k": In(range(max_top_k + 1)),
                "i_kind": In(1),
                "i_shift": In(LOGIT_SHIFT_BITS),
                "o_busy": Out(1),
                "o_done": Out(1),
                "o_counts": Out(self.queues.o_counts.shape()),
                "q_expert": In(range(experts)),
                "q_slot": In(self.token_shape),
                "q_token": Out(self.token_shape),
                "q_score": Out(16),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.gate, m.submodules.queues = gate, queues = self.gate, self.queues

        start = Signal()
        mask = Signal(self.experts)
        top_k = Signal.like(self.i_top_k)
        kind = Signal()
        shift = Signal.like(self.i_shift)
        m.d.comb += start.eq(self.i_valid & self.i_first)
        with m.If(start):
            m.d.sync += [
                Cat(mask[e] for e in range(self.experts)).eq(Cat(e < self.i_experts for e in range(self.experts))),
                top_k.eq(self.i_top_k),
                kind.eq(self.i_kind),
                shift.eq(self.i_shift),
                self.o_busy.eq(1),
            ]
        with m.Elif(queues.o_done):
            m.d.sync += self.o_busy.eq(0)

        # A token's earlier blocks are kept until its last one comes; they are read while that one is registered.
        current = Signal(16 * self.rows, reset_less=True)
        group = Signal.like(self.i_group, reset_less=True)
        token = Signal(self.token_shape, reset_less=True)
        last = Signal(reset_less=True)
        complete = Signal()
        m.d.sync += [
            current.eq(Value.cast(self.i_logits)),
            group.eq(self.i_group),
            token.eq(self.i_token),
            last.eq(self.i_last),
            complete.eq(self.i_valid & self.i_last_group),
        ]
        blocks: list[Value] = []
        for g in range(self.groups):
            if g == self.groups - 1:  # it is the last one for sure
                blocks.append(current)
                continue
            kept: memory.Memory = memory.Memory(shape=16 * self.rows, depth=self.max_tokens, init=[])
            m.submodules[f"logits_{g}"] = kept
            write, read = kept.write_port(), kept.read_port()
            m.d.comb += [
                write.addr.eq(self.i_slot),
                write.data.eq(Value.cast(self.i_logits)),
                write.en.eq(self.i_valid & (self.i_group == g)),
                read.addr.eq(self.i_slot),
            ]
            blocks.append(Mux(group == g, current, read.data))
        m.d.comb += [
            gate.i_valid.eq(complete),
            Value.cast(gate.i_logits).eq(Cat(*blocks)),
            gate.i_mask.eq(mask),
            gate.i_top_k.eq(top_k),
            gate.i_kind.eq(kind),
            gate.i_shift.eq(shift),
            gate.i_tag.eq(Cat(token, last)),
            queues.i_clear.eq(start),
            queues.i_keep.eq(self.i_append),
            queues.i_valid.eq(gate.o_valid),
            queues.i_token.eq(gate.o_tag[:-1]),
            queues.i_last.eq(gate.o_tag[-1]),
            queues.i_index.eq(gate.o_index),
            queues.i_score.eq(gate.o_score),
            queues.i_top_k.eq(top_k),
            self.o_done.eq(queues.o_done),
            self.o_counts.eq(queues.o_counts),
            queues.q_expert.eq(self.q_expert),
            queues.q_slot.eq(self.q_slot),
            self.q_token.eq(queues.q_token),
            self.q_score.eq(queues.q_score),
        ]
        return m
