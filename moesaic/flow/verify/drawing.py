"""A program in the making: instructions one after the other, each with the waits that it turns out to need."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from moesaic.flow.verify.probe import FED, LOADED, ProbedMachine
from moesaic.golden.numerics import Array
from moesaic.hw.spec import isa
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Base, Memory, Opcode, Stationary
from moesaic.hw.spec.legal import refusal
from moesaic.sim.machine import ProgramError
from moesaic.sim.matmul import Matmul

__all__ = ["ACTIVATIONS", "KEYS", "RESIDUAL_WORDS", "Drawing", "LegalProgram", "Tokens", "Weights"]

RESIDUAL_WORDS = 48  # that hold something; so many a program stores
ACTIVATIONS, KEYS = 160, 48  # words of the other memories that hold something
_MOST_WAIT = 63


class Weights:
    """The weight stream of all programs of a simulation, piece after piece.

    Parameters
    ----------
    config : AcceleratorConfig
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config, self.data = config, bytearray()

    def add(self, piece: bytes) -> int:
        """Word at which a piece begins."""
        place = len(self.data) // self.config.word_bytes
        self.data += piece
        return place


@dataclass
class LegalProgram:
    """Three streams, encoded.

    Parameters
    ----------
    load, compute, store : list of bytes
    marks : list of int
        The two marked instructions.
    what : list of str
        A word for each compute instruction.
    """

    load: list[bytes] = field(default_factory=list)
    compute: list[bytes] = field(default_factory=list)
    store: list[bytes] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    what: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Tokens:
    """Tokens in the residual memory whose sums are those of their channels.

    Parameters
    ----------
    base, count : int
        Numbers of the tokens.
    address, stride, words : int
        Of the first, to the next, and of each.
    channels : int
    """

    base: int
    count: int
    address: int
    stride: int
    words: int
    channels: int

    def touches(self, other: "Tokens") -> bool:
        numbers = self.base < other.base + other.count and other.base < self.base + self.count
        ours, theirs = (set(_spread(t.address, t.count, t.stride, t.words)) for t in (self, other))
        return numbers or bool(ours & theirs)


def _spread(address: int, count: int, stride: int, words: int) -> list[int]:
    return [address + i * stride + k for i in range(count) for k in range(words)]


