"""The driver over simulated AXI4-Lite: queues, faults, resets; every good run equals the integer golden model."""

from pathlib import Path

import numpy as np
from driverrig import micro, nano, simulate


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
