"""The table of timm's and torchvision's models in docs/models.md: `python tests/frontend/survey.py` makes it anew.

With names of models, only their rows.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from packages import CASES, Case, imported, of_full_size

from moesaic.compiler.ir import CompileError
from moesaic.compiler.memory import BOARD_MEMORY
from moesaic.flow.conditions import conditions_of
from moesaic.flow.forecast import forecast, whole_graph
from moesaic.golden.frontend.capture import CaptureError, capture
from moesaic.golden.hollow import hollow_model
from moesaic.golden.network import Network
from moesaic.hw.spec.presets import PRESETS

__all__ = ["DATA", "PAGE", "cycles_of", "facts_of", "read_case", "table"]

DOCS = Path(__file__).parents[2] / "docs"
DATA, PAGE = DOCS / "packages.json", DOCS / "models.md"
BEGIN, END = "<!-- of packages.json -->\n\n", "\n<!-- to here -->"
_PRESETS = ("zcu102", "zcu102-small")  # the second has more memory for tokens, in place of some for weights
_HOST = {"layer_norm": "norm", "mean": "mean", "linear": "linear", "gelu": "GELU"}


def read_case(case: Case) -> tuple[Network, dict[str, Any]]:
    """The network of full size, and what of the model is on the host.

    Raises
    ------
    CaptureError
        If the model is refused, or its outputs differ by 1e-5 of the largest.
    """
    module, side = case.small()
    found = capture(module, torch.zeros(1, 3, side, side))
    (words,) = (note.partition(": ")[2] for note in found.notes if note.startswith("on the host"))
    host = [f"{word.split(' x ')[0]} × {_HOST[word.split(' x ')[1]]}" for word in words.split(", ")]
    return of_full_size(case, found.network), {"host": ", ".join(host), "exact": found.difference < 1e-5}


def facts_of(network: Network) -> dict[str, int]:
    """Sizes that cycles follow from."""
    attention, mlp = (node.sizes for node in network.blocks[0].nodes)
    return {
        "image": network.image.height,
        "tokens": network.tokens,
        "dim": network.dim,
        "blocks": network.depth,
        "heads": attention.heads,
        "hidden": mlp.hidden,
    }


def cycles_of(network: Network) -> dict[str, Any]:
    """Preset and cycles by the analytic model with the board's memory; or what the largest preset lacks."""
    problem = ""
    for name in _PRESETS:
        accelerator = PRESETS[name]
        try:
            graph = whole_graph(hollow_model(network), accelerator, network.tasks[0])
        except CompileError as error:
            problem = str(error).partition("\n")[0]
            continue
        ddr = conditions_of(accelerator, name, memory=BOARD_MEMORY).ddr
        return {"preset": name, "cycles": forecast(graph, accelerator, ddr=ddr).cycles}
    return {"preset": None, "cycles": None, "problem": problem}


def _row(case: Case) -> dict[str, Any]:
    try:
        network, more = read_case(case)
    except CaptureError as error:
        assert case.refused and case.refused in str(error), error
        return {"model": case.title, "package": case.package, "refused": case.why}
    assert not case.refused and more.pop("exact"), case
    return {"model": case.title, "package": case.package, **facts_of(network), **cycles_of(network), **more}


def _cells(row: Mapping[str, Any]) -> list[str]:
    name = f"`{row['model']}`" + ("" if row["package"] == "timm" else f" of {row['package']}")
    if "refused" in row:
        return [name, "refused: " + row["refused"], *["–"] * 6]
    side = f"{row['image']} × {row['image']}"
    return [
        name,
        "captured",
        side,
        f"{row['tokens']:,} × {row['dim']}",
        str(row["blocks"]),
        row["preset"] or "none",
        "–" if row["cycles"] is None else f"{row['cycles']:,}",
        row["host"],
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Lines of Markdown."""
    titles = ("model", "status", "image", "tokens × channels", "blocks", "preset", "cycles", "on the host")
    lines = [titles, ["---"] * len(titles), *(_cells(row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    """Write the data, and the table into the page."""
    imported("timm")
    kept = {row["model"]: row for row in json.loads(DATA.read_text(encoding="utf-8"))} if sys.argv[1:] else {}
    for case in CASES:
        if case.title not in kept or case.name in sys.argv[1:]:
            kept[case.title] = _row(case)
            print(json.dumps(kept[case.title], ensure_ascii=False), file=sys.stderr, flush=True)
    rows = [kept[case.title] for case in CASES]
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    DATA.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(before + BEGIN + table(rows) + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
