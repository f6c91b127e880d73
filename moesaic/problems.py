"""What a user is told when something fails: one line, and an exit status."""

import errno
import sys
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["BAD_INPUT", "FAILED", "INTERRUPTED", "Problem", "explain"]

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

# Where errors that a user can cause or mend are defined; a module that is not loaded has raised none.
_INPUT = (
    ("moesaic.flow.request", "InputError"),
    ("moesaic.boards.board", "BoardError"),
    ("moesaic.boards.fit", "FitError"),
    ("moesaic.boards.configuration", "ConfigurationError"),
    ("moesaic.golden.image_io", "ImageError"),
    ("moesaic.golden.weights", "WeightError"),
    ("moesaic.golden.calibrate", "CalibrationError"),
    ("moesaic.golden.importers.problem", "ImportProblem"),
    ("moesaic.golden.frontend.refusal", "CaptureError"),
    ("moesaic.compiler.ir", "CompileError"),
    ("moesaic.compiler.image", "ImageError"),
    ("moesaic.boards.heads", "HeadError"),
    ("moesaic.sim.tools", "ToolMissing"),
    ("moesaic.boards.synthesis.mapping", "SynthesisMissing"),
)
_FAILURE = (
    ("moesaic.sim.verilated", "BuildFailed"),
    ("moesaic.sim.verilated", "SimulationFailed"),
    ("moesaic.sim.saif", "SaifError"),
    ("moesaic.sim.machine", "ProgramError"),
    ("moesaic.hw.verilog", "ExportError"),
)


@dataclass(frozen=True)
class Problem:
    """What happened.

    Parameters
    ----------
    text : str
        One line.
    details : str
        More lines, or nothing.
    status : int
        Exit status.
    """

    text: str
    details: str
    status: int


def _loaded(places: tuple[tuple[str, str], ...]) -> Iterator[type[BaseException]]:
    for module, name in places:
        if module in sys.modules:
            yield getattr(sys.modules[module], name)


def explain(error: BaseException) -> Problem | None:
    """The problem behind an exception; None for one that only a mistake in this program can raise."""
    if isinstance(error, KeyboardInterrupt):
        return Problem("interrupted; nothing was kept", "", INTERRUPTED)
    first, _, rest = str(error).partition("\n")
    if isinstance(error, tuple(_loaded(_INPUT))):
        return Problem(first, rest, BAD_INPUT)
    if isinstance(error, tuple(_loaded(_FAILURE))):
        return Problem(first, rest, FAILED)
    if isinstance(error, MemoryError):
        return Problem("there must be more memory: it is used up", "", FAILED)
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return Problem(f"the disk is full: {error.strerror}{where}; nothing was kept", "", FAILED)
        return Problem(f"{error.strerror or error}{where}", "", FAILED)
    if "safetensors" in sys.modules and (
        "No space left" in first or "File too large" in first
    ):  # its own class, without the number
        return Problem(f"the disk is full: {first}; nothing was kept", "", FAILED)
    return None
