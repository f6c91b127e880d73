"""What the cost model keeps of each unit: when instructions, words and vectors can move on."""

import bisect
from dataclasses import dataclass, field

from moesaic.compiler.memory import DdrTiming
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import INSTRUCTION_BITS
from moesaic.hw.spec.latency import (
    ARRIVAL_CYCLES,
    ASK_CYCLES,
    BUS_CYCLES,
    CHOICE_CYCLES,
    DECODE_CYCLES,
    FETCH_CYCLES,
    PORT_CYCLES,
    QUEUED,
    REUSE_CYCLES,
    ROOM_CYCLES,
    SETTLE_CYCLES,
    START_CYCLES,
    UNIT_QUEUE,
    Timing,
)

__all__ = ["ArrayTime", "Instructions", "LoadTime", "Sequencer"]


class Instructions:
    """One instruction stream: as many as its queue holds are asked for ahead, half a queue at a time.

    Parameters
    ----------
    config : AcceleratorConfig
    latency : int, cycles
        Of DDR.
    turn : int
        Of this stream among the first requests.
    """

    def __init__(self, config: AcceleratorConfig, latency: int, *, turn: int) -> None:
        self._beats, self._round = (
            INSTRUCTION_BITS // config.port_bits,
            CHOICE_CYCLES + ASK_CYCLES + latency + ARRIVAL_CYCLES,
        )
        self._first = SETTLE_CYCLES + turn * (SETTLE_CYCLES + CHOICE_CYCLES)
        self._taken: list[float] = []

    def arrive(self) -> float:
        """When the next instruction can be taken from the queue."""
        chunk, place = divmod(len(self._taken), QUEUED // 2)
        room = (chunk - 1) * QUEUED // 2 - 1  # the instruction that made room for this one's half
        chosen = self._taken[room] + ROOM_CYCLES if room >= 0 else self._first
        return chosen + self._round + (place + 1) * self._beats - 1

    def take(self, time: float) -> None:
        """The next instruction leaves the queue."""
        self._taken.append(time)


@dataclass
class Sequencer:
    """Hands compute instructions to loader and feeder; held up by either."""

    stream: Instructions
    _next: float = 0.0  # when the next instruction may be taken
    _units: dict[str, list[float]] = field(default_factory=lambda: {"loader": [], "feeder": []})

    def issue(self, *units: str) -> float:
        """The next instruction, for `units`: when they can take it."""
        taken = max(self._next, self.stream.arrive())
        self.stream.take(taken)
        sent = taken + DECODE_CYCLES - 1
        for unit in units:
            times = self._units[unit]
            if len(times) >= UNIT_QUEUE:
                sent = max(sent, times[-UNIT_QUEUE] + 1)
        self._next = sent + 1
        return sent + 1

    def take(self, unit: str, time: float) -> None:
        """A unit takes its next instruction."""
        self._units[unit].append(time)


class LoadTime:
    """The load side: FETCHes one by one, and words in order, no faster than DDR and no further ahead than the prefetch
    buffer.
    """

    def __init__(self, config: AcceleratorConfig, ddr: DdrTiming) -> None:
        self.config, self.latency = config, ddr.latency
        self._room = config.prefetch_words  # asked for often, and so is the next
        self._word_cycles = config.word_bytes / ddr.bytes_per_cycle(config)
        self._stream = Instructions(config, ddr.latency, turn=2)
        self._idle = 0.0  # when the next FETCH may be taken
        self.time = 0.0  # when the last word arrived
        self.words = 0
        self._freed_words = [0]  # words consumed in total...
        self._freed_time = [0.0]  # ...and when

    def fetch(self, earliest: float, *, skipped: bool = False) -> float:
        """A FETCH that may be judged from `earliest` on: when its first word can arrive."""
        taken = max(self._idle, self._stream.arrive())
        self._stream.take(taken)
        judged = max(taken + FETCH_CYCLES, earliest)
        if skipped:
            self._idle = judged
            return 0.0
        # The burst splitters take a transfer when they have sent all requests of the one before.
        sent = self.time - self.latency - BUS_CYCLES - self.config.max_burst
        self._idle = max(judged + PORT_CYCLES * self.config.ports, sent) + START_CYCLES
        return self._idle + self.latency + BUS_CYCLES

    def arrive(self, words: int, earliest: float) -> float:
        """When the next `words` words are in the buffer."""
        self.words += words
        start = max(self.time, earliest)
        over = self.words - self._room
        if over > 0:
            position = bisect.bisect_left(self._freed_words, over)
            if position < len(self._freed_words):
                start = max(start, self._freed_time[position] + self.latency + BUS_CYCLES)
        self.time = start + words * self._word_cycles
        return self.time

    def consumed(self, time: float) -> None:
        """All words that have arrived are used at `time`."""
        self._freed_words.append(self.words)
        self._freed_time.append(time)


@dataclass
class ArrayTime:
    """The streamed side: vectors are issued, wait in a queue, and enter the array pass by pass.

    `time` is the cycle after the last vector entered; `gap` the earliest start of the next pass by the rule of spacing.
    """

    timing: Timing
    time: float = 0.0
    gap: float = 0.0
    issued: float = 0.0  # cycle after the last issue
    count: int = 0  # vectors so far

    def __post_init__(self) -> None:
        self._firsts: list[int] = []  # of each pass: its first vector...
        self._begins: list[float] = []  # ...and when that entered

    def _entered(self, vector: int) -> float:
        position = bisect.bisect_right(self._firsts, vector) - 1
        return self._begins[position] + vector - self._firsts[position] if position >= 0 else 0.0

    def room(self, vector: int) -> float:
        """When the queue has room for vector number `vector`."""
        back = vector - self.timing.queue
        return self._entered(back) + 1 if back >= 0 else 0.0

    def lone(self, earliest: float) -> float:
        """What stands for an instruction without vectors passes in one cycle: when."""
        first = max(self.issued, earliest, self.room(self.count))
        begin = max(first + self.timing.feed, self.time)
        self._firsts.append(self.count)
        self._begins.append(begin)
        self.issued, self.count, self.time = first + 1, self.count + 1, begin + 1
        return begin

    def run(self, vectors: int, *, earliest: float, full: float) -> tuple[float, float]:
        """A pass; when its first vector enters, and how long the stationary block alone held it up.

        Parameters
        ----------
        vectors : int
        earliest : float
            First issue.
        full : float
            When the stationary block is there.
        """
        first = max(self.issued, earliest, self.room(self.count))
        at_array = max(first + self.timing.feed, self.time, self.gap)
        begin = max(at_array, full)
        self._firsts.append(self.count)
        self._begins.append(begin)
        self.issued = max(first + vectors, self.room(self.count + vectors - 1) + 1)
        self.count += vectors
        self.time = max(begin + vectors, self.issued + self.timing.feed)
        self.gap = begin + REUSE_CYCLES + 1
        return begin, begin - at_array
