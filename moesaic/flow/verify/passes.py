"""Passes of Yosys in a process of their own: `python -m moesaic.flow.verify.passes`, a JSON list of them as input."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from moesaic.children import Children
from moesaic.errors import FailedRun

__all__ = ["main", "run_passes"]


def run_passes(passes: Sequence[str], *, cwd: Path, what: str) -> None:
    """Run them on an empty design; files are relative to `cwd`.

    Raises
    ------
    FailedRun
        If one fails.
    """
    command = [sys.executable, "-m", "moesaic.flow.verify.passes"]
    done = Children().run(command, feed=json.dumps(list(passes)), cwd=cwd)
    if done.returncode:
        raise FailedRun(f"Yosys must {what}:\n" + "\n".join(done.stdout.splitlines()[-12:]))


def main() -> None:
    """Run what standard input names."""
    from pyosys import libyosys

    design = libyosys.Design()
    for line in json.load(sys.stdin):
        libyosys.run_pass(line, design)


if __name__ == "__main__":
    main()
