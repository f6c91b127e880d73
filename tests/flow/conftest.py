"""The network and the accelerator that all tests of the whole flow share: m3vit-micro on micro8, built once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.golden import weights
from moesaic.golden.config import preset
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.golden.training import scenes
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.compare import compare
from moesaic.sim.rtl import RtlResult, RtlRun, RtlSimulator

LIMIT = 1_000_000  # cycles of a run


class Rig:
    """Runs programs on the RTL and compares with the integer model."""

    config = PRESETS["micro8"]

    def __init__(self, directory: Path, config: AcceleratorConfig = config, memory_bytes: int = 1 << 19) -> None:
        # One build for all programs of these tests.
        self.directory, self.config, self.memory_bytes, self.jobs = directory, config, memory_bytes, 0

    def run(
        self, program: ProgramImage, runs: list[RtlRun], *, limit: int = LIMIT, **options: object
    ) -> list[RtlResult]:
        """One simulation; no run of it may break a rule of AXI4."""
        assert len(program.memory) <= self.memory_bytes
        self.jobs += 1
        simulator = RtlSimulator(self.config, memory_bytes=self.memory_bytes, base=program.address)
        results = simulator.run(
            program, runs, work_dir=self.directory / str(self.jobs), limit=limit, timeout_s=900, **options
        )
        assert len(results) == len(runs)
        for number, result in enumerate(results):
            assert result.violations["mask"] == 0, (number, result.violations, result.error)
        return results

    def check(
        self, qmodel: QuantModel, result: RtlResult, image: np.ndarray, task: str, blocks: int | None = None
    ) -> None:
        """Every block and the output, bit for bit."""
        assert result.error is None, result.error
        expected = IntM3ViT.of(qmodel, self.config).run(image, task, blocks=blocks)
        assert len(result.marks) == len(expected) + 1
        for number, (mark, wanted) in enumerate(zip(result.marks[1:], expected, strict=True)):
            assert compare(f"blocks.{number}", mark, wanted) is None
        assert compare("output", result.output, expected[-1]) is None


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    return Rig(tmp_path_factory.mktemp("rtl"))


@pytest.fixture
def wide_rig(tmp_path: Path) -> Callable[[AcceleratorConfig], Rig]:
    """Makes one for an accelerator with wide operands."""
    return lambda config: Rig(tmp_path, config, 1 << 21)


@pytest.fixture(scope="session")
def micro() -> QuantModel:
    """m3vit-micro, quantised on two scenes."""
    config = preset("m3vit-micro")
    model, _, kind = weights.load("m3vit-micro", 0)
    images, _, _ = scenes.render_batch(range(1000, 1002), config.image_size)
    return quantize(model, images, weights=kind, compensate=False)


@pytest.fixture(scope="session")
def micro_program(micro: QuantModel) -> ProgramImage:
    return compile_model(micro, Rig.config)


@pytest.fixture(scope="session")
def scene() -> np.ndarray:
    """An image [3, height, width] that calibration did not see."""
    return scenes.render_batch([7], preset("m3vit-micro").image_size)[0][0]
