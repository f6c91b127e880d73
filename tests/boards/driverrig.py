"""Programs and the simulated accelerator that the tests of the driver share."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from quantmodels import random_image, random_qmodel

from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import compile_model
from moesaic.flow.verify.nano import NANO as ONE_TASK
from moesaic.golden import weights
from moesaic.golden.config import preset
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.golden.quantize import quantize
from moesaic.golden.training import scenes
from moesaic.hw.spec.config import AcceleratorConfig
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.rtl import RtlSimulator
from moesaic.sim.verilated import run

__all__ = ["CONFIG", "Case", "micro", "nano", "simulate"]

CONFIG = PRESETS["micro8"]
NANO = replace(ONE_TASK, tasks=("x", "y"))


@dataclass(frozen=True)
class Case:
    """A program, images, and what must come out."""

    qmodel: QuantModel
    program: ProgramImage
    images: np.ndarray

    def expected(self, task: str, number: int) -> np.ndarray:
        """Final residual by the integer golden model."""
        return IntM3ViT.of(self.qmodel, self.program.config).run(self.images[number], task)[-1]


def nano(images: int = 4, *, config: AcceleratorConfig = CONFIG) -> Case:
    """Two blocks, two tasks: some 3,000 cycles a run."""
    qmodel = random_qmodel(NANO, 3)
    pictures = np.stack([random_image(NANO, seed) for seed in range(images)])
    return Case(qmodel, compile_model(qmodel, config, speculate=1), pictures)


def micro(images: int) -> Case:
    """The trained m3vit-micro, with both tasks."""
    config = preset("m3vit-micro")
    model, _, kind = weights.load("m3vit-micro", 0)
    seen, _, _ = scenes.render_batch(range(1000, 1002), config.image_size)
    qmodel = quantize(model, seen, weights=kind, compensate=False)
    pictures, _, _ = scenes.render_batch(range(7, 7 + images), config.image_size)
    return Case(qmodel, compile_model(qmodel, CONFIG), pictures)


def simulate(
    case: Case, folder: Path, *, module: str, limit: int, env: dict[str, str] | None = None, **more: str
) -> list[Path]:
    """Run a cocotb module on the RTL of `CONFIG`, with `more` in its job; compare every result that it kept with the
    integer golden model.
    """
    simulator = RtlSimulator(CONFIG, memory_bytes=1 << 19, base=case.program.address)
    case.program.save(folder / "program")
    np.save(folder / "images.npy", case.images)
    job = {"program": str(folder / "program"), "images": str(folder / "images.npy"), "limit": limit, **more}
    (folder / "job.json").write_text(json.dumps(job))
    run(
        simulator.build(),
        test_module=module,
        work_dir=folder / "work",
        timeout_s=900,
        env={"MOESAIC_JOB": str(folder / "job.json"), **(env or {})},
    )
    kept = sorted((folder / "work" / "results").glob("*.npz"))
    for path in kept:
        with np.load(path) as saved:
            task, number = str(saved["task"]), int(saved["image"])
            tokens = saved["tokens"] if "tokens" in saved else case.program.unpack_result(saved["result"].tobytes())
        assert np.array_equal(tokens, case.expected(task, number)), path.name
    return kept
