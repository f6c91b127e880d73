"""What every command has: examples in its help, one line for a failure, a verdict at its end."""

import functools
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import typer
from rich.console import Console

from moesaic.errors import FAILED
from moesaic.problems import explain
from moesaic.summary import print_summary

__all__ = ["examples", "guarded", "this_command", "verdict"]

P = ParamSpec("P")


def examples(*commands: str) -> str:
    return "\n\n".join(["Examples:", *(f"  moesaic {command}" for command in commands)])


def guarded(function: Callable[P, None]) -> Callable[P, None]:
    """A command whose foreseeable failures are one line on standard error and an exit status."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
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


def this_command() -> str:
    return shlex.join(["moesaic", *sys.argv[1:]])


def verdict(report: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    """Print what came out; fail if the models differ."""
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        print_summary(report, folder)
    if not report["bit_exact"]:
        raise typer.Exit(FAILED)
