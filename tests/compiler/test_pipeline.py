"""Batches that do not fit: how many images would."""

import re
from collections import Counter
from typing import Any

import pytest
from quantmodels import random_qmodel

from moesaic.compiler import pipeline
from moesaic.compiler.batch import Batch
from moesaic.compiler.ir import CompileError
from moesaic.errors import InputError
from moesaic.golden.config import M3ViTConfig
from moesaic.hw.spec.presets import PRESETS

MODEL = M3ViTConfig(name="m", image_size=(16, 16), patch_size=8, dim=32, heads=2, depth=1, experts=4, expert_hidden=16)


@pytest.mark.parametrize(("asked", "fit"), [(8, 5), (8, 6), (4, 1), (2, 1)])
def test_the_most_images_that_fit(monkeypatch: pytest.MonkeyPatch, asked: int, fit: int) -> None:
    whole = pipeline.compile_graphs

    def at_most(qmodel: Any, config: Any, *, task: Batch, **options: Any) -> Any:
        if task.images > fit:
            raise CompileError(f"{task.images} are too many")
        return whole(qmodel, config, task=task, **options)

    monkeypatch.setattr(pipeline, "compile_graphs", at_most)
    message = f"batch must be at most {fit} of these images, not {asked}: {asked} are too many"
    with pytest.raises(CompileError, match=message):
        pipeline.compile_batch(random_qmodel(MODEL, 0), PRESETS["micro16"], Batch(("semseg",), asked))


@pytest.mark.parametrize("images", [0, 1, 8, 9])
def test_images_of_a_batch(images: int) -> None:
    if 1 <= images <= 8:
        assert len(Batch(("x", "y"), images).items) == 2 * images
    else:
        with pytest.raises(InputError, match=f"batch must be from 1 to 8 images, not {images}"):
            Batch(("x",), images)


@pytest.mark.parametrize("tasks", [(), ("x", "x")])
def test_tasks_of_a_batch(tasks: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=f"tasks must be at least one, each once, not {', '.join(tasks)!r}"):
        Batch(tasks)


def test_the_window_ends_where_the_bus_ends() -> None:
    config, qmodel = PRESETS["micro16"], random_qmodel(MODEL, 0)
    size = len(pipeline.compile_model(qmodel, config).memory)
    last = (1 << config.addr_bits) - size
    assert pipeline.compile_model(qmodel, config, window_address=last).address == last
    message = (
        rf"window must end below 2\*\*{config.addr_bits} \(addr_bits\), not at {(1 << config.addr_bits) + 4096:#x}"
    )
    with pytest.raises(CompileError, match=message):
        pipeline.compile_model(qmodel, config, window_address=last + 4096)


def test_the_largest_window(monkeypatch: pytest.MonkeyPatch) -> None:
    config, qmodel = PRESETS["micro16"], random_qmodel(MODEL, 0)
    size = len(pipeline.compile_model(qmodel, config).memory)
    monkeypatch.setattr(pipeline, "MOST_BYTES", size)
    pipeline.compile_model(qmodel, config)
    monkeypatch.setattr(pipeline, "MOST_BYTES", size - 1)
    with pytest.raises(CompileError, match=f"window must be at most {size - 1} bytes, not {size}"):
        pipeline.compile_model(qmodel, config)


def test_not_even_one_image_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*given: Any, task: Batch, **options: Any) -> Any:
        raise CompileError(f"{task.images} are too many")

    monkeypatch.setattr(pipeline, "compile_graphs", never)
    with pytest.raises(CompileError, match="^1 are too many$"):
        pipeline.compile_batch(random_qmodel(MODEL, 0), PRESETS["micro16"], Batch(("semseg",), 3))


def test_tokens_of_all_items() -> None:
    """Memories may hold what an instruction cannot name."""
    config = PRESETS["micro16"].replace(max_tokens=8)
    message = "batch must be at most 1 of these images, not 2: tokens of all items must be at most 8 (max_tokens)"
    with pytest.raises(CompileError, match=re.escape(message)):
        pipeline.compile_batch(random_qmodel(MODEL, 0), config, Batch(("semseg",), 2))


@pytest.mark.parametrize(("read", "ok"), [(1, True), (2, False)])
def test_tasks_share_what_they_read(monkeypatch: pytest.MonkeyPatch, read: int, ok: bool) -> None:
    """A matrix that each task reads once is read once for both, and not once for each."""
    monkeypatch.setattr(pipeline, "compile_graphs", lambda *_, task, **__: (task, task))
    monkeypatch.setattr(pipeline, "_uses", lambda task: Counter(matrix=read if len(task.items) > 1 else 1))
    both = Batch(("semseg", "depth"))
    if ok:
        assert pipeline.compile_batch(random_qmodel(MODEL, 0), PRESETS["micro16"], both) == (both, both)
    else:
        with pytest.raises(CompileError, match="layer 'matrix': weights must be read once for all items"):
            pipeline.compile_batch(random_qmodel(MODEL, 0), PRESETS["micro16"], both)
