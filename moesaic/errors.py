"""The errors of this project: each knows whether the user's input or the run is at fault."""

from typing import ClassVar

__all__ = ["BAD_INPUT", "FAILED", "INTERRUPTED", "FailedRun", "InputError", "MoesaicError"]

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit statuses


class MoesaicError(Exception):
    """Base of every error that a user may see: the first line says what is wrong and what to do, the rest is detail.

    Members
    -------
    exit_status : int
        Exit status of the command that ends with it.
    """

    exit_status: ClassVar[int] = FAILED


class InputError(MoesaicError, ValueError):
    """Something that the user gave must be different: an option, a file, a model, a configuration."""

    exit_status: ClassVar[int] = BAD_INPUT


class FailedRun(MoesaicError, RuntimeError):
    """The input may be right, but a build, a tool, a simulation or an accelerator failed."""
