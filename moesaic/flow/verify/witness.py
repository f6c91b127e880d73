"""Legal programs that show what they compute: all that they leave in the activation memory is added to the residual,
and scales are such that the last bit of a table, a norm or a probability counts.
"""

from moesaic.flow.verify.drawing import ACTIVATIONS
from moesaic.flow.verify.legal_programs import RandomDrawing
from moesaic.hw.spec.functions import FUNCTIONS, functions_of
from moesaic.hw.spec.isa import Function, Memory, Stationary, Stream

__all__ = ["FineDrawing", "Witness"]

TOKENS = 48  # a word each: the residual that a program stores
PLACE = ACTIVATIONS  # of results that are added at once
LARGE, SMALL = 15, 18  # shifts: sums beyond what a table has, and mostly within
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
