"""Draw the report of a result folder again."""

from pathlib import Path
from typing import Annotated

import typer

from moesaic.commands.command import examples, guarded
from moesaic.terminal import print_result

__all__ = ["EXAMPLES", "report"]

EXAMPLES = examples("report out/m3vit-micro-semseg-micro8")


@guarded
def report(folder: Annotated[Path, typer.Argument(help="Result folder of `moesaic run`.")]) -> None:
    """Draw report.html again from the numbers and data of a result folder."""
    from moesaic.report.html import render_page

    print_result(str(render_page(folder)))
