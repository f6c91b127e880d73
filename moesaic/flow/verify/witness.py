"""Legal programs that show what they compute: all that they leave in the activation memory is added to the residual,
and scales are such that the last bit of a table, a norm or a probability counts.
"""

import itertools

import numpy as np

from moesaic.flow.verify.drawing import ACTIVATIONS, RESIDUAL_WORDS
from moesaic.flow.verify.legal_programs import RandomDrawing
from moesaic.golden.numerics import Array
from moesaic.hw.spec.functions import FUNCTIONS, functions_of
from moesaic.hw.spec.isa import Function, Memory, Stationary, Stream

__all__ = ["FineDrawing", "ScaledDrawing", "Witness"]

TOKENS = 48  # a word each: the residual that a program stores
PLACE = ACTIVATIONS  # of results that are added at once
LARGE, SMALL = 15, 18  # shifts: sums beyond what a table has, and mostly within
SHIFTS = (*range(16), 18, 21, 24, 28, 32, 36, 42, 62)  # one after the other
SCALES = (13, 15, 17)  # post-shifts of a scalar of one: bits of an activation behind a byte's, and before


class Witness(RandomDrawing):
    """A random program behind which words of the activation memory are added to the residual."""

    def add_words(self, place: int, words: int, *, each: int = 1, shift: int = 18, residual_shift: int = 0) -> None:
        """Add `words` vectors of `each` words to the residual, one to each token."""
        fields = {"stream": Stream.ACTIVATION, "src_addr": place, "src_stride": each, "in_blocks": each}
        fields |= {"token_count": words, "out_count": self.config.lanes, "dst_stride": 1, "fresh": 1}
        fields |= {"shift": shift, "residual_shift": residual_shift}
        self.matmul("ADD seen", function=Function.ADD, **fields)

    def see(self) -> None:
        """Add all of the activation memory that programs use."""
        for place in range(0, ACTIVATIONS, TOKENS):
            self.add_words(place, min(TOKENS, ACTIVATIONS - place))

    def end(self) -> None:
        self.see()
        super().end()


