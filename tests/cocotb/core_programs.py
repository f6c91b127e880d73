"""Programs of a core: instructions, their words of the weight stream, and what the functional simulator makes of them.

Results go on into the residual memory, through a matrix that is the identity.
"""

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from moesaic.golden.layers.norm import NORM_FIELDS
from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import Function, Memory, Opcode, Stationary, Stream
from moesaic.hw.spec.legal import refusal
from moesaic.hw.spec.packing import packs
from moesaic.hw.spec.presets import PRESETS
from moesaic.hw.spec.tables import inverse_of_dim
from moesaic.sim.machine import Machine
from moesaic.sim.matmul import Matmul

__all__ = ["CONFIG", "HIDDEN", "INPUTS", "LANES", "RESIDUAL", "ROWS", "TOKENS", "Program", "begun", "norm_of"]

CONFIG = PRESETS["micro8"].replace(**json.loads(os.environ["CHANGES"]))
ROWS, LANES = CONFIG.rows, CONFIG.lanes
TOKENS, INPUTS = 13, 3  # words of a token
RESIDUAL = 4  # words of a token's residual
HIDDEN = 2000  # first word of hidden layers
DISTANCES = 1000  # and of what becomes probabilities
Fields = dict[str, int]


class Program:
    """Instructions and their words of the weight stream, and what they leave in the memories."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.machine = Machine(CONFIG, seed)
        self.instructions: list[int] = []
        self.words: list[int] = []
        self.known = -1  # youngest instruction that has retired

    def _add(self, opcode: Opcode, fields: Fields, data: bytes = b"", *, wait: bool = True) -> tuple[int, Fields]:
        index = len(self.instructions)
        if wait and index:
            fields = fields | {"feed_wait": 1, "load_wait": 1}
            self.known = index - 1
        encoded = isa.encode(opcode, fields)
        decoded = isa.decode(encoded)[1]
        assert refusal(opcode, decoded, CONFIG) is None, refusal(opcode, decoded, CONFIG)
        self.instructions.append(int.from_bytes(encoded, "little"))
        step = CONFIG.word_bytes
        self.words += [int.from_bytes(data[k : k + step], "little") for k in range(0, len(data), step)]
        return index, decoded

    def copy(self, memory: Memory, values: np.ndarray) -> None:
        """Fill a memory from its first word on."""
        data = values.astype("<i2" if memory is Memory.RESIDUAL else np.int8).tobytes()
        data = data.ljust(-(-len(data) // CONFIG.word_bytes) * CONFIG.word_bytes, b"\0")
        self._add(Opcode.COPY, {"memory": memory, "words": len(data) // CONFIG.word_bytes}, data)
        tracked = self.machine.residual if memory is Memory.RESIDUAL else self.machine.activation
        words = np.frombuffer(data, "<i2" if memory is Memory.RESIDUAL else np.uint8).reshape(-1, LANES)
        tracked.words[: len(words)] = words

    def norm(self, fields: Fields) -> None:
        _, decoded = self._add(Opcode.NORM, fields)
        self.machine.norm = {name: decoded[name] for name in NORM_FIELDS}

    def matmul(
        self, fields: Fields, weights: np.ndarray, bias: np.ndarray, mult: np.ndarray, *, wait: bool = True
    ) -> None:
        """`weights` [outputs, words of inputs * lanes], `bias`, `mult` [outputs]; padded to whole blocks."""
        blocks, in_blocks = -(-fields["out_count"] // ROWS), fields["in_blocks"]
        data = b""
        for block in range(blocks):
            rows = slice(block * ROWS, (block + 1) * ROWS)
            head = b"".join(
                int(b).to_bytes(4, "little", signed=True) + int(s).to_bytes(2, "little")
                for b, s in zip(bias[rows], mult[rows], strict=True)
            )
            data += head.ljust(CONFIG.param_words * CONFIG.word_bytes, b"\0")
            tiles = weights[rows].reshape(ROWS, in_blocks, LANES).transpose(1, 0, 2).astype(np.int8)
            if fields.get("narrow"):
                pairs = tiles.view(np.uint8).reshape(-1, 2, CONFIG.load_rows * LANES) & 15
                tiles = pairs[:, 0] | pairs[:, 1] << 4
            data += tiles.tobytes()
        self._run(fields, data, wait=wait)

    def _run(self, fields: Fields, data: bytes = b"", *, wait: bool = True) -> None:
        index, decoded = self._add(Opcode.MATMUL, fields, data, wait=wait)
        matmul = Matmul(self.machine, index, decoded, loaded=self.known, fed=self.known)
        assert matmul.count
        matmul.run(np.array(bytearray(data), np.uint8))

    def identity(self, target: int, channels: int, wide: bool, expert: Fields, token_fields: Fields) -> None:
        """ADD the hidden layer to residual words from `target` on."""
        words = -(-channels // LANES)
        planes = 1 + wide
        weights = np.tile(np.eye(-(-channels // ROWS) * ROWS, words * LANES, dtype=int), (1, planes))
        fields = {
            "function": Function.ADD,
            "stream": Stream.ACTIVATION,
            "out_count": channels,
            "in_blocks": planes * words,
            "src_addr": HIDDEN,
            "src_stride": RESIDUAL,
            "dst_addr": target,
            "dst_stride": RESIDUAL,
            "residual_shift": 7 if wide else 0,  # what came before shows, too
            "fresh": int(not expert),
            "wide_stream": int(wide),
            "shift_block": words if wide else 0,
            "post_shift": 15,
        }
        count = len(weights)
        self.matmul(fields | token_fields | expert, weights, np.zeros(count, int), np.ones(count, int))

    def layer(self, function: Function, *, gated: bool, wide: bool, expert: Fields) -> None:
        """A hidden layer of random weights, whose results reach every code from afar to near zero."""
        rng = self.rng
        pairs, last = int(rng.integers(1, RESIDUAL * LANES // ROWS + 1)), int(rng.integers(1, ROWS + 1))
        hidden = (pairs - 1) * ROWS + last
        outputs = (2 * pairs - 1) * ROWS + last if gated else hidden
        blocks = -(-outputs // ROWS) * ROWS
        squared = gated or function is Function.RELU2
        shifts = (12, 16) if wide else (17, 22)
        token_fields = {} if expert else {"token_count": TOKENS - int(rng.integers(3))}
        fields = {
            "function": function,
            "stream": Stream.ACTIVATION,
            "out_count": outputs,
            "in_blocks": INPUTS,
            "src_stride": INPUTS,
            "dst_memory": Memory.ACTIVATION,
            "dst_addr": HIDDEN,
            "dst_stride": RESIDUAL,
            "shift": 16,
            "scalar": int(rng.integers(1 << 14, 1 << 16)),
            "post_shift": int(rng.integers(*shifts)) - (0 if not squared else 1),
            "gated": int(gated),
            "wide_result": int(wide),
        }
        weights = rng.integers(-128, 128, (blocks, INPUTS * LANES))
        mult = (2 ** rng.uniform(9, 16, blocks)).astype(int)
        bias = rng.integers(-3000, 3000, blocks)
        self.matmul(fields | token_fields | (expert and expert | {"gather": 1}), weights, bias, mult, wait=bool(expert))
        self.identity(0, hidden, wide, expert, token_fields)

    def keys_and_values(self, keys: int) -> None:
        """Of the first `keys` tokens, three words each: keys of two words, values of one."""
        rng, count = self.rng, 3 * LANES
        fields = {"function": Function.INT8, "stream": Stream.ACTIVATION, "token_count": keys, "shift": 24}
        fields |= {"in_blocks": INPUTS, "src_stride": INPUTS, "dst_memory": Memory.KV, "dst_stride": 3}
        weights = rng.integers(-128, 128, (count, INPUTS * LANES))
        self.matmul(fields | {"out_count": count}, weights, np.zeros(count, int), np.full(count, 1 << 14))

    def scores(self, head: Fields, keys: int, *, first: int = DISTANCES, wait: bool = True) -> None:
        """SOFTMAX of a head, to words from `first` on; an odd group if it packs, for that is the one before."""
        fields: Fields = {"function": Function.SOFTMAX, "stream": Stream.ACTIVATION, "stationary": Stationary.KEYS}
        fields |= {"out_count": keys, "src_stride": INPUTS, "dst_addr": first, "dst_stride": -(-keys // LANES)}
        fields |= {"kv_stride": 3, "scalar": 1 << 15, **head}
        self._run(fields | {"group": int(packs(fields, CONFIG))}, wait=wait)

    def context(self, head: Fields, keys: int, *, first: int = DISTANCES, wait: bool = True) -> None:
        """ATTEND of a head, into the hidden layer."""
        words = -(-keys // LANES)
        fields: Fields = {"function": Function.ATTEND, "stream": Stream.PROBABILITY, "stationary": Stationary.VALUES}
        fields |= {"out_count": LANES, "key_count": keys, "kv_addr": 2, "kv_stride": 3}
        fields |= {"src_addr": first, "src_stride": words, "dst_addr": HIDDEN, "dst_stride": RESIDUAL}
        self._run(fields | head | {"in_blocks": words, "scalar": 1 << 15, "shift": 14}, wait=wait)

    def attention(self, keys: int, extra: int) -> None:
        """All tokens to `keys` of them, and to the next one as an `extra` key; keys of two words."""
        self.keys_and_values(keys + extra)
        head = {"token_count": TOKENS, "token_base": int(self.rng.integers(CONFIG.max_tokens))}
        head |= {"in_blocks": 2, "lane_low": 0, "lane_count": LANES, "extra": extra, "shift": 19}
        self.scores(head, keys)
        self.context(head, keys)
        self.identity(0, LANES, False, {}, {"token_count": TOKENS})

    def heads(self, keys: int, lanes: Sequence[tuple[int, int]], *, tokens: int) -> None:
        """Heads of less than a word, each given by its first lane and their number, with no wait between them."""
        self.keys_and_values(keys)
        for step in (self.scores, self.context):
            for number, (low, count) in enumerate(lanes):
                head = {"token_count": tokens, "token_base": number * TOKENS, "lane_low": low, "lane_count": count}
                head |= {"in_blocks": 1, "shift": 18}
                step(head, keys, first=DISTANCES + 100 * number, wait=number == 0)
        self.identity(0, LANES, False, {}, {"token_count": tokens})

    def route(self, first: int = 0) -> None:
        """Tokens from `first` on to experts, at random; behind those that wait there, if it is not 0."""
        experts = CONFIG.experts
        fields = {
            "function": Function.ROUTE,
            "stream": Stream.ACTIVATION,
            "out_count": experts,
            "in_blocks": INPUTS,
            "src_addr": first * INPUTS,
            "src_stride": INPUTS,
            "token_base": first,
            "token_count": TOKENS,
            "append": int(first > 0),
            "top_k": CONFIG.max_top_k,
            "post_shift": 2,
            "shift": 18,
        }
        weights = self.rng.integers(-128, 128, (experts, INPUTS * LANES))
        self.matmul(fields, weights, np.zeros(experts, int), np.full(experts, 1 << 14))


def begun(seed: int, tokens: int = TOKENS) -> Program:
    """Tokens in the activation memory, numbers in the residual."""
    program: Any = Program(seed)
    program.copy(Memory.ACTIVATION, program.rng.integers(-128, 128, (tokens * INPUTS + 1, LANES)))
    program.copy(Memory.RESIDUAL, program.rng.integers(-(1 << 15), 1 << 15, (tokens * RESIDUAL, LANES)))
    return program


def norm_of(channels: int) -> Fields:
    """A norm that brings residuals of any size to numbers of 8 bits."""
    inverse = dict(zip(("inv_dim", "inv_dim_shift"), inverse_of_dim(channels), strict=True))
    return {"dim": channels, "scale": 1 << 15, "shift": 8, "epsilon": 5 * channels, **inverse}
