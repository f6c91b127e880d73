"""What the energy is made of, counted a second time: by the functional simulator, word by word."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Stream
from moesaic.sim.machine import Tracked, WeightQueue
from moesaic.sim.matmul import Matmul

MEMORIES = {
    "activation": 8,
    "residual": 16,
    "key/value": 8,
}  # bits of a value, without the lower byte that memories of 16-bit values have beside


class Watch:
    """Counts what moves between memories and array while programs run.

    Attributes
    ----------
    bits : Counter of memory to int
        Read and written; of the key/value memory, whose reads the RTL counts, written.
    work : Counter
        `vectors`, `normalised`, `results`, `routed`.
    toggles : Counter
        Bits that change from one word to the next: of a weight port's beats, and of what the feeder reads from a
        memory.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        self.bits: Counter[str] = Counter()
        self.work: Counter[str] = Counter()
        self.toggles: Counter[str] = Counter()
        self._last: dict[str, np.ndarray[Any, Any]] = {}
        self._streaming = False

    def _follow(self, name: str, words: np.ndarray[Any, Any]) -> None:
        """`words` [count, ...] pass one after the other."""
        data = np.ascontiguousarray(words).view(np.uint8).reshape(len(words), -1)
        before = self._last.get(name, np.zeros_like(data[:1]))
        changed = np.concatenate([before, data])
        self.toggles[name] += int(np.bitwise_count(changed[1:] ^ changed[:-1]).sum())
        self._last[name] = data[-1:]

    def _vectors(self, matmul: Matmul) -> None:
        """The feeder's reads: for every block of outputs every block of inputs, for each of these every vector."""
        f, config = matmul.f, self.config
        rows = matmul.tokens if f["expert_valid"] and f["gather"] else np.arange(matmul.count)
        normalised = matmul.stream is Stream.NORMALISED
        blocks = np.arange(f["in_blocks"]) % (f["shift_block"] or f["in_blocks"])  # every plane from the first word on
        name = "residual" if normalised else "activation"
        memory = matmul.machine.residual if normalised else matmul.machine.activation
        addresses = f["src_addr"] + rows[None, :] * f["src_stride"] + blocks[:, None]
        words = memory.words[np.tile(addresses.ravel(), matmul.blocks)]
        self._follow(name, words)
        self.bits[name] += len(words) * MEMORIES[name] * config.lanes
        self.work["vectors"] += len(words)
        self.work["normalised"] += normalised * len(words)
        self.work["results"] += matmul.count * matmul.blocks
        self.work["routed"] += (matmul.function is Function.ROUTE) * matmul.count

    @contextmanager
    def watching(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        vectors, read, write, put = Matmul.vectors, Tracked.read, Tracked.write, WeightQueue.put

        def watched_vectors(matmul: Matmul) -> Any:
            self._vectors(matmul)
            self._streaming = True
            result = vectors(matmul)
            self._streaming = False
            return result

        def watched_read(memory: Tracked, addresses: Any, *rest: Any) -> Any:
            if memory.name in ("activation", "residual") and not self._streaming:
                self.bits[memory.name] += np.size(addresses) * MEMORIES[memory.name] * self.config.lanes
            return read(memory, addresses, *rest)

        def watched_write(memory: Tracked, addresses: Any, *rest: Any) -> None:
            if memory.name in MEMORIES:
                self.bits[memory.name] += np.size(addresses) * MEMORIES[memory.name] * self.config.lanes
            write(memory, addresses, *rest)

        def watched_put(queue: WeightQueue, data: Any) -> None:
            beats = data.reshape(-1, self.config.ports, self.config.port_bits // 8)
            for port in range(self.config.ports):
                self._follow(f"port {port}", beats[:, port])
            self.work["beats"] += beats.shape[0] * beats.shape[1]
            put(queue, data)

        with monkeypatch.context() as patch:
            patch.setattr(Matmul, "vectors", watched_vectors)
            patch.setattr(Tracked, "read", watched_read)
            patch.setattr(Tracked, "write", watched_write)
            patch.setattr(WeightQueue, "put", watched_put)
            yield
