"""An error on every beat of every burst, one run each: every one has its name, and the run after it is exact."""

from dataclasses import replace

from moesaic.flow.verify.nano import Nano
from moesaic.flow.verify.runs import Case, drawn_campaign
from moesaic.flow.verify.slaves import RESPONSES, bad_beat

__all__ = ["BEATS", "beats", "draw"]

STRIDE = 397  # beats between two cases; it shares no factor with their number, so that fewer cases are spread evenly


def beats(nano: Nano) -> list[tuple[str, int]]:
    """Region and address of each beat that a run may read or write."""
    beat = nano.program.config.port_bits // 8
    regions = [nano.program.region(entry["name"]) for entry in nano.program.manifest["regions"]]
    return [(r.name, r.address + place) for r in regions for place in range(0, r.bytes, beat)]


def draw(nano: Nano, seed: int, number: int) -> Case:
    """The case of that number. The first are all there are: each beat with each response."""
    every = beats(nano)
    place, response = divmod(number, len(RESPONSES))
    case = bad_beat(nano, number, *every[place * STRIDE % len(every)], list(RESPONSES)[response])
    return replace(case, allowed=case.allowed[:1])  # every beat of this network is read or written


BEATS = drawn_campaign("beats", "an error on each beat of a run", draw)
