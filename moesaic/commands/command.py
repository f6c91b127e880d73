"""What every command has: examples in its help, one line for a failure, a verdict at its end."""

import functools
import shlex
import sys
from collections.abc import Callable
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, ParamSpec

import typer
from rich.console import Console
from typer.core import TyperCommand

from moesaic.cache import settle_matplotlib
from moesaic.errors import FAILED
from moesaic.problems import explain
from moesaic.report.model import Report
from moesaic.report.stored import plain_report
from moesaic.report.summary import print_summary
from moesaic.terminal import print_json, quietly, results_apart, warnings_in_lines

__all__ = ["PlainFlags", "examples", "guarded", "this_command", "verdict"]

P = ParamSpec("P")
_TRUTHS = ("true", "false", "yes", "no", "on", "off", "1", "0")


def examples(*commands: str) -> str:
    return "\n\n".join(["Examples:", *(f"  moesaic {command}" for command in commands)])


def guarded(function: Callable[P, None]) -> Callable[P, None]:
    """A command whose foreseeable failures are one line on standard error and an exit status; its results are all that
    standard output gets.
    """

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with quietly() if kwargs.get("quiet") else warnings_in_lines(), results_apart():
                settle_matplotlib()
                function(*args, **kwargs)
        except BrokenPipeError as error:  # whoever read the results has seen enough
            raise typer.Exit(FAILED) from error
        except BaseException as error:
            problem = explain(error)
            if problem is None:
                raise
            console = Console(stderr=True, highlight=False, soft_wrap=True)
            console.print("[bold red]error:[/] ", end="")
            console.print(problem.text, markup=False)
            if problem.details:
                console.print(problem.details, markup=False, style="dim")
            raise typer.Exit(problem.status) from error

    return command


class PlainFlags(TyperCommand):
    """A command whose flags take no value: ``--json true`` is refused, not read as ``--json`` and a board "true"."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        flags = {name for parameter in self.params if getattr(parameter, "is_flag", False) for name in parameter.opts}
        for given, following in pairwise(takewhile("--".__ne__, args)):
            if given in flags and following.lower() in _TRUTHS:
                raise typer.BadParameter(f"option {given} must have no value, not {following!r}", ctx=ctx)
        return super().parse_args(ctx, args)


def this_command() -> str:
    return shlex.join(["moesaic", *sys.argv[1:]])


def verdict(report: Report, folder: Path, *, as_json: bool) -> None:
    """Print what came out; fail if the models differ."""
    if as_json:
        print_json(plain_report(report))
    else:
        print_summary(report, folder)
    if not report.bit_exact:
        raise typer.Exit(FAILED)
