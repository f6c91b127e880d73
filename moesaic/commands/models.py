"""List the built-in models."""

from typing import Annotated, Any

import typer
from rich.table import Table

from moesaic.commands.command import examples, guarded
from moesaic.flow.accelerators import usual_board
from moesaic.golden.config import PRESETS, network_of
from moesaic.golden.shipped import shipped_weights
from moesaic.terminal import print_json, result_console

__all__ = ["EXAMPLES", "models"]

EXAMPLES = examples("models", "models --json")
OWN = """
Your own model, in place of a name:
  weights           moesaic run --model checkpoint.pth.tar
                    a file or folder: M3ViT, Edge-MoE, ViT and DeiT as timm and transformers write them
  a torch module    moesaic run --model mymodels.py:vit_tiny
                    a function without arguments that returns it
docs/models.md says what is accepted, docs/getting-started.md shows the steps.
"""


def _entry(name: str) -> dict[str, Any]:
    network = network_of(PRESETS[name])
    return {
        "name": name,
        "tasks": list(network.tasks),
        "image": [network.image.channels, *network.image.size],
        "tokens": network.tokens,
        "dim": network.dim,
        "blocks": network.depth,
        "heads": PRESETS[name].heads,
        "mixtures": len(network.mixtures),
        "experts": network.most_experts,
        "top_k": network.most_top_k,
        "macs": network.macs,
        "weight_bytes": network.weight_bytes,
        "weights": "seeded" if shipped_weights(name) is None else "trained",
        "board": usual_board(network),
    }


@guarded
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
) -> None:
    """List the built-in models with their sizes, and say how to bring one of your own."""
    entries = [_entry(name) for name in PRESETS]
    if as_json:
        print_json(entries)
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for title in ("model", "image", "tokens", "channels", "blocks", "experts", "MMACs", "MB", "weights", "board"):
        left = title in ("model", "experts", "weights", "board")
        table.add_column(title, justify="left" if left else "right")
    for entry in entries:
        _, height, width = entry["image"]
        mixed = f"{entry['experts']}, top-{entry['top_k']}, in {entry['mixtures']} blocks"
        table.add_row(
            entry["name"],
            f"{height} × {width}",
            f"{entry['tokens']:,}",
            str(entry["dim"]),
            str(entry["blocks"]),
            mixed if entry["experts"] else "–",
            f"{entry['macs'] / 1e6:,.0f}",
            f"{entry['weight_bytes'] / 1e6:.2f}",
            entry["weights"],
            entry["board"],
        )
    console = result_console(width=120)
    console.print(table)
    console.print(OWN.rstrip(), markup=False)
