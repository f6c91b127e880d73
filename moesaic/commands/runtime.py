"""Write what a board needs to run programs."""

from pathlib import Path
from typing import Annotated

import typer

from moesaic.commands.command import examples, guarded
from moesaic.terminal import print_result

__all__ = ["EXAMPLES", "runtime"]

EXAMPLES = examples("runtime", "runtime --out out/board")


@guarded
def runtime(out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("out/runtime")) -> None:
    """Write the host runtime for a board: pure Python with numpy, examples, and how to use them."""
    from moesaic.flow.runtime import make_runtime

    make_runtime(out)
    print_result(f"runtime: {out}")
