"""A mixture of experts beside its dense twin: `python -m moesaic.golden.evaluation.compare_dense --twin FILE`."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from moesaic.golden import weights
from moesaic.golden.config import PRESETS, M3ViTConfig, network_of, preset
from moesaic.golden.evaluation.quality import quality
from moesaic.golden.heads import Heads
from moesaic.golden.m3vit import M3ViT
from moesaic.golden.network import Network
from moesaic.golden.threads import one_thread
from moesaic.golden.training.trainer import dense_twin

__all__ = ["cost", "load_twin", "table"]


def load_twin(config: M3ViTConfig, path: Path) -> tuple[M3ViT, Heads]:
    """The trained dense twin of a model, and its heads, in inference mode.

    Raises
    ------
    WeightError, OSError
        If the file is not that of this twin, or cannot be read.
    """
    network = network_of(dense_twin(config))
    model, heads = M3ViT(network), Heads(network)
    weights.load_tensors(model, heads, weights.read_file(path), str(path))
    return model.eval(), heads.eval()


def cost(network: Network) -> dict[str, Any]:
    """What a backbone costs: `parameters`; `macs_one_task` and `macs_all_tasks` of an image; `weight_bytes` of one task
    at int8.

    Gates make a backbone a task's own, so that all tasks take as many passes; without, one pass is everybody's.
    """
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in M3ViT(network).parameters())
    return {
        "parameters": parameters,
        "macs_one_task": network.macs,
        "macs_all_tasks": network.macs * (len(network.tasks) if network.mixtures else 1),
        "weight_bytes": network.weight_bytes,
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        (
            "| model | parameters | multiplications, one task | all tasks | weights read, one task (int8) | "
            "mIoU | depth RMSE |"
        ),
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        miou, rmse = row.get("miou"), row.get("depth_rmse_m")
        cells = (
            row["model"],
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['macs_one_task'] / 1e6:,.1f} M",
            f"{row['macs_all_tasks'] / 1e6:,.1f} M",
            f"{row['weight_bytes'] / 1e6:.2f} MB",
            "–" if miou is None else f"{miou:.4f}",
            "–" if rmse is None else f"{rmse:.3f} m",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate both, count, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m moesaic.golden.evaluation.compare_dense", description=__doc__)
    parser.add_argument(
        "--model",
        default="m3vit-tiny",
        choices=sorted(n for n, c in PRESETS.items() if c.experts),
        help="default: %(default)s",
    )
    parser.add_argument("--weights", type=Path, help="parameters of the model in place of the shipped ones")
    parser.add_argument(
        "--twin", type=Path, required=True, help="parameters of its twin, as `train --baseline` wrote them"
    )
    parser.add_argument("--scenes", type=int, default=500, help="unseen scenes (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file to write as well")
    options = parser.parse_args(arguments)
    if options.scenes < 1:
        parser.error(f"scenes must be positive, not {options.scenes!r}")
    config = preset(options.model)
    try:
        model, heads, _ = weights.load(config.name, 0, options.weights)
        twin, twins_heads = load_twin(config, options.twin)
    except (OSError, weights.WeightError) as error:
        parser.error(str(error))
    rows = []
    for one, its_heads in ((model, heads), (twin, twins_heads)):
        with one_thread():
            found = quality(one, its_heads, options.scenes)
        rows.append({"model": one.network.name, **cost(one.network), **found})
    whole = dataclasses.replace(config, name=f"{config.name}, every token through every expert", top_k=config.experts)
    rows.append({"model": whole.name, **cost(network_of(whole))})
    if options.out is not None:
        partial = options.out.with_name(options.out.name + ".partial")
        try:
            partial.write_text(json.dumps({"scenes": options.scenes, "rows": rows}, indent=1) + "\n", encoding="utf-8")
            partial.replace(options.out)
        finally:
            partial.unlink(missing_ok=True)
    print(table(rows))


if __name__ == "__main__":
    main()
