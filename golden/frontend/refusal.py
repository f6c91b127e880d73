"""Why a module cannot be captured: which node of its graph, on which line of the user's code, and what to write
instead.
"""

import re
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import fx

from moesaic.errors import InputError

__all__ = ["FAILURES", "UNFORESEEN", "CaptureError", "Line", "Refusal", "line_of", "lines_of_text", "place_of"]

# What code raises that is given what it does not expect.
FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
UNFORESEEN = "at which this program fails, which is a mistake in it"  # no module should come to this

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)\n(?:\s+(?P<code>[^\n]+))?')
_TORCH = str(Path(torch.__file__).parent)
_OURS = str(Path(__file__).parent)


class CaptureError(InputError):
    """A module that cannot be captured; the first line says what and where, the next ones what to do."""


class Refusal(Exception):
    """A node of the graph that no layer of the accelerator computes.

    Parameters
    ----------
    found : str
        What is there.
    expected : str
        What was expected there.
    nearest : str
        The nearest thing that is supported.
    node : fx.Node or None
        Where, if not at the node that was being read.
    """

    def __init__(self, found: str, *, expected: str, nearest: str, node: fx.Node | None = None) -> None:
        super().__init__(found)
        self.found, self.expected, self.nearest, self.node = found, expected, nearest, node


@dataclass(frozen=True)
class Line:
    """A line of the user's code.

    Parameters
    ----------
    file : str
    number : int
    function, code : str
        The function it is in, and its text (empty if unknown).
    """

    file: str
    number: int
    function: str
    code: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}" + (f" ({self.code})" if self.code else "")


def lines_of_text(stack: str) -> list[Line]:
    """The lines of a printed stack that are not torch's nor this package's, outermost first."""
    return [
        Line(match["file"], int(match["line"]), match["function"], (match["code"] or "").strip("^ \t"))
        for match in _FRAME.finditer(stack)
        if not match["file"].startswith((_TORCH, _OURS, "<"))
    ]


def line_of(node: fx.Node) -> Line | None:
    """The user's line that made a node: the innermost one outside torch."""
    lines = lines_of_text(node.meta.get("stack_trace") or "")
    return lines[-1] if lines else None


def place_of(error: BaseException) -> str:
    """A line of text with the user's line that an exception came from; nothing if none is known."""
    lines = lines_of_text("".join(traceback.format_exception(error)))
    return f"\nat {lines[-1]}" if lines else ""
