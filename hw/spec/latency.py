"""Latencies of a configuration's pipelines for the cost model; `hw.pipeline_latency` reads them off the RTL."""

from dataclasses import dataclass

__all__ = [
    "ARRIVAL_CYCLES",
    "ASK_CYCLES",
    "BUS_CYCLES",
    "CHOICE_CYCLES",
    "CONTEXTS",
    "DECODE_CYCLES",
    "DROP_CYCLES",
    "FETCH_CYCLES",
    "PORT_CYCLES",
    "QUEUED",
    "REUSE_CYCLES",
    "ROOM_CYCLES",
    "SETTLE_CYCLES",
    "SHARE_CYCLES",
    "START_CYCLES",
    "STORE_CYCLES",
    "UNIT_QUEUE",
    "WRITES_IN_FLIGHT",
    "Timing",
]

# Of every accelerator. The RTL takes its depths from here; that its latencies add up to the rest, a test says.
QUEUED = 16  # instructions of a stream, asked for half a queue at a time
SETTLE_CYCLES = 4  # from the start, or a request for instructions, to the next choice of a stream
CHOICE_CYCLES = 3  # choice, address, request
ROOM_CYCLES = 1  # from an instruction leaving the queue to that choice
ASK_CYCLES = 7  # from the request to its address on the bus: window guard, reader
ARRIVAL_CYCLES = 3  # from the last beat of an instruction until it can be taken
UNIT_QUEUE = 4  # instructions between the sequencer and each unit
DECODE_CYCLES = 3  # of an instruction in the sequencer, and in a unit before it works
CONTEXTS = 8  # instructions between feeder and retirement
FETCH_CYCLES = 3  # of a FETCH, skipped or not...
PORT_CYCLES = 6  # ...for each port...
START_CYCLES = 2  # ...and to hand the transfer on
BUS_CYCLES = 8  # from there to the first word, beyond the memory's latency: reader, prefetch buffer
STORE_CYCLES = 11  # of a STORE, beside its beats...
SHARE_CYCLES = 3  # ...and for the share of each port
WRITES_IN_FLIGHT = 8  # bursts without response
REUSE_CYCLES = 3  # in which a vector's entry must not come again: accumulator, sums, softmax state, gate
DROP_CYCLES = 6  # of words that nobody wants, beside one for each block of outputs


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Cycles that vectors and instructions spend in the pipelines of one accelerator.

    Parameters
    ----------
    feed : int, cycles
        From a vector's issue to the array being able to take it.
    queue : int, vectors
        Most vectors between issue and array.
    drain : int, cycles
        From the last vector entering the array to its instruction being retired.
    route : int, cycles
        The same for a router's instruction, beyond one cycle per token and rank.
    """

    feed: int
    queue: int
    drain: int
    route: int
