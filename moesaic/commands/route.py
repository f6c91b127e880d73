"""Place and route on a device with free tools."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from moesaic.commands.command import examples, guarded
from moesaic.commands.options import Quiet
from moesaic.flow.boards import accelerator_of, board_choices
from moesaic.flow.stages import Stages
from moesaic.terminal import print_json, result_console

__all__ = ["EXAMPLES", "route"]

EXAMPLES = examples(
    "route --config micro8 --unit weights.reader_0",
    "route --config micro8 --device ecp5-85k --out out/route",
)
SHOWN = 10


def _print(console: Console, result: dict[str, Any]) -> None:
    used = ", ".join(
        f"{kind} {amount['used']:,} of {amount['available']:,}" for kind, amount in result["utilisation"].items()
    )
    console.print(f"{result['unit'] or result['accelerator']} on {result['device']}: {result['achieved_mhz']:g} MHz")
    console.print(used, style="dim")
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("routed ns", "routing", "model ns"):
        table.add_column(title, justify="right")
    table.add_column("from, to", overflow="fold")
    for path in result["paths"][:SHOWN]:
        table.add_row(
            f"{path['routed_ns']:.2f}",
            f"{100 * path['routing_share']:.0f} %",
            f"{path['model_ns']:.2f}",
            f"{path['from']}\n{path['to']}",
        )
    console.print(table)
    model = result["model"]
    console.print(
        f"the model over {model['paths']} paths: median error {100 * model['median_error']:+.0f} %, worst "
        f"{100 * model['worst_error']:+.0f} %; with nets {model['net_full']:g} times as long it covers nine of ten"
    )
    console.print(result["note"], style="dim")


@guarded
def route(
    config: Annotated[
        str, typer.Option(help=f"Accelerator: {', '.join(board_choices())}, or a board's .toml file.")
    ] = "micro8",
    unit: Annotated[
        str, typer.Option(help="Only this unit, by its instance path.", show_default="the whole accelerator")
    ] = "",
    device: Annotated[str, typer.Option(help="Device to route for.")] = "ecp5-85k",
    clock_mhz: Annotated[float, typer.Option(min=1, help="Clock that the tool aims at, MHz.")] = 100.0,
    minutes: Annotated[float, typer.Option(min=0.01, help="End it after so many minutes.")] = 120.0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for route.json and the device's configuration.", show_default="none")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print route.json, and nothing else.")] = False,
    quiet: Quiet = False,
) -> None:
    """Place and route an accelerator or one of its units: clock, nets, and how well the timing model holds."""
    accelerator = accelerator_of(config)[2]
    from moesaic.flow.route import route_unit

    result = route_unit(
        accelerator,
        Stages(quiet=quiet),
        unit=unit,
        device=device,
        asked_mhz=clock_mhz,
        minutes=minutes,
        out=out,
    )
    if as_json:
        print_json(result)
    else:
        _print(result_console(width=110), result)
