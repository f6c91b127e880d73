"""On-chip state of the functional simulator, with a record of who wrote and read each word last."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from moesaic.errors import FailedRun
from moesaic.hw.spec.config import AcceleratorConfig

__all__ = ["Array", "Machine", "ProgramError", "Tracked", "WeightQueue"]

Array = np.ndarray[Any, np.dtype[Any]]


class ProgramError(FailedRun):
    """A program does something that the instruction set does not define; the message names the instruction and the
    reason.

    Parameters
    ----------
    stream : str
        `load`, `compute` or `store`.
    index : int
        Position of the instruction in its stream.
    reason : str
    """

    def __init__(self, stream: str, index: int, reason: str) -> None:
        super().__init__(f"{stream} instruction {index}: {reason}")
        self.stream, self.index, self.reason = stream, index, reason


class Tracked:
    """A memory whose every word remembers the last compute instruction that wrote and that read it.

    Parameters
    ----------
    name : str
        For messages.
    words : array, [depth, ...]
        Contents.
    """

    def __init__(self, name: str, words: Array) -> None:
        self.name, self.words = name, words
        self.writer = np.full(len(words), -1, np.int64)
        self.reader = np.full(len(words), -1, np.int64)

    def behind(self, other: "Tracked", first: int) -> None:
        """Be the words of another memory from number `first` on, in this one's type."""
        self.words = other.words[first:].view(self.words.dtype)
        self.writer, self.reader = other.writer[first:], other.reader[first:]

    def check_range(self, addresses: Array, fail: Callable[[str], NoReturn]) -> None:
        """Every address must exist."""
        if addresses.size and (int(addresses.min()) < 0 or int(addresses.max()) >= len(self.words)):
            wrong = int(addresses.min()) if int(addresses.min()) < 0 else int(addresses.max())
            fail(f"{self.name} address must be below {len(self.words)}, not {wrong}")

    def read(self, addresses: Array, index: int, retired: int, fail: Callable[[str], NoReturn]) -> Array:
        """Contents, as instruction `index` sees them while only instructions up to `retired` are known to have
        retired.
        """
        self.check_range(addresses, fail)
        if addresses.size and int(self.writer[addresses].max()) > retired:
            fail(
                f"hazard: reads {self.name} words that instruction {int(self.writer[addresses].max())} writes, "
                f"but waits only for {retired}"
            )
        self.reader[addresses] = index
        return self.words[addresses]

    def write(self, addresses: Array, values: Array, index: int, fail: Callable[[str], NoReturn]) -> None:
        """Results of instruction `index` arrive, in order behind all streams."""
        self.check_range(addresses, fail)
        self.words[addresses] = values
        self.writer[addresses] = index

    def write_early(
        self,
        addresses: Array,
        values: Array,
        index: int,
        retired: int,
        fail: Callable[[str], NoReturn],
        *,
        after_reads: bool,
    ) -> None:
        """Writes that overtake results on their way: nobody may still have to write the words.

        Nor to read them, unless the writes come `after_reads` of all earlier instructions.
        """
        self.check_range(addresses, fail)
        last = int(self.writer[addresses].max())
        if not after_reads:
            last = max(last, int(self.reader[addresses].max()))
        if last > retired:
            fail(f"hazard: overwrites {self.name} words that instruction {last} uses, but waits only for {retired}")
        self.write(addresses, values, index, fail)


@dataclass
class Machine:
    """Everything an accelerator holds on chip, filled with noise: a program that depends on what it did not write is
    found out.

    Parameters
    ----------
    config : AcceleratorConfig
    seed : int
        Of the noise.
    """

    config: AcceleratorConfig
    seed: int = 0
    norm: dict[str, int] | None = None
    queue_tokens: list[Array] = field(default_factory=list)
    queue_scores: list[Array] = field(default_factory=list)
    stored: int = -1  # last instruction with results for the activation memory, whose one write port a tap needs too

    def __post_init__(self) -> None:
        config, rng = self.config, np.random.default_rng(self.seed)
        self.activation = Tracked(
            "activation", rng.integers(0, 256, (config.streamed_words, config.lanes), dtype=np.uint8)
        )
        self.kv = Tracked("key/value", rng.integers(-128, 128, (config.kv_words, config.lanes), dtype=np.int8))
        # Lower bytes of 16-bit values, of which the memories above have the upper.
        depths = (config.streamed_words, config.kv_words) if config.wide_operands else (0, 0)
        self.activation_low, self.kv_low = (
            Tracked(f"lower {name}", rng.integers(-128, 128, (depth, config.lanes), dtype=np.int8))
            for name, depth in zip(("activation", "key/value"), depths, strict=True)
        )
        if config.joint_memories:
            self.kv.behind(self.activation, config.activation_words)
            self.kv_low.behind(self.activation_low, config.activation_words)
        self.residual = Tracked(
            "residual", rng.integers(-(2**15), 2**15, (config.residual_words, config.lanes), dtype=np.int16)
        )
        self.block_max = rng.integers(-128, 128, (config.activation_words, config.groups))
        # Who wrote the maximum of each group of probabilities, and for which softmax state.
        self.block_writer, self.block_state = np.full((2, config.activation_words, config.groups), -1)
        self.state = Tracked("softmax state", rng.integers(-512, 512, 2 * config.max_tokens))  # level
        # Of each softmax state: the distance of its extra key, and that key's maximum.
        self.extra = Tracked("extra key", rng.integers(-128, 128, (2 * config.max_tokens, 2)))
        self.sums = Tracked(
            "LayerNorm sums", rng.integers(-(2**20), 2**20, (config.max_tokens, 2))
        )  # sum, sum of squares
        self.queues = Tracked("expert queue", np.zeros(1, np.int64))
        self.queue_tokens = [np.zeros(0, np.int64) for _ in range(config.experts)]
        self.queue_scores = [np.zeros(0, np.int64) for _ in range(config.experts)]


class WeightQueue:
    """Words fetched and not yet used, in order."""

    def __init__(self, word_bytes: int) -> None:
        self.word_bytes, self.words = word_bytes, 0
        self._parts: deque[Array] = deque()

    def put(self, data: Array) -> None:
        self._parts.append(data)
        self.words += len(data) // self.word_bytes

    def take(self, words: int) -> Array:
        """The next `words` words as bytes; there must be as many."""
        wanted, parts = words * self.word_bytes, []
        while wanted:
            part = self._parts.popleft()
            if len(part) > wanted:
                self._parts.appendleft(part[wanted:])
                part = part[:wanted]
            parts.append(part)
            wanted -= len(part)
        self.words -= words
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.zeros(0, np.uint8)
