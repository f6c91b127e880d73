"""The driver over simulated AXI4-Lite: queues, faults, resets; every good run equals the integer golden model."""

from pathlib import Path

import numpy as np
from driverrig import CONFIG, Case, nano, simulate

from moesaic.compiler.pipeline import compile_model
from moesaic.golden import weights
from moesaic.golden.config import preset
from moesaic.golden.quantize import quantize
from moesaic.golden.training import scenes


def micro(images: int) -> Case:
    """The trained m3vit-micro, with both tasks."""
    config = preset("m3vit-micro")
    model, _, kind = weights.load("m3vit-micro", 0)
    seen, _, _ = scenes.render_batch(range(1000, 1002), config.image_size)
    qmodel = quantize(model, seen, weights=kind, compensate=False)
    pictures, _, _ = scenes.render_batch(range(7, 7 + images), config.image_size)
    return Case(qmodel, compile_model(qmodel, CONFIG), pictures)


def test_every_scenario_on_a_small_network(tmp_path: Path) -> None:
    kept = simulate(nano(), tmp_path, module="tb_driver", limit=30_000)
    assert len(kept) == 4 + 2 + 11 + 3


def test_eight_images_of_micro_then_faults(tmp_path: Path) -> None:
    """m3vit-micro: 8 images, tasks alternating, by interrupt; then each fault by its name, and a correct run
    after it.
    """
    case = micro(8)
    kept = simulate(
        case,
        tmp_path,
        module="tb_driver",
        limit=400_000,
        env={"COCOTB_TEST_FILTER": "queue_of_images|bus_error|corrupt_instruction|soft_reset_in_mid_run"},
    )
    names = [path.name.rsplit("-", 1)[0] for path in kept]
    assert names.count("queue") == 8
    assert {"after_bus_error", "after_corrupt_instruction", "after_soft_reset"} <= set(names)
    assert not np.array_equal(case.expected("semseg", 0), case.expected("semseg", 1))
