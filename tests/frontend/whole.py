"""From a captured model to the functional simulator, bit for bit."""

import numpy as np

from moesaic.compiler.pipeline import compile_model
from moesaic.golden.calibrate import calibration_images
from moesaic.golden.frontend.capture import Captured
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.quantize import quantize
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.functional import FunctionalSimulator

MICRO = PRESETS["micro8"]


def assert_runs_bit_exact(captured: Captured, accelerator=MICRO, *, lively=True, images=2) -> np.ndarray:
    """Quantised, compiled, simulated: the integers of every task are the golden model's; those of the last one.

    `lively`: they are not all about the same.
    """
    images = calibration_images(captured.network, images)
    qmodel = quantize(captured.model(), images, weights="imported", compensate=False)
    program = compile_model(qmodel, accelerator)
    simulator = FunctionalSimulator(accelerator)
    simulator.load(program)
    for task in captured.network.tasks:
        expected = IntM3ViT.of(qmodel, accelerator).run(images[0], task)
        run = simulator.run(task, images[0])
        np.testing.assert_array_equal(program.unpack_result(run.result), expected[-1])
        assert not lively or np.ptp(expected[-1]) > 100
    return expected[-1] * np.float32(qmodel.blocks[-1].residual_step)
