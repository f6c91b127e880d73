"""Wait distances: for each operation the youngest earlier one whose results it needs."""

from dataclasses import dataclass, replace

import numpy as np

from moesaic.compiler.alloc import capacity
from moesaic.compiler.ir import Graph, Op, Space
from moesaic.compiler.verify import verify
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.isa import Function, Opcode

__all__ = ["Access", "accesses", "schedule"]

MAX_WAIT = 63  # what the field holds; a younger instruction than needed is a stronger wait, never a wrong one

Range = tuple[str, int, int]  # memory, first word, one past the last word


@dataclass(frozen=True)
class Access:
    """What an operation touches, by when it happens.

    `feed_reads` when vectors are streamed, `feed_writes` at the same time (the router's copy); `load_reads` when
    stationary blocks are loaded, `load_writes` at the same time (COPY); `writes` when results arrive.
    """

    feed_reads: tuple[Range, ...] = ()
    feed_writes: tuple[Range, ...] = ()
    load_reads: tuple[Range, ...] = ()
    load_writes: tuple[Range, ...] = ()
    writes: tuple[Range, ...] = ()


QUEUES: Range = ("queues", 0, 1)


def accesses(graph: Graph, op: Op) -> Access:
    """Words that `op` may read and write; LayerNorm sums go with the residual, block maxima with the activation
    words.
    """

    def span(name: str, *, written: bool = False) -> Range:
        return (graph.tensors[name].space.value, *graph.word_range(op, name, written=written))

    if op.opcode is Opcode.COPY:
        return Access(load_writes=tuple(span(name) for name in op.writes()))
    feed_reads = [span(name) for name in op.reads() if op.kv is None or name != op.kv.tensor]
    load_reads = [] if op.kv is None else [span(op.kv.tensor)]
    feed_writes = [] if op.tap is None else [span(op.tap.tensor)]
    writes = [span(name, written=True) for name in op.writes() if op.tap is None or name != op.tap.tensor]
    if op.expert is not None:
        feed_reads.append(QUEUES)
        load_reads.append(QUEUES)  # the loader must know whether, and for how many tokens, the expert runs
    if op.opcode is Opcode.MATMUL and op.function is Function.ROUTE:
        feed_writes.append(QUEUES)  # scores of the old queues may still be wanted behind the array
        writes.append(QUEUES)
    return Access(
        feed_reads=tuple(feed_reads), feed_writes=tuple(feed_writes), load_reads=tuple(load_reads), writes=tuple(writes)
    )


class _History:
    """Last writer and last reader of every word, as positions in the compute stream (-1: none)."""

    def __init__(self, config: AcceleratorConfig) -> None:
        sizes = {space.value: capacity(space, config) for space in Space} | {"queues": 1}
        self.writer = {name: np.full(size, -1, np.int64) for name, size in sizes.items()}
        self.reader = {name: np.full(size, -1, np.int64) for name, size in sizes.items()}

    def last_writer(self, ranges: tuple[Range, ...]) -> int:
        return max((int(self.writer[name][low:high].max()) for name, low, high in ranges), default=-1)

    def last_reader(self, ranges: tuple[Range, ...]) -> int:
        return max((int(self.reader[name][low:high].max()) for name, low, high in ranges), default=-1)

    def record(self, index: int, access: Access) -> None:
        for name, low, high in (*access.feed_reads, *access.load_reads):
            self.reader[name][low:high] = index
        for name, low, high in (*access.feed_writes, *access.load_writes, *access.writes):
            self.writer[name][low:high] = index


def schedule(graph: Graph, config: AcceleratorConfig) -> Graph:
    """Fill in `feed_wait` and `load_wait`.

    Instructions retire in order, so one distance, to the youngest producer, covers all older ones; and a wait is left
    out if an earlier instruction has already waited as long. Loader and stream run ahead of each other, so each waits
    for itself; both wait before they look whether an expert is to be skipped. Streams read in order before later
    results are written; hence only writes that happen early (COPY when loaded, the router's copy when streamed) must
    wait for those who still use the words.
    """
    history = _History(config)
    stored = -1  # last operation with results for the activation memory, whose one write port a tap needs too
    fed = loaded = -1  # every instruction up to this one is known to have retired when this one is streamed, or loaded
    result = []
    for index, op in enumerate(op for op in graph.ops if op.stage != "result"):
        access = accesses(graph, op)

        def distance(needed: int, known: int, index: int = index) -> int:
            return min(index - needed, MAX_WAIT) if needed > known else 0

        load_need = max(
            history.last_writer(access.load_reads),
            history.last_writer(access.load_writes),
            history.last_reader(access.load_writes),
        )
        load_wait = distance(load_need, loaded)
        if load_wait:
            loaded = index - load_wait
        feed_need = max(
            history.last_writer(access.feed_reads),
            history.last_writer(access.feed_writes),
            max((history.last_reader((r,)) for r in access.feed_writes if r is QUEUES), default=-1),
            -1 if op.tap is None else stored,
        )
        feed_wait = distance(feed_need, fed)
        if feed_wait:
            fed = index - feed_wait
        history.record(index, access)
        if any(name == Space.ACTIVATION.value for name, _, _ in access.writes):
            stored = index
        result.append(replace(op, feed_wait=feed_wait, load_wait=load_wait))
    return verify(graph.with_ops([*result, *(op for op in graph.ops if op.stage == "result")]))