class Drawing:
    """The program so far, and what the accelerator holds after it."""

    def __init__(self, rng: random.Random, weights: Weights) -> None:
        self.rng, self.weights, self.config = rng, weights, weights.config
        self.numbers = np.random.default_rng(rng.randrange(1 << 30))
        self.machine = ProbedMachine(self.config)
        self.program = LegalProgram()
        self.fields: list[tuple[Opcode, dict[str, int]]] = []
        self.loaded = self.fed = -1
        self.tokens: list[Tokens] = []
        self.norm = 0  # channels of the last NORM
        self.routed: tuple[int, int, int] | None = None  # ROUTE's index, its first token, tokens

    # Instructions.

    def _distance(self, known: int, need: int) -> tuple[int, int]:
        """A wait that is long enough, and what is known then."""
        index = len(self.fields)
        if need > known:
            wait = index - self.rng.choice((need, need, self.rng.randint(need, index - 1)))
        else:
            wait = self.rng.randint(1, index) if index and self.rng.random() < 0.1 else 0
        wait = min(wait, _MOST_WAIT)
        return wait, max(known, index - wait) if wait else known

    def finish(self, opcode: Opcode, fields: Mapping[str, int], what: str) -> None:
        """Add an instruction that has been executed, with the waits that it turned out to need."""
        needs = self.machine.needs
        load_wait, self.loaded = self._distance(self.loaded, needs[LOADED])
        feed_wait, known = self._distance(self.fed, needs[FED])
        if opcode is Opcode.MATMUL:
            self.fed = known
        else:
            feed_wait = 0
        self.fields.append((opcode, {**fields, "load_wait": load_wait, "feed_wait": feed_wait}))
        self.program.what.append(what)

    def _fetch(self, piece: bytes, **fields: int) -> None:
        """Fetch a piece for the next instruction, in one go or in parts."""
        words, index = len(piece) // self.config.word_bytes, len(self.fields)
        place, done = self.weights.add(piece), 0
        while done < words:
            part = words - done if self.rng.random() < 0.7 else self.rng.randint(1, words - done)
            earliest = fields.get("earliest", 0)
            wait = earliest if self.rng.random() < 0.7 else self.rng.randint(earliest, index)
            values = {
                "base": self.rng.choice((Base.WEIGHT, Base.TASK)),
                "offset": (place + done) * self.config.beats_per_word,
                "beats": part * self.config.beats_per_word,
                "wait": wait,
                **{name: value for name, value in fields.items() if name != "earliest"},
            }
            self.program.load.append(isa.encode(Opcode.FETCH, values))
            done += part

    def copy(self, memory: Memory, address: int, words: int) -> None:
        """COPY: random words, `words` of the stream."""
        piece = self.numbers.integers(0, 256, words * self.config.word_bytes, dtype=np.uint8)
        target, dtype = (
            (self.machine.activation, "u1") if memory is Memory.ACTIVATION else (self.machine.residual, "<i2")
        )
        values = piece.view(dtype).reshape(-1, self.config.lanes)
        if dtype == "<i2":
            values = values >> self.rng.choice((0, 2, 4, 6))  # else most sums would saturate
            piece = np.ascontiguousarray(values).view(np.uint8).ravel()
        self._fetch(piece.tobytes())
        self.machine.forget()
        where = address + np.arange(len(values))
        target.write_early(where, values, len(self.fields), LOADED, _fail, after_reads=False)
        self.finish(Opcode.COPY, {"memory": memory, "addr": address, "words": words}, f"COPY {memory.name}")
        if memory is Memory.RESIDUAL:
            gone = Tokens(1 << 20, 1, address, 1, len(values), 0)
            self.tokens = [tokens for tokens in self.tokens if not tokens.touches(gone)]

    def scales(self, rows: int) -> tuple[Array, Array]:
        """Biases and multipliers of so many outputs."""
        biases = self.numbers.integers(-(1 << 14), 1 << 14, rows) >> self.rng.choice((0, 0, 5))
        return biases, self.numbers.integers(0, 65536, rows)

    def _stream(self, fields: Mapping[str, int]) -> bytes:
        """Parameters and weights of a MATMUL."""
        config, rng = self.config, self.numbers
        blocks, in_blocks = -(-fields["out_count"] // config.rows), fields["in_blocks"]
        parts = []
        for block in range(blocks):
            parameters = np.zeros(config.param_words * config.word_bytes, np.uint8)
            rows = min(config.rows, fields["out_count"] - block * config.rows)
            each = np.zeros((config.rows, 6), np.uint8)
            biases, multipliers = self.scales(rows)
            each[:rows, :4] = biases.astype("<i4").view(np.uint8).reshape(-1, 4)
            each[:rows, 4:] = multipliers.astype("<u2").view(np.uint8).reshape(-1, 2)
            parameters[: each.size] = each.ravel()
            size = config.stationary_words(4 if fields.get("narrow") else 8) * config.word_bytes
            stored = rng.integers(0, 256, (in_blocks, size), dtype=np.uint8)
            parts += [parameters.tobytes(), stored.tobytes()]
        return b"".join(parts)

    def matmul(self, what: str, **fields: int) -> None:
        """MATMUL; whatever it needs from the weight stream is drawn."""
        values = {f.name: 0 for f in isa.FORMATS[Opcode.MATMUL].fields[1:]} | fields
        reason = refusal(Opcode.MATMUL, values, self.config)
        if reason is not None:
            raise ProgramError("compute", len(self.fields), reason)
        self.machine.forget()
        matmul = Matmul(self.machine, len(self.fields), values, loaded=LOADED, fed=FED)
        piece = b""
        if matmul.stationary is Stationary.WEIGHTS:
            piece = self._stream(values)
            kind = {"expert_valid": 1, "expert": values["expert"], "speculative": values["speculative"]}
            if not values["expert_valid"]:
                self._fetch(piece)
            elif values["speculative"]:
                self._fetch(piece, **kind)
            elif self.routed is not None:
                self._fetch(piece, **kind, earliest=self.routed[0] + 1)
        if values["tap"]:
            self.machine.needs[FED] = max(self.machine.needs[FED], self.machine.stored)
        if matmul.count:
            matmul.run(np.frombuffer(piece, np.uint8).copy())
        self.finish(Opcode.MATMUL, fields, what)


def _fail(reason: str) -> NoReturn:
    raise ProgramError("compute", 0, reason)
