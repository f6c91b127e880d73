"""What goes wrong in one item is named with it, and the run after it is right."""

import numpy as np
import pytest
from quantmodels import random_image, random_qmodel

from moesaic.compiler.batch import Batch, Item
from moesaic.compiler.image import ProgramImage
from moesaic.compiler.pipeline import Compilation, compile_all
from moesaic.golden.config import M3ViTConfig
from moesaic.golden.m3vit_int import IntM3ViT
from moesaic.golden.qmodel import QuantModel
from moesaic.hw.spec import isa
from moesaic.hw.spec.isa import Opcode
from moesaic.hw.spec.presets import PRESETS
from moesaic.sim.rtl import RtlRun

CONFIG = PRESETS["micro8"]
SLVERR = {"err_resp": 2}
NANO = M3ViTConfig(
    name="nano",
    image_size=(32, 32),
    patch_size=8,
    dim=16,
    heads=2,
    depth=2,
    mlp_ratio=2,
    experts=4,
    expert_hidden=16,
    top_k=2,
    tasks=("x", "y"),
)
BATCH = Batch(NANO.tasks, 2)
EVERY = "all items"


@pytest.fixture(scope="module")
def qmodel() -> QuantModel:
    return random_qmodel(NANO, 3)


@pytest.fixture(scope="module")
def compilation(qmodel: QuantModel) -> Compilation:
    return compile_all(qmodel, CONFIG, tasks=[BATCH], speculate=1)


def instructions(compilation: Compilation, **wanted: object) -> list[int]:
    """Numbers of the compute instructions whose operations have these values."""
    ops = [op for op in compilation.scheduled["all"].ops if op.stage != "result"]
    return [k for k, op in enumerate(ops) if all(getattr(op, name) == value for name, value in wanted.items())]


def broken(program: ProgramImage, index: int) -> list[tuple[int, bytes]]:
    """A patch that takes all vectors from a compute instruction, which is refused."""
    address = program.task("all")["compute"]["address"] + index * isa.INSTRUCTION_BYTES
    low = address - program.address
    _, fields = isa.decode(program.memory[low : low + isa.INSTRUCTION_BYTES])
    fields.pop("opcode", None)
    return [(address, isa.encode(Opcode.MATMUL, {**fields, "token_count": 0}))]


def test_instructions_of_some_items(compilation: Compilation) -> None:
    """Before the tasks part, an image is two items."""
    program, (a, b, c, d) = compilation.image, BATCH.items
    assert (a, b, c, d) == (Item(0, "x"), Item(1, "x"), Item(0, "y"), Item(1, "y"))
    first, second = (instructions(compilation, name=f"blocks.0.attn.scores.1.{part}")[0] for part in range(2))
    assert (program.items_at("all", first), program.items_at("all", second)) == ((a, c), (b, d))
    routes = instructions(compilation, role="route")
    assert [program.items_at("all", k) for k in routes] == [(a, b), (c, d)] * (len(routes) // 2)
    copy = next(k for k, op in enumerate(compilation.scheduled["all"].ops) if op.moved)
    assert [program.items_at("all", k) for k in (copy, copy + 1)] == [(c, d), (a, b)]
    assert program.items_at("all", instructions(compilation, role="fc1")[-1]) == BATCH.items


def test_errors_name_their_items(rig, qmodel: QuantModel, compilation: Compilation) -> None:
    program = compilation.image
    images = np.stack([random_image(NANO, seed) for seed in (3, 4)])
    model = IntM3ViT.of(qmodel, CONFIG)
    expected = np.concatenate([model.run(images[item.image], item.task)[-1] for item in BATCH.items])
    image, result, weights = program.region("image.0"), program.region("result"), program.region("weights.0")
    scores, routes = (instructions(compilation, role=role) for role in ("scores", "route"))
    cases = [
        ({"patches": broken(program, scores[3])}, "BAD_FIELD", "of image 1, x; image 1, y"),
        ({"patches": broken(program, routes[1])}, "BAD_FIELD", "of image 0, y; image 1, y"),
        ({"memory": {"err_addr": image.address, **SLVERR}}, "READ_SLVERR", "of image 0, x; image 0, y"),
        (
            {"memory": {"err_addr": image.address + image.bytes - 16, **SLVERR}},
            "READ_SLVERR",
            "of image 1, x; image 1, y",
        ),
        ({"memory": {"err_addr": weights.address + 16, **SLVERR}}, "READ_SLVERR", f"of {EVERY}"),
        ({"memory": {"err_addr": result.address + result.bytes - 16, **SLVERR}}, "WRITE_SLVERR", "of image 1, y"),
    ]
    bad = [RtlRun("all", image=images, memory_after={"err_resp": 0}, watchdog=20_000, **how) for how, _, _ in cases]
    good = RtlRun("all", image=images)
    results = rig.run(program, [run for each in bad for run in (each, good)])
    for (_, code, items), failed, after in zip(cases, results[::2], results[1::2], strict=True):
        text = failed.error["text"].replace("; the bus still owes responses", "")
        assert failed.error["code"] == code and text.endswith(f"{items})"), failed.error
        assert after.error is None and np.array_equal(after.output, expected), code
