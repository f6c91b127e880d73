"""The queues of tokens, one per expert, that a mixture's matrices are applied to."""

from amaranth.hdl import Array, Const, Module, Shape, Signal, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ExpertQueues"]


class ExpertQueues(wiring.Component):
    """Appends routed tokens to the queues of their experts, in order, and reads the queues.

    Takes a routed token every cycle; appends one of its `i_top_k` experts per cycle, so that tokens wait in a buffer as
    deep as an instruction is long. Reads take one cycle. Queues are empty after reset; the memory is not reset.

    Parameters
    ----------
    experts : int
    max_tokens : int
        Depth of each queue, and the most tokens from one `i_clear` to the next.
    max_top_k : int
        Experts per token.

    Members
    -------
    i_clear : In(1)
        Start anew: empty all queues, unless `i_keep`; not while tokens are being appended.
    i_keep : In(1)
    i_valid : In(1)
    i_token : In(range(max_tokens))
    i_last : In(1), no more tokens until the next clear
    i_index : In([max_top_k] range(experts))
    i_score : In([max_top_k] unsigned(16))
    i_top_k : In(range(max_top_k + 1)), stable until `o_done`; 1 at least
    o_done : Out(1), high for one cycle once the queues hold the last token
    o_counts : Out([experts] range(max_tokens + 1)), tokens in each queue
    q_expert, q_slot : In, address of a read
    q_token, q_score : Out, its data, one cycle later

    Raises
    ------
    ValueError
        If a size is too small.
    """

    LATENCY = 4  # cycles from the first token to `o_done`, beyond one cycle for each entry

    i_clear: Signal
    i_keep: Signal
    i_valid: Signal
    i_token: Signal
    i_last: Signal
    i_index: data.View
    i_score: data.View
    i_top_k: Signal
    o_done: Signal
    o_counts: data.View
    q_expert: Signal
    q_slot: Signal
    q_token: Signal
    q_score: Signal

    def __init__(self, *, experts: int, max_tokens: int, max_top_k: int) -> None:
        if experts < 2:
            raise ValueError(f"experts must be 2 or more, not {experts!r}")
        if max_tokens < 2:
            raise ValueError(f"max_tokens must be 2 or more, not {max_tokens!r}")
        if not 1 <= max_top_k <= experts:
            raise ValueError(f"max_top_k must be between 1 and experts ({experts}), not {max_top_k!r}")
        self.experts, self.max_tokens, self.max_top_k = experts, max_tokens, max_top_k
        expert, token = Shape.cast(range(experts)), Shape.cast(range(max_tokens))
        count = Shape.cast(range(max_tokens + 1))
        self.routed = data.StructLayout(
            {
                "token": token,
                "last": 1,
                "index": data.ArrayLayout(expert, max_top_k),
                "score": data.ArrayLayout(unsigned(16), max_top_k),
            }
        )
        self.entry = data.StructLayout({"token": token, "score": 16})
        super().__init__(
            {
                "i_clear": In(1),
                "i_keep": In(1),
                "i_valid": In(1),
                "i_token": In(token),
                "i_last": In(1),
                "i_index": In(data.ArrayLayout(expert, max_top_k)),
                "i_score": In(data.ArrayLayout(unsigned(16), max_top_k)),
                "i_top_k": In(range(max_top_k + 1)),
                "o_done": Out(1),
                "o_counts": Out(data.ArrayLayout(count, experts)),
                "q_expert": In(expert),
                "q_slot": In(token),
                "q_token": Out(token),
                "q_score": Out(16),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()

        # Tokens wait here. It is as deep as an instruction is long, so it never wraps and is never full.
        buffer: memory.Memory = memory.Memory(shape=self.routed, depth=self.max_tokens, init=[])
        m.submodules.buffer = buffer
        put, take = buffer.write_port(), buffer.read_port()
        written = Signal(range(self.max_tokens + 1))
        taken = Signal(range(self.max_tokens + 1))
        m.d.comb += [
            put.addr.eq(written),
            put.en.eq(self.i_valid),
            put.data.token.eq(self.i_token),
            put.data.last.eq(self.i_last),
            put.data.index.eq(self.i_index),
            put.data.score.eq(self.i_score),
        ]

        # One rank per cycle; the next token is read while the last rank of this one is appended.
        active = Signal()
        rank = Signal(range(self.max_top_k))
        last_rank = Signal()  # judged a cycle ahead
        single = Signal()
        fetch = Signal()
        m.d.sync += single.eq(self.i_top_k <= 1)
        m.d.comb += [
            fetch.eq((written != taken) & (~active | last_rank)),
            take.addr.eq(taken),
            take.en.eq(fetch),
        ]
        with m.If(self.i_valid):
            m.d.sync += written.eq(written + 1)
        with m.If(fetch):
            m.d.sync += [taken.eq(taken + 1), active.eq(1), rank.eq(0), last_rank.eq(single)]
        with m.Elif(active):
            m.d.sync += [active.eq(~last_rank), rank.eq(rank + 1), last_rank.eq(rank + 2 >= self.i_top_k)]
        with m.If(self.i_clear):
            m.d.sync += [written.eq(0), taken.eq(0)]

        # Three stages: choose the rank; place it; write it.
        chosen = Signal(range(self.experts), reset_less=True)
        place = Signal(range(self.experts * self.max_tokens), reset_less=True)
        entry = data.View(self.entry, Signal(self.entry.size, name="entry", reset_less=True))
        placed = data.View(self.entry, Signal(self.entry.size, name="placed", reset_less=True))
        choose_valid = Signal()
        place_valid = Signal()
        choose_last = Signal()
        place_last = Signal()
        ranks = range(self.max_top_k)
        m.d.sync += [
            choose_valid.eq(active),
            choose_last.eq(active & last_rank & take.data.last),
            chosen.eq(Array([take.data.index[j] for j in ranks])[rank]),
            entry.token.eq(take.data.token),
            entry.score.eq(Array([take.data.score[j] for j in ranks])[rank]),
            place_valid.eq(choose_valid),
            place_last.eq(choose_last),
            placed.eq(entry),
            self.o_done.eq(place_last),
        ]
        bases = Array([Const(e * self.max_tokens, range(self.experts * self.max_tokens)) for e in range(self.experts)])
        counts = [Signal(range(self.max_tokens + 1), name=f"count_{e}") for e in range(self.experts)]
        m.d.sync += place.eq(bases[chosen] + Array(counts)[chosen])
        for e in range(self.experts):
            with m.If(self.i_clear & ~self.i_keep):
                m.d.sync += counts[e].eq(0)
            with m.Elif(choose_valid & (chosen == e)):
                m.d.sync += counts[e].eq(counts[e] + 1)
            m.d.comb += self.o_counts[e].eq(counts[e])

        # A memory for each part: fewer blocks side by side, and less to choose from behind them.
        address = Signal(range(self.experts * self.max_tokens))
        m.d.comb += address.eq(bases[self.q_expert] + self.q_slot)
        for name, out in (("token", self.q_token), ("score", self.q_score)):
            queues: memory.Memory = memory.Memory(
                shape=self.entry.members[name],
                depth=self.experts * self.max_tokens,
                init=[],
                attrs={"ram_style": "block"},
            )
            m.submodules[f"{name}s"] = queues
            append, read = queues.write_port(), queues.read_port()
            m.d.comb += [
                append.addr.eq(place),
                append.en.eq(place_valid),
                append.data.eq(placed[name]),
                read.addr.eq(address),
                out.eq(read.data),
            ]
        return m
