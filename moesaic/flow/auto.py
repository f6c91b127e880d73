"""`--board auto`: the preset that holds a model and is expected to run it fastest."""

from dataclasses import dataclass

from moesaic.boards.board import board_names, load_board
from moesaic.compiler.ir import CompileError
from moesaic.compiler.memory import BOARD_MEMORY
from moesaic.flow.conditions import conditions_of
from moesaic.flow.forecast import forecast, whole_graph
from moesaic.flow.stages import Stages
from moesaic.golden.hollow import hollow_model
from moesaic.golden.network import Network
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.presets import PRESETS

__all__ = ["Candidate", "candidates", "choose", "holds"]


@dataclass(frozen=True)
class Candidate:
    """A preset, and what became of it.

    Parameters
    ----------
    accelerator : AcceleratorConfig
    milliseconds : float
        Expected for an image; infinite if the model does not fit.
    problem : str
        Why it does not; empty if it does.
    """

    accelerator: AcceleratorConfig
    milliseconds: float
    problem: str = ""


def _try(model: Network, accelerator: AcceleratorConfig) -> Candidate:
    hollow = hollow_model(model)
    try:
        graph = whole_graph(hollow, accelerator, model.tasks[0])
    except CompileError as error:
        return Candidate(accelerator, float("inf"), str(error).partition("\n")[0])
    under = conditions_of(accelerator, accelerator.name, memory=BOARD_MEMORY)
    cycles = forecast(graph, accelerator, ddr=under.ddr).cycles
    return Candidate(accelerator, cycles / under.timing.used_mhz / 1e3)


def holds(model: Network, name: str) -> bool:
    """Whether the preset of that name holds the model."""
    return not _try(model, PRESETS[name]).problem


def candidates(model: Network, *, boards_only: bool = False) -> list[Candidate]:
    """Every preset (or those of boards): first what holds the model, the fastest first (of equals a board), then what
    does not.
    """
    boards = board_names()
    clocked = [
        load_board(name).accelerator if name in boards else accelerator
        for name, accelerator in PRESETS.items()
        if name in boards or not boards_only
    ]
    tried = [_try(model, accelerator) for accelerator in clocked]
    return sorted(tried, key=lambda c: (c.milliseconds, c.accelerator.name not in boards))


def choose(model: Network, stages: Stages, *, boards_only: bool = False) -> str:
    """Name of the preset (of a board, if `boards_only`) that is expected to be fastest; says which, and why not the
    others.

    Raises
    ------
    CompileError
        If none holds the model; the message says what the largest one lacks.
    """
    with stages.stage("board", f"a board for {model.name}"):
        found = candidates(model, boards_only=boards_only)
    best, *others = found
    if best.problem:
        largest = max(
            found,
            key=lambda c: (
                c.accelerator.residual_words * c.accelerator.lanes,
                c.accelerator.kv_words * c.accelerator.lanes,
            ),
        )
        kind = "board" if boards_only else "preset"
        raise CompileError(
            f"model '{model.name}': no {kind} holds it; on {largest.accelerator.name}: {largest.problem}"
        )
    slower = [f"{c.accelerator.name} {c.milliseconds:.3g} ms" for c in others if not c.problem]
    small = [c.accelerator.name for c in others if c.problem]
    why = [f"slower: {', '.join(slower)}" if slower else "the only one that holds it"]
    if small:
        why.append(f"too small: {', '.join(small)}")
    stages.say(
        f"           board: {best.accelerator.name}, {best.milliseconds:.3g} ms expected for an image "
        f"({'; '.join(why)})"
    )
    return best.accelerator.name
