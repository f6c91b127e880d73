"""Draw the report of a result folder again, with what a Vivado build says beside it."""

from pathlib import Path
from typing import Annotated

import typer

from moesaic.commands.command import examples, guarded
from moesaic.terminal import print_json, print_result

__all__ = ["EXAMPLES", "report"]

EXAMPLES = examples(
    "report out/m3vit-micro-semseg-micro8",
    "report out/m3vit-tiny-semseg-zcu102 --vivado out/zcu102",
    "report out/m3vit-tiny-semseg-zcu102 --vivado out/zcu102 --json",
)


@guarded
def report(
    folder: Annotated[Path, typer.Argument(help="Result folder of `moesaic run`.")],
    vivado: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A project that `build.tcl` built, or its `build`: hold Vivado's reports against the estimates.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="With --vivado: print the comparison as JSON.")] = False,
) -> None:
    """Draw report.html again from the numbers and data of a result folder."""
    from moesaic.errors import InputError
    from moesaic.report.html import render_page

    if vivado is None:
        if json:
            raise InputError("json must come with --vivado: the report as JSON is report.json of the folder")
        print_result(str(render_page(folder)))
        return
    from moesaic.report.stored import read_report
    from moesaic.report.vivado import compare, plain_comparison, print_comparison

    comparison = compare(read_report(folder), vivado)
    page = render_page(folder, comparison)
    if json:
        print_json(plain_comparison(comparison))
    else:
        print_comparison(comparison, folder)
        print_result(f"report: {page}")
