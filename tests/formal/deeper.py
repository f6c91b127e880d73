# amaranth: UnusedElaboratable=no
"""Proofs of more sizes, and bugs that show late: ``python tests/formal/deeper.py``, for they take longer than tests."""

import resource
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fetch_proof import FetchProof
from prove import prove
from test_fetch import LONG, find
from test_status import LONG as LONG_STATUS
from test_status import find as find_status
from test_weight_stream import SMALL, WordsProof

from moesaic.hw.control.fetch import InstructionFetch
from moesaic.hw.memory.weight_stream import WeightStream

FETCH = {"addr_bits": 12, "data_bits": 8}
PROOFS: dict[str, Callable[[], FetchProof | WordsProof]] = {
    "fetch, 1 beat to an instruction, 2 instructions to a request": lambda: FetchProof(
        InstructionFetch(**FETCH, instruction_bytes=1, depth=4), invariants=True
    ),
    "weight stream, 2 ports, 2 stripes, 4 words": lambda: WordsProof(
        WeightStream(**{**SMALL, "ports": 2, "word_bytes": 4}), invariants=True
    ),
    "weight stream, 4 ports, 2 words": lambda: WordsProof(
        WeightStream(**{**SMALL, "ports": 4, "word_bytes": 4, "depth_words": 2}), invariants=True
    ),
}


def seconds() -> float:
    """CPU time of the proofs so far."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime


def main() -> None:
    for name, make in PROOFS.items():
        before, top = seconds(), make()
        with tempfile.TemporaryDirectory() as folder:
            prove(top, free=top.free, work=Path(folder), depth=2, timeout=3600)
        print(f"{name}: proved, {seconds() - before:.0f} CPU seconds", flush=True)
    bugs = [(bug, find) for bug in LONG] + [(bug, partial(find_status, skip=10)) for bug in LONG_STATUS]
    for bug, search in bugs:
        before = seconds()
        with tempfile.TemporaryDirectory() as folder:
            if not search(bug, Path(folder)):
                raise SystemExit(f"{bug.__name__}: not found")
        print(f"{bug.__name__}: found, {seconds() - before:.0f} CPU seconds", flush=True)


if __name__ == "__main__":
    main()