class FineDrawing(Witness):
    """Curves, norms and attention, each of many values at once, and seen at once."""

    def curve(self, function: Function, shift: int, post_shift: int) -> None:
        """An activation function of three blocks of outputs."""
        blocks = 3
        fields = {"stream": Stream.ACTIVATION, "src_addr": self.rng.randrange(ACTIVATIONS - TOKENS), "src_stride": 1}
        fields |= {"in_blocks": 1, "token_count": TOKENS, "out_count": blocks * self.config.rows, "shift": shift}
        fields |= {"scalar": 1 << 15, "post_shift": post_shift}
        fields |= {"dst_memory": Memory.ACTIVATION, "dst_addr": PLACE, "dst_stride": blocks}
        self.matmul(function.name, function=function, **fields)
        self.add_words(PLACE, TOKENS, each=blocks)

    def curves(self) -> None:
        """Every curve, around zero and far from it, in coarse and fine steps."""
        for function in functions_of(self.config):
            if FUNCTIONS[function].activation is not None:
                for shift, post_shift in zip((LARGE, SMALL, SMALL), SCALES, strict=True):
                    self.curve(function, shift, post_shift)

    def norms(self) -> None:
        """Normalised vectors of large and of small values with all their bits."""
        lanes = self.config.lanes
        places: list[int] = []
        for size in (18, 21, 24, 27):
            for _ in range(2):  # so that nothing remains of larger ones
                self.add_words(0, TOKENS, shift=size, residual_shift=7)
            self._norm(lanes)
            for shift in (20, 23, 26):
                places.append(PLACE + len(places) * TOKENS)
                fields = {"stream": Stream.NORMALISED, "src_stride": 1, "token_count": TOKENS, "in_blocks": 2}
                fields |= {"wide_stream": 1, "shift_block": 1, "out_count": lanes, "shift": shift}
                fields |= {"dst_memory": Memory.ACTIVATION, "dst_addr": places[-1], "dst_stride": 1}
                self.matmul("INT8 normalised", function=Function.INT8, **fields)
        for place in places:
            self.add_words(place, TOKENS)

    def attention(self, keys: int, extra: int, shift: int) -> None:
        """Attention of which scores lie far from one another, or near."""
        lanes, queries = self.config.lanes, 24
        blocks = -(-(keys - extra) // lanes)
        low = self.rng.randrange(lanes)
        common = {"lane_low": low, "lane_count": self.rng.randint(1, lanes - low), "extra": extra, "kv_stride": 1}
        common |= {"token_count": queries, "token_base": self.rng.randrange(self.config.max_tokens)}
        source = {"stream": Stream.ACTIVATION, "src_addr": self.rng.randrange(ACTIVATIONS - queries), "src_stride": 1}
        scores = {"stationary": Stationary.KEYS, "in_blocks": 1, "out_count": keys - extra, "scalar": 1 << 15}
        scores |= {"shift": shift, "dst_addr": PLACE, "dst_stride": blocks}
        self.matmul("SOFTMAX", function=Function.SOFTMAX, **source, **common, **scores)
        fields = {"stationary": Stationary.VALUES, "stream": Stream.PROBABILITY, "out_count": lanes, "shift": 4}
        fields |= {"in_blocks": blocks, "key_count": keys - extra, "src_addr": PLACE, "src_stride": blocks}
        fields |= {"scalar": 1 << 14, "dst_memory": Memory.ACTIVATION, "dst_addr": 0, "dst_stride": 1}
        self.matmul("ATTEND", function=Function.ATTEND, **common, **fields)
        self.add_words(0, queries)

    def heads(self) -> None:
        """Attention with and without another key, and a last block that is full or not."""
        for keys, extra, shift in ((40, 0, 20), (25, 1, 13), (14, 0, 15), (33, 1, 18)):
            self.attention(keys, extra, shift)
        for keys in (2, 3, 5, 9, 17):
            for shift in (15, 16, 17):
                self.attention(keys, 1, shift)

    def end(self) -> None:
        RandomDrawing.end(self)


class ScaledDrawing(FineDrawing):
    """Every shift, with biases and multipliers of all sizes: results of which the last bits count, and saturated ones
    on both sides.
    """

    favoured: int | None = None  # outputs of the next matrix are all 0, but for this one, which is large; -1: all are

    def scales(self, rows: int) -> tuple[Array, Array]:
        if self.favoured is not None:
            largest = np.arange(rows) == self.favoured
            return largest * (1 << 20), largest * 65535
        sizes = self.numbers.integers(0, self.config.acc_bits - 1, rows)
        biases = self.numbers.integers(-(1 << 30), 1 << 30, rows) >> 31 - sizes
        return biases, self.numbers.integers(0, 1 << 16, rows) >> self.numbers.integers(0, 16, rows)

    def shifts(self) -> None:
        """Sums that are shifted by any number of bits, each to some tokens of the residual."""
        lanes, tokens = self.config.lanes, RESIDUAL_WORDS // len(SHIFTS)
        for place, shift in enumerate(SHIFTS):
            fields = {
                "stream": Stream.ACTIVATION,
                "in_blocks": 1,
                "token_count": tokens,
                "out_count": lanes,
                "dst_stride": 1,
                "fresh": 1,
            }
            fields |= {"src_stride": 1, "src_addr": self.rng.randrange(ACTIVATIONS - tokens)}
            fields |= {"shift": shift, "residual_shift": place % 8, "dst_addr": place * tokens}
            fields |= {"token_base": place * tokens}
            self.matmul("ADD shifted", function=Function.ADD, **fields)

    def rescales(self) -> None:
        """Curves whose results are multiplied by scalars of all sizes, and shifted by any number of bits."""
        functions = [f for f in functions_of(self.config) if FUNCTIONS[f].activation is not None]
        for post_shift in range(32):
            function = functions[post_shift % len(functions)]
            fields = {"stream": Stream.ACTIVATION, "src_addr": self.rng.randrange(ACTIVATIONS - 4), "src_stride": 1}
            fields |= {"in_blocks": 1, "token_count": 4, "out_count": self.config.rows, "shift": 4 + post_shift % 20}
            fields |= {"scalar": (1 << 16) - 1 >> self.rng.randrange(16), "post_shift": post_shift}
            fields |= {"dst_memory": Memory.ACTIVATION, "dst_addr": PLACE + 4 * post_shift, "dst_stride": 1}
            self.matmul(function.name, function=function, **fields)
        for place in range(0, 4 * 32, TOKENS):
            self.add_words(PLACE + place, min(TOKENS, 4 * 32 - place))

    def equals(self) -> None:
        """Attention to keys that all weigh the same, as much as one can, which add up to large sums."""
        for keys, extra in ((8, 0), (40, 0), (33, 1), (25, 1)):
            self.attention(keys, extra, 62)

    def ties(self) -> None:
        """Routers for which all experts are the same, and what large results make of their scores."""
        tokens, common = 8, {"src_stride": 1, "in_blocks": 1, "stream": Stream.ACTIVATION}
        added = {"out_count": self.config.lanes, "dst_stride": 1, "token_count": tokens, "token_base": 0}
        for place, (kind, top_k) in enumerate(itertools.product(range(2), range(1, self.config.max_top_k + 1))):
            added |= {"dst_addr": place * tokens}
            source = {**common, "src_addr": self.rng.randrange(ACTIVATIONS - tokens)}
            self.matmul("ADD fresh", function=Function.ADD, fresh=1, shift=30, **source, **added)
            self.favoured = -1
            route = {"out_count": self.config.experts, "top_k": top_k, "gate_kind": kind, "token_count": tokens}
            self.matmul("ROUTE", function=Function.ROUTE, shift=1, **source, **route)
            self.favoured = None
            self.routed = (len(self.fields) - 1, 0, tokens)
            for expert in range(top_k):
                for shift, post_shift in ((12, 15), (14, 16), (16, 14)):
                    fields = {**source, **added, "shift": shift, "post_shift": post_shift, "residual_shift": 1}
                    fields |= {"expert_valid": 1, "expert": expert}
                    self.matmul("expert ADD", function=Function.ADD, **fields)

    def crowd(self, expert: int, tokens: int, *, append: int = 0, base: int = 0) -> None:
        """A router that sends tokens to one expert."""
        self.favoured = expert
        fields = {"stream": Stream.ACTIVATION, "src_addr": 0, "src_stride": 1, "in_blocks": 1, "token_count": tokens}
        fields |= {"out_count": self.config.experts, "top_k": 1, "gate_kind": 1, "shift": 20, "append": append}
        self.matmul("ROUTE", function=Function.ROUTE, **fields, token_base=base)
        self.favoured = None
        self.routed = (len(self.fields) - 1, base, tokens)

    def expert_add(self, expert: int) -> None:
        """What an expert adds to its tokens, which lie one behind the other from the first word on."""
        fields = {"stream": Stream.ACTIVATION, "src_addr": 0, "src_stride": 1, "in_blocks": 1, "post_shift": 16}
        fields |= {"out_count": self.config.lanes, "dst_stride": 1, "shift": 14}
        self.matmul("expert ADD", function=Function.ADD, expert_valid=1, expert=expert, **fields)

    def crowds(self) -> None:
        """As many tokens as a power of two, each of them for every expert; then those of two routers together."""
        most = 1 << self.config.max_tokens.bit_length() - 1
        self.copy(Memory.RESIDUAL, RESIDUAL_WORDS, (most - RESIDUAL_WORDS) * 2 // self.config.load_rows)
        fields = {"stream": Stream.ACTIVATION, "src_addr": 0, "src_stride": 1, "in_blocks": 1, "token_count": most}
        self.matmul(
            "ADD fresh", function=Function.ADD, fresh=1, shift=20, out_count=self.config.lanes, dst_stride=1, **fields
        )
        for expert in range(self.config.experts):
            for bit in range(most.bit_length()):
                self.crowd(expert, 1 << bit)
                self.expert_add(expert)
        for expert in range(self.config.experts):
            self.crowd(expert, 4)
            self.crowd(expert, 4, append=1, base=4)
            self.expert_add(expert)
