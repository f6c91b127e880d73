"""The ECP5 that a whole accelerator was routed on, as a grid: what the net model is held against."""

from collections.abc import Mapping

from moesaic.boards.resources import Resources
from moesaic.boards.synthesis.grid import Grid

__all__ = ["ECP5_85", "scaled"]

# 83,640 LUTs of four inputs and as many flip-flops; 156 multipliers, 208 memories of 18 Kbit (docs/route.json). Columns
# and rows with those of multipliers, memories and pins, about as Project Trellis has them.
ECP5_85 = Grid(126.0, 96.0, Resources(lut=83_640, ff=83_640, dsp=156, bram36=208))


def scaled(needs: Mapping[str, Resources], places: Mapping[str, int], used: Resources) -> dict[str, Resources]:
    """What modules take on another device, if each grows as the whole does.

    Parameters
    ----------
    needs : mapping of module to Resources
    places : mapping of module to int
    used : Resources
        Of the whole, as routed.
    """
    total = Resources()
    for module, amount in needs.items():
        total = total + amount * places[module]
    factor = {kind: getattr(used, kind) / amount if amount else 0.0 for kind, amount in total.to_dict().items()}
    return {
        module: Resources(
            lut=round(one.lut * factor["lut"]),
            ff=round(one.ff * factor["ff"]),
            dsp=round(one.dsp * factor["dsp"]),
            bram36=one.bram36 * factor["bram36"],
        )
        for module, one in needs.items()
    }
