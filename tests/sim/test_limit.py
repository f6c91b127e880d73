"""How long a simulation goes on before a run is given up."""

import dataclasses

from moesaic.compiler.image import ProgramImage
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.rtl import limit_of

CONFIG = PRESETS["zcu104-small"]


def program(cycles: int, items: int) -> ProgramImage:
    """A program whose products keep every multiplier busy for so many cycles an item."""
    item = {"image": 0, "task": "semseg"}
    manifest = {
        "accelerator": dataclasses.asdict(CONFIG),
        "macs": cycles * CONFIG.rows * CONFIG.lanes,
        "tasks": {"short": {"items": [item]}, "long": {"items": [item] * items}},
    }
    return ProgramImage(b"", manifest)


def test_a_run_gets_time_for_its_products() -> None:
    assert limit_of(program(0, 1)) == 20_000_000
    assert limit_of(program(19_137_335, 1)) == 20_000_000 + 8 * 19_137_335  # m3vit-small
    assert limit_of(program(1_000, 3)) == 20_000_000 + 8 * 3_000
