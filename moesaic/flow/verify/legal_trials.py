"""Trials of legal programs, which do what no compiled network does: any scale, shape, place and waits."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from moesaic.compiler.image import ProgramImage
from moesaic.flow.verify.broken_trials import broken_trial
from moesaic.flow.verify.drawing import RESIDUAL_WORDS
from moesaic.flow.verify.legal import collect, wanted
from moesaic.flow.verify.legal_programs import LegalProgram, Weights, draw_program
from moesaic.flow.verify.long_programs import long_runs, long_streams
from moesaic.flow.verify.trial import Trial, runs_trial
from moesaic.flow.verify.tried import CONFIG
from moesaic.flow.verify.witness import FineDrawing, ScaledDrawing, Witness
from moesaic.golden.numerics import IntArray
from moesaic.hw.spec.isa import Memory
from moesaic.sim.rtl import RtlRun

__all__ = ["PARTS", "PROGRAMS", "fine_program", "left_programs", "legal_trials", "scaled_programs"]

PROGRAMS = 20  # drawn at random
LONG = (1 << 12) - 1  # number of the last instruction of a stream: all its bits are 1
WATCHDOG = 3000
RESET = 800  # cycles within which a run is ended, twice, before the whole one
PARTS: tuple[Callable[[FineDrawing], None], ...] = (FineDrawing.curves, FineDrawing.norms, FineDrawing.heads)
SCALED: tuple[Callable[[ScaledDrawing], None], ...] = (
    *(ScaledDrawing.shifts, ScaledDrawing.rescales) * 2,
    ScaledDrawing.ties,
    ScaledDrawing.equals,
    ScaledDrawing.crowds,
)
SEEDS = (2, 3, 4, 5, 6, 8, 7)  # with which such programs are legal


def fine_program(part: Callable[[FineDrawing], None], weights: Weights) -> LegalProgram:
    """A program of one kind of fine steps."""
    drawing = FineDrawing(random.Random("fine"), weights)
    drawing.begin()
    part(drawing)
    drawing.end()
    return drawing.program


def scaled_programs(weights: Weights) -> Iterator[LegalProgram]:
    """Programs of shifts and scales of all sizes."""
    for seed, part in zip(SEEDS, SCALED, strict=True):
        drawing = ScaledDrawing(random.Random(f"scaled {seed}"), weights)
        drawing.begin()
        part(drawing)
        drawing.end()
        yield drawing.program


def left_programs(weights: Weights) -> tuple[list[LegalProgram], IntArray]:
    """A program, another that sees what the first has left in the memories, and what that one leaves."""
    first, second = (Witness(random.Random("left"), weights) for _ in range(2))
    first.begin()
    first.end()
    second.machine.residual.words[:] = first.machine.residual.words
    second.machine.activation.words[:] = first.machine.activation.words
    second.copy(Memory.RESIDUAL, 0, 1)
    for memory in (second.machine.residual, second.machine.activation):
        memory.writer[:] = 0  # or it would seem that nobody has
    second.end()
    return [first.program, second.program], second.machine.residual.words[:RESIDUAL_WORDS].copy()


def legal_trials(window_address: int) -> tuple[ProgramImage, list[tuple[Trial, IntArray]]]:
    """An image of programs, and trials with what each must leave, by the functional simulator."""
    weights = Weights(CONFIG)
    drawn = [draw_program(random.Random(f"trial {number}"), weights, Witness) for number in range(PROGRAMS)]
    drawn += [fine_program(part, weights) for part in PARTS]
    drawn += scaled_programs(weights)
    pair, left = left_programs(weights)
    long = long_streams(weights, LONG)
    programs = collect([*drawn, *pair, long], weights, window_address=window_address)
    *tasks, first, second, many = programs.programs
    found = []
    for task in tasks:
        rng = random.Random(f"resets {task}")
        moments = [rng.randrange(80, RESET), rng.randrange(80, RESET)]
        run = RtlRun(task, watchdog=WATCHDOG)
        trial = broken_trial(f"legal program {task}", programs.image, run, moments)
        found.append((trial, wanted(programs, task).output))
    runs = [RtlRun(task, watchdog=WATCHDOG) for task in (first, second)]
    found.append((runs_trial("what a run leaves", programs.image, runs), left))
    good, *bad = (replace(run, watchdog=WATCHDOG) for _, run in long_runs(programs, many))
    found.append(
        (runs_trial("errors far down", programs.image, [*bad, good], brief=True), wanted(programs, many).output)
    )
    return programs.image, found
