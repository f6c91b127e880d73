"""A legal program of tens of thousands of short instructions, and errors at the end of it: their numbers are large."""

from collections import Counter

import numpy as np

from moesaic.flow.verify.campaign import Chunk, Failure
from moesaic.flow.verify.drawing import RESIDUAL_WORDS, LegalProgram, Weights
from moesaic.flow.verify.legal import Programs, collect
from moesaic.flow.verify.runs import EXACT, OTHER, PLAIN
from moesaic.flow.verify.tried import CONFIG
from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import INSTRUCTION_BYTES, Function, Memory, Opcode
from moesaic.scratch import scratch
from moesaic.sim.rtl import RtlRun, RtlSimulator

__all__ = ["INSTRUCTIONS", "long_program", "long_runs", "long_streams", "run_long"]

INSTRUCTIONS = 1 << 15  # of the load and compute streams, and a few more
SKIPPED = {"expert_valid": 1}  # of an expert that no token has chosen


def long_streams(weights: Weights, instructions: int) -> LegalProgram:
    """One FETCH, COPY and as many STOREs as there are words; so many FETCHes and MATMULs are skipped."""
    program = LegalProgram(what=["long"])
    words = RESIDUAL_WORDS * 2 // CONFIG.load_rows  # of the weight stream
    place = weights.add(np.random.default_rng(3).bytes(words * CONFIG.word_bytes))
    beats = CONFIG.beats_per_word
    fetch = isa.encode(Opcode.FETCH, SKIPPED | {"beats": beats})
    program.load = [
        isa.encode(Opcode.FETCH, {"offset": place * beats, "beats": words * beats}),
        *[fetch] * instructions,
    ]
    matmul = SKIPPED | {"out_count": 1, "in_blocks": 1, "function": Function.ADD}
    copy = isa.encode(Opcode.COPY, {"memory": Memory.RESIDUAL, "words": words})
    program.compute = [copy, *[isa.encode(Opcode.MATMUL, matmul)] * (instructions - 2)]
    program.compute += [isa.encode(Opcode.MATMUL, matmul | {"mark": 1})] * 2
    program.marks = [instructions - 1, instructions]
    for word in range(RESIDUAL_WORDS):
        fields = {"src_addr": word, "words": 1, "offset": word * 2 * CONFIG.lanes, "wait": instructions}
        program.store.append(isa.encode(Opcode.STORE, fields))
    return program


def long_program(instructions: int = INSTRUCTIONS) -> Programs:
    """`long_streams` as the only program.

    Parameters
    ----------
    instructions : int
    """
    weights = Weights(CONFIG)
    return collect([long_streams(weights, instructions)], weights)


def long_runs(programs: Programs, task: str) -> list[tuple[str, RtlRun]]:
    """What is wrong, and the run: nothing, then the last instruction of a stream."""
    program, image = programs.programs[task], programs.image
    found = [("", RtlRun(task, memory=PLAIN))]
    for stream, alone in (("compute", {}), ("load", {"compute_count": 1})):
        last = len(getattr(program, stream)) - 1
        place = image.task(task)[stream]["address"] + last * INSTRUCTION_BYTES
        run = RtlRun(task, memory=PLAIN, overrides=alone, patches=[(place, bytes(INSTRUCTION_BYTES))])
        found.append((stream, run))
    return found


def run_long(number: int, *, simulator: RtlSimulator, instructions: int = INSTRUCTIONS) -> Chunk:
    """The program must leave what it copies, and an error must name the last instruction.

    Parameters
    ----------
    number : int
        Of the chunk.
    simulator : RtlSimulator
    instructions : int
    """
    programs = long_program(instructions)
    image, runs = programs.image, long_runs(programs, next(iter(programs.programs)))
    with scratch() as work:
        plusargs = [f"+window_bytes={len(image.memory)}"]
        results = simulator.run(image, [run for _, run in runs], work_dir=work, plusargs=plusargs)
    copied = image.region("weights.0")
    low = copied.address - image.address
    right = image.unpack_result(image.memory[low : low + copied.bytes], runs[0][1].task)
    endings: Counter[str] = Counter()
    failures = []
    for place, ((stream, _), result) in enumerate(zip(runs, results, strict=True)):
        if stream:
            wanted, error = f"BAD_OPCODE at {stream} {instructions}", result.error or {}
            found = f"{error.get('code')} at {str(error.get('unit')).lower()} {error.get('index')}"
            ending = str(error.get("code"))
        else:
            wanted, exact = EXACT, result.output is not None and np.array_equal(result.output, right)
            found = ending = EXACT if exact else str(result.error or OTHER)
        endings[ending] += 1
        if found != wanted or result.violations["mask"]:
            what = f"{instructions} instructions, {wanted}"
            failures.append(Failure(place, what, f"{found}, rules of the bus: {dict(result.violations)}"))
    return Chunk(number, len(runs), dict(sorted(endings.items())), tuple(failures))
