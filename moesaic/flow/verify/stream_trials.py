"""Trials of instruction streams: each is the last to end behind a slow memory, or is said to be longer than it is."""

from moesaic.flow.verify.long_programs import SKIPPED
from moesaic.flow.verify.nano import STREAMS, Nano
from moesaic.flow.verify.trial import Trial, runs_trial
from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import INSTRUCTION_BYTES, Function, Opcode
from moesaic.sim.rtl import RtlRun

__all__ = ["stream_trials"]

MANY, FEW = 20, 3  # instructions; more than a queue holds, and fewer
SHORT = 60  # cycles of the watchdog
BITS = 32  # of a count
SLOW, NEAR = {"latency": 400}, {"latency": 2}


def _streams(nano: Nano, count: int) -> list[tuple[int, bytes]]:
    """Patches: FETCHes and MATMULs that are skipped, STOREs of a word that wait for nothing, then no instruction."""
    config, program = nano.program.config, nano.program
    fetch = isa.encode(Opcode.FETCH, SKIPPED | {"beats": config.beats_per_word})
    matmul = isa.encode(Opcode.MATMUL, SKIPPED | {"out_count": 1, "in_blocks": 1, "function": Function.ADD})
    word = 2 * config.lanes
    words = program.region("result").bytes // word
    stores = [
        isa.encode(Opcode.STORE, {"src_addr": k, "words": 1, "offset": k % words * word, "wait": 0})
        for k in range(count)
    ]
    data = {"load": [fetch] * count, "compute": [matmul] * count, "store": stores}
    return [(nano.place(name, 0), b"".join(data[name]) + bytes(INSTRUCTION_BYTES)) for name in STREAMS]


def _ends(nano: Nano) -> Trial:
    """One stream is long, the others are short or empty."""
    runs = []
    for others in (FEW, 0):
        for name in STREAMS:
            counts = {f"{other}_count": MANY if other == name else others for other in STREAMS}
            runs.append(nano.run(patches=_streams(nano, MANY), overrides=counts, memory=SLOW))
    return runs_trial("ends of streams", nano.program, [*runs, nano.run()], brief=True)


def _long(nano: Nano, name: str, bit: int) -> RtlRun:
    """A stream of so many instructions, of which there are few; alone."""
    counts = {f"{other}_count": 1 << bit if other == name else 0 for other in STREAMS}
    return RtlRun(
        nano.program.tasks[0],
        patches=_streams(nano, FEW),
        overrides=counts,
        memory=NEAR,
        watchdog=SHORT,
    )


def _counts(nano: Nano) -> Trial:
    """Counts of which one bit is 1."""
    runs = [_long(nano, name, bit) for name in STREAMS for bit in range(BITS)]
    return runs_trial("long streams", nano.program, [*runs, nano.run()], brief=True)


def _waits(nano: Nano) -> Trial:
    """STOREs to one place after the other, whose addresses the memory does not take at once."""
    counts = {"load_count": 0, "compute_count": 0, "store_count": MANY}
    memories = ({"stall_aw": 70, "stall_b": 50}, {"stall_aw": 90, "stall_w": 60}, {"aw_after_w": 1, "stall_w": 50})
    runs = [nano.run(patches=_streams(nano, MANY), overrides=counts, memory=memory) for memory in memories]
    return runs_trial("stores that wait", nano.program, [*runs, nano.run()])


def stream_trials(nano: Nano) -> list[Trial]:
    """All of them; what the last run leaves is the result."""
    return [_ends(nano), _counts(nano), _waits(nano)]
