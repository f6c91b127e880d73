"""Nets by distance and by loads beside the paths of a whole accelerator that was routed: `python -m
moesaic.flow.distance --out docs/distance.json`.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moesaic.boards.resources import Resources
from moesaic.boards.routing.distance import held, instance_of, nets_between_slices, nets_by_distance
from moesaic.boards.synthesis.distances import Distances
from moesaic.boards.synthesis.ecp5 import ECP5_85, scaled
from moesaic.boards.synthesis.placement import place
from moesaic.boards.synthesis.synthesise import Synthesis
from moesaic.boards.synthesis.wires import SOURCES, EcpWires
from moesaic.flow.boards import accelerator_of
from moesaic.flow.stages import Stages
from moesaic.flow.synth import synthesise_noted
from moesaic.records import to_plain

__all__ = ["compare", "main"]


def _used(routed: Mapping[str, Any]) -> Resources:
    kinds = {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "dsp": "MULT18X18D", "bram36": "DP16KD"}
    return Resources(**{kind: routed["utilisation"][name]["used"] for kind, name in kinds.items()})


def compare(routed: Mapping[str, Any], synthesis: Synthesis) -> dict[str, Any]:
    """Nets by loads, by distance, and as if all cells were in one place, over the paths of a routed accelerator.

    Parameters
    ----------
    routed : mapping
        Its entry in ``route.json``.
    synthesis : Synthesis
        The same accelerator mapped for UltraScale+: how its instances are joined.
    """
    needs = {module: synthesis.resources(module) for module, count in synthesis.places.items() if count}
    blocks = synthesis.blocks(scaled(needs, synthesis.places, _used(routed)))
    known = {".".join(path): number for path, number in blocks.paths.items()}
    distances = Distances(blocks, place(blocks, ECP5_85), ECP5_85)
    wires, paths, model = EcpWires(), routed["paths"], routed["model"]

    def coarse(path: Mapping[str, Any]) -> float:
        start, end = instance_of(path["from"], known), instance_of(path["to"], known)
        count = nets_between_slices(path, model)
        return nets_by_distance(count, distances.between(start, end, 1), distances.between(end, end, 1), wires)

    def together(path: Mapping[str, Any]) -> float:
        return nets_by_distance(nets_between_slices(path, model), (0, 0), (0, 0), wires)

    between = [path for path in paths if instance_of(path["from"], known) != instance_of(path["to"], known)]
    return {
        "accelerator": routed["accelerator"],
        "device": routed["device"],
        "source": routed["source"],
        "wires": SOURCES["ecp5"],
        "paths": len(paths),
        "between": len(between),
        "models": {
            "loads": to_plain(held(paths, lambda path: path["model_ns"] - path["cells_ns"])),
            "distance": to_plain(held(paths, coarse)),
            "no distance": to_plain(held(paths, together)),
        },
        "models_between": {
            "loads": to_plain(held(between, lambda path: path["model_ns"] - path["cells_ns"])),
            "distance": to_plain(held(between, coarse)),
        },
    }


def main() -> None:
    """Compare and write the file."""
    parser = argparse.ArgumentParser(prog="python -m moesaic.flow.distance", description=__doc__)
    parser.add_argument("--routed", type=Path, default=Path("docs/route.json"), help="what was routed")
    parser.add_argument("--out", type=Path, default=Path("docs/distance.json"), help="file to write")
    given = parser.parse_args()
    (whole,) = (entry for entry in json.loads(given.routed.read_text(encoding="utf-8")) if not entry["unit"])
    accelerator = accelerator_of(whole["accelerator"])[2]
    synthesis = synthesise_noted(accelerator, family="zynqmp", uram=bool(accelerator.ultra_ram), stages=Stages())
    given.out.write_text(json.dumps(compare(whole, synthesis), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
