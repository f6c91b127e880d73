"""Legal programs drawn at random: every instruction has a meaning, waits for what it needs, and reads what was
written.
"""

import random

import numpy as np

from moesaic.flow.verify.drawing import ACTIVATIONS, KEYS, RESIDUAL_WORDS, Drawing, LegalProgram, Tokens, Weights
from moesaic.golden.layers.norm import NORM_FIELDS, QuantNorm
from moesaic.hw.spec import isa
from moesaic.hw.spec.functions import FUNCTIONS, functions_of
from moesaic.hw.spec.isa import Function, Memory, Opcode, Stationary, Stream
from moesaic.hw.spec.legal import RULES
from moesaic.hw.spec.packing import packs
from moesaic.hw.spec.rules import Paired
from moesaic.sim.machine import ProgramError

__all__ = ["RESIDUAL_WORDS", "LegalProgram", "RandomDrawing", "Weights", "draw_program"]


class RandomDrawing(Drawing):
    """A program whose instructions are drawn."""

    def _scaled(self) -> dict[str, int]:
        """How sums of some ten thousand become results."""
        return {"shift": self.rng.choice((14, 17, 18, 19, 20, 21, 22, 24, 27))}

    def _source(self, words: int) -> dict[str, int]:
        """Vectors of `words` words somewhere in the activation memory."""
        stride = self.rng.choice((words, words, words + 1, self.rng.randint(0, 6)))
        count = self.rng.choice((1, 2, self.rng.randint(1, 24), self.rng.randint(1, 24)))
        count = min(count, 1 + (ACTIVATIONS - words) // max(1, stride))
        address = self.rng.randint(0, ACTIVATIONS - (count - 1) * stride - words)
        return {
            "stream": Stream.ACTIVATION,
            "src_addr": address,
            "src_stride": stride,
            "token_count": count,
            "token_base": self.rng.randint(0, 40),
            "in_blocks": words,
        }

    def _normalised(self) -> tuple[Tokens, dict[str, int]]:
        """Some tokens with sums, read through a norm; a NORM before it where the last is for others."""
        group = self.rng.choice(self.tokens)
        if self.norm != group.channels or self.rng.random() < 0.3:
            self._norm(group.channels)
        first = self.rng.randrange(group.count)
        count = self.rng.randint(1, group.count - first)
        return group, {
            "stream": Stream.NORMALISED,
            "src_addr": group.address + first * group.stride,
            "src_stride": group.stride,
            "token_count": count,
            "token_base": group.base + first,
            "in_blocks": group.words,
        }

    def _norm(self, channels: int) -> None:
        value = channels * 2.0 ** self.rng.uniform(-1, 3)
        shift = 15 - int(np.floor(np.log2(value)))
        norm = QuantNorm(
            "norm",
            channels,
            min(65535, round(value * 2**shift)),
            max(0, shift - 4),
            self.rng.choice((1, 1, self.rng.randrange(1, 1 << 24))),
            1.0,
            self.rng.random() < 0.7,
        )
        self.machine.forget()
        self.machine.norm = {name: norm.fields[name] for name in NORM_FIELDS}
        self.finish(Opcode.NORM, norm.fields, "NORM")
        self.norm = channels

    def _inputs(self) -> dict[str, int]:
        if self.tokens and self.rng.random() < 0.5:
            fields = self._normalised()[1]
            if self.rng.random() < 0.3:
                plane = fields["in_blocks"]
                fields |= {"wide_stream": 1, "in_blocks": 2 * plane, "shift_block": plane}
            return fields
        return self._source(self.rng.choice((1, 1, 2, 3, 4)))

    def _written(self, count: int, blocks: int, *, keys: bool) -> dict[str, int]:
        """A place for results of so many vectors."""
        room = KEYS if keys else ACTIVATIONS
        stride = blocks + self.rng.choice((0, 0, 1))
        if count * stride > room:
            stride = blocks
        return {
            "dst_memory": Memory.KV if keys else Memory.ACTIVATION,
            "dst_addr": self.rng.randint(0, max(0, room - count * stride)),
            "dst_stride": stride,
        }

    def _function(self) -> dict[str, int]:
        """What becomes of outputs that are written: a function with as many outputs as that takes."""
        function = self.rng.choice((Function.INT8, *functions_of(self.config)))
        use, rows = FUNCTIONS[function], self.config.rows
        outputs = self.rng.choice((rows, 2 * rows, self.rng.randint(1, 3 * rows)))
        fields = {"function": function, "out_count": outputs, **self._scaled()}
        if use.activation is not None:
            fields |= {"scalar": self.rng.randrange(1, 65536), "post_shift": self.rng.randint(4, 22)}
        if use.gate and self.rng.random() < 0.3:
            fields |= {_GATE: 1, "out_count": (2 * -(-outputs // rows) - 1) * rows + 1 + (outputs - 1) % rows}
        return fields | ({"narrow": 1} if self.rng.random() < 0.25 else {})

    def hidden(self) -> None:
        """A matrix whose results are written as bytes."""
        fields = self._inputs() | self._function()
        pairs = -(-fields["out_count"] // self.config.rows) // (1 + fields.get(_GATE, 0))
        keys = self.rng.random() < 0.3
        fields |= self._written(fields["token_count"], pairs, keys=keys)
        if keys and fields["stream"] == Stream.NORMALISED and fields["function"] == Function.INT8:
            words = fields.get("shift_block") or fields["in_blocks"]
            if self.rng.random() < 0.5 and fields["token_count"] * words <= ACTIVATIONS:
                most = ACTIVATIONS - fields["token_count"] * words
                fields |= {"tap": 1, "tap_addr": self.rng.randint(0, most)}
        self.matmul(Function(fields["function"]).name, **fields)

    def add(self) -> None:
        """A matrix that is added to the residual: to tokens with sums, or to any, whose sums begin then."""
        fields = self._source(self.rng.choice((1, 2, 3)))
        known = [group for group in self.tokens if group.count >= 1]
        lanes = self.config.lanes
        common = {"function": Function.ADD, "residual_shift": self.rng.choice((0, 0, 0, 1, 3)), **self._scaled()}
        if known and self.rng.random() < 0.5:
            group = self.rng.choice(known)
            first = self.rng.randrange(group.count)
            count = min(self.rng.randint(1, group.count - first), fields["token_count"])
            fields |= {"token_count": count, "token_base": group.base + first}
            fields |= {"out_count": self.rng.choice((group.channels, self.rng.randint(1, group.channels)))}
            fields |= {"dst_addr": group.address + first * group.stride, "dst_stride": group.stride}
            self.matmul("ADD", **common, **fields)
            return
        words = self.rng.choice((1, 1, 2, 3))
        stride = words + self.rng.choice((0, 0, 1))
        count = min(fields["token_count"], RESIDUAL_WORDS // stride)
        most = words * lanes
        channels = self.rng.choice((most, most, self.rng.randint(most - lanes + 1, most)))
        address = self.rng.randint(0, RESIDUAL_WORDS - count * stride)
        group = Tokens(fields["token_base"], count, address, stride, words, channels)
        fields |= {"token_count": count, "out_count": channels, "fresh": 1, "dst_addr": address, "dst_stride": stride}
        if self.rng.random() < 0.3:
            fields |= {"scalar": (self.rng.randint(0, RESIDUAL_WORDS - count * stride) - address) % (1 << 16)}
            common |= {"residual_shift": 0}
        self.matmul("ADD fresh", **common, **fields)
        self.tokens = [old for old in self.tokens if not old.touches(group)] + [group]

    def attend(self) -> None:
        """Scores of queries and keys, and soon after it the probabilities times values."""
        lanes, rng = self.config.lanes, self.rng
        words = rng.choice((1, 1, 2))
        stride = words + rng.choice((0, 1))
        keys = rng.randint(1, min(40, KEYS // stride))
        queries = self._source(words)
        extra = int(self.config.extra_key and keys > 1 and rng.random() < 0.4)
        blocks = -(-(keys - extra) // lanes)
        count = min(queries["token_count"], ACTIVATIONS // blocks)
        low = rng.choice((0, 0, rng.randrange(lanes)))
        head = {"lane_low": low, "lane_count": rng.choice((lanes - low, rng.randint(1, lanes - low)))}
        if self.config.packed_keys and rng.random() < 0.6:  # in one half of the lanes
            half = lanes // 2
            low = rng.choice((0, half, rng.randrange(lanes)))
            head = {"lane_low": low, "lane_count": rng.randint(1, half - low % half)}
        if words > 1:
            head = {"lane_low": 0, "lane_count": lanes}
        state = rng.randint(0, 2 * self.config.max_tokens - count)
        place = rng.randint(0, ACTIVATIONS - count * blocks)
        scores = queries | head | {"token_count": count, "token_base": state, "out_count": keys - extra}
        scores |= {"kv_addr": rng.randint(0, KEYS - (keys - 1) * stride - words), "kv_stride": stride}
        scores |= {
            "stationary": Stationary.KEYS,
            "extra": extra,
            "dst_addr": place,
            "dst_stride": blocks,
            "scalar": rng.randrange(1, 65536),
            **self._scaled(),
        }
        if packs(scores, self.config):
            scores |= {"group": rng.randrange(2)}  # of both it is the first pair
        self.matmul("SOFTMAX", function=Function.SOFTMAX, **scores)
        if rng.random() < 0.3:
            self.rng.choice((self.add, self.hidden))()
        wide = rng.choice((1, 1, 2, 3))
        width = wide + rng.choice((0, 1))
        if (keys - 1) * width + wide > KEYS:
            wide = width = 1
        fields = {
            "stationary": Stationary.VALUES,
            "stream": Stream.PROBABILITY,
            "function": Function.ATTEND,
            "out_count": wide * lanes,
            "in_blocks": blocks,
            "key_count": keys - extra,
            "extra": extra,
            "kv_addr": rng.randint(0, KEYS - (keys - 1) * width - wide),
            "kv_stride": width,
            "token_count": count,
            "token_base": state,
            "src_addr": place,
            "src_stride": blocks,
            "scalar": rng.randrange(1, 65536),
            "shift": rng.randint(0, 12),
            **head,
        }
        self.matmul("ATTEND", **fields, **self._written(count, wide, keys=rng.random() < 0.2))

    def mixture(self) -> None:
        """A router, and experts in any order, some of them not at all."""
        rng, config = self.rng, self.config
        groups = [g for g in self.tokens if g.address >= g.base * g.stride]
        if not groups:
            return self.add()
        group = rng.choice(groups)
        experts = rng.choice((config.experts, rng.randint(1, config.experts)))
        fields = self._source(rng.choice((1, 2)))
        count = min(group.count, fields["token_count"])
        fields |= {"token_base": group.base, "token_count": count}
        if rng.random() < 0.6:
            if self.norm != group.channels:
                self._norm(group.channels)
            fields |= {"stream": Stream.NORMALISED, "src_addr": group.address, "src_stride": group.stride}
            fields |= {"in_blocks": group.words}
            if rng.random() < 0.5 and count * group.words <= ACTIVATIONS:
                fields |= {"tap": 1, "tap_addr": rng.randint(0, ACTIVATIONS - count * group.words)}
        top_k = rng.randint(1, min(experts, config.max_top_k))
        route = {"out_count": experts, "top_k": top_k, "gate_kind": rng.randrange(2), "post_shift": rng.randrange(8)}
        again = self.routed is not None and rng.random() < 0.2
        self.matmul("ROUTE", function=Function.ROUTE, **fields, **route, append=int(again), **self._scaled())
        self.routed = (len(self.fields) - 1, group.base, count)
        if again:  # tokens of other groups may be in the queues
            return None
        for expert in rng.sample(range(config.experts), rng.randint(0, config.experts)):
            self._expert(expert, group, count)
        return None

    def _expert(self, expert: int, group: Tokens, count: int) -> None:
        """Hidden units, and what an expert adds; both or one."""
        rng = self.rng
        common = {"expert_valid": 1, "expert": expert, "speculative": rng.randrange(2)}
        hidden = None
        if rng.random() < 0.7:
            words, function = rng.choice((1, 2)), self._function()
            stride = words + rng.choice((0, 1))
            gather = rng.randrange(2)
            last = (group.base + count - 1 if gather else count - 1) * stride + words
            if last <= ACTIVATIONS:
                fields = {"gather": gather, "in_blocks": words, "src_stride": stride}
                fields |= {"src_addr": rng.randint(0, ACTIVATIONS - last)}
                pairs = -(-function["out_count"] // self.config.rows) // (1 + function.get(_GATE, 0))
                hidden = self._written(count, pairs, keys=False)
                self.matmul(f"expert {Function(function['function']).name}", **common, **fields, **function, **hidden)
        words = 1 if hidden is None else rng.randint(1, hidden["dst_stride"])
        fields = {"gather": 0, "in_blocks": words}
        stride = words if hidden is None else hidden["dst_stride"]
        place = rng.randint(0, max(0, ACTIVATIONS - count * stride)) if hidden is None else hidden["dst_addr"]
        if place + (count - 1) * stride + words > ACTIVATIONS:
            return
        fields |= {"src_addr": place, "src_stride": stride, "out_count": group.channels}
        fields |= {"dst_addr": group.address - group.base * group.stride, "dst_stride": group.stride}
        fields |= {"residual_shift": 0, "post_shift": rng.choice((14, 15, 16, 12)), "narrow": rng.randrange(2)}
        self.matmul("expert ADD", function=Function.ADD, **common, **fields, **self._scaled())

    def begin(self) -> None:
        """Something in every word that programs use."""
        config = self.config
        self.copy(Memory.RESIDUAL, 0, RESIDUAL_WORDS * 2 // config.load_rows)
        self.copy(Memory.ACTIVATION, 0, ACTIVATIONS // config.load_rows)
        words = -(-2 * config.rows // config.lanes)
        fields = {"src_addr": self.rng.randrange(64), "src_stride": 1, "in_blocks": 1, "token_count": KEYS // words}
        fields |= {"out_count": words * config.lanes, "dst_memory": Memory.KV, "dst_stride": words, "shift": 21}
        self.matmul("keys", function=Function.INT8, **fields)
        self.add()

    def end(self) -> None:
        """Marks, and every word of the residual stored once."""
        rng, count = self.rng, len(self.fields)
        late = max(i for i, (opcode, f) in enumerate(self.fields) if (opcode, f.get("memory")) == _INTO_RESIDUAL)
        self.program.marks = sorted(rng.sample(range(late + 1, count), 2))
        for index, (opcode, fields) in enumerate(self.fields):
            self.program.compute.append(isa.encode(opcode, {**fields, "mark": int(index in self.program.marks)}))
        cuts = sorted(rng.sample(range(1, RESIDUAL_WORDS), rng.randrange(4)))
        parts = list(zip([0, *cuts], [*cuts, RESIDUAL_WORDS], strict=True))
        rng.shuffle(parts)
        for low, high in parts:
            first = low if rng.random() < 0.7 else rng.randint(0, RESIDUAL_WORDS - (high - low))
            last = int(self.machine.residual.writer[first : first + high - low].max())
            wait = last + 1 if rng.random() < 0.7 else rng.randint(last + 1, count)
            fields = {"src_addr": first, "words": high - low, "offset": low * 2 * self.config.lanes, "wait": wait}
            self.program.store.append(isa.encode(Opcode.STORE, fields))


_GATE = next(name for rule in RULES[Opcode.MATMUL] if isinstance(rule.must, Paired) for name in rule.when)
_INTO_RESIDUAL = (Opcode.COPY, Memory.RESIDUAL)


def draw_program(rng: random.Random, weights: Weights, kind: type[RandomDrawing] = RandomDrawing) -> LegalProgram:
    """A program of up to some thirty instructions, by a class that says how; its weights are added to those of the
    simulation.
    """
    while True:
        drawing, before = kind(rng, weights), len(weights.data)
        try:
            drawing.begin()
            for _ in range(rng.choice((2, 4, 6, 9))):
                kinds = (drawing.hidden, drawing.hidden, drawing.add, drawing.attend, drawing.mixture)
                rng.choice(kinds)()
                if rng.random() < 0.1:
                    drawing.copy(Memory.ACTIVATION, rng.randrange(ACTIVATIONS // 2), rng.randint(1, 8))
                if rng.random() < 0.07:
                    drawing.copy(Memory.RESIDUAL, rng.randrange(RESIDUAL_WORDS - 8), rng.randint(1, 8))
            drawing.hidden()
            drawing.add()  # behind the last that writes early, for marks
            drawing.end()
        except ProgramError:
            del weights.data[before:]
            continue
        return drawing.program
