"""The interface for Python: every block of its page, and what is refused."""

import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import moesaic
from moesaic import api
from moesaic.errors import InputError
from moesaic.golden.evaluation.accuracy import METRICS
from moesaic.golden.importers.options import ImportOptions

PAGE = Path(__file__).parents[1] / "docs" / "api.md"


def test_every_block_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    names = runpy.run_path(str(script))
    shown = names["result"]._repr_html_()
    assert "bit exact</th><td>True" in shown and "data:image/png;base64," in shown
    assert "<th>tokens</th><td>16</td>" in names["model"]._repr_html_()
    assert "12 images of the caller" in names["integers"]._repr_html_()
    assert f"estimated</th><td>{next(iter(names['program'].cycles.values())):,}<" in names["program"]._repr_html_()


def test_all_that_the_package_offers() -> None:
    assert set(moesaic._API) == set(api.__all__) and all(hasattr(moesaic, name) for name in api.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(moesaic, "noth" + "ing")


@pytest.fixture(scope="module")
def micro() -> api.Quantised:
    return moesaic.load("m3vit-micro").quantise()


def test_images_of_the_caller_are_what_is_computed(micro: api.Quantised) -> None:
    """The program's residual is that of the integers on the same image, and another on another."""
    told: list[str] = []
    program = micro.compile("micro8", task="depth", progress=told.append)
    image = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    result = program.simulate(image)
    assert result.bit_exact and result.cycles == {"depth": None}
    step = np.float32(micro.integers.blocks[-1].residual_step)
    head = micro.model.float_model.heads["depth"]
    with torch.no_grad():
        expected = head(torch.from_numpy(result.residuals["depth"] * step)).numpy()
    np.testing.assert_array_equal(micro.outputs(image, "depth"), expected)
    assert not np.array_equal(micro.outputs(255 - image, "depth"), expected)
    assert any(text.startswith("program for micro8") for text in told)


def test_settings_reach_the_program() -> None:
    narrow = moesaic.load("m3vit-micro").quantise(widths="w4a8")
    assert narrow.integers.widths == "w4a8" and narrow.compile("micro8").request.widths == "w4a8"


def test_what_is_refused(micro: api.Quantised, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="model must be one of .*, not 'm3vit-huge'"):
        moesaic.load("m3vit-huge")
    with pytest.raises(InputError, match="image, name must be given with a module, not with 'm3vit-micro'"):
        moesaic.load("m3vit-micro", image=torch.zeros(1, 3, 8, 8), name="x")
    with pytest.raises(InputError, match="--heads must not be given"):
        moesaic.load(nn.Linear(1, 1), options=ImportOptions(heads=3))
    with pytest.raises(InputError, match=r"calibration images must be \[n, 3, 64, 64\]"):
        micro.model.quantise(np.zeros((1, 3, 32, 32), np.uint8))
    with pytest.raises(InputError, match="calibration images must be uint8, not 'float64'"):
        micro.model.quantise(np.zeros((1, 3, 64, 64)))
    with pytest.raises(InputError, match="task must be one of semseg, depth, not 'x'"):
        micro.outputs(np.zeros((3, 64, 64), np.uint8), "x")
    grey = Image.new("RGB", (64, 64))
    for items, said in [
        ([], "dataset must have at least one item"),
        ([grey], "item 0 must be an image with its target"),
        ([(grey, 0), ("picture", 1)], "item 1 must be an image, not one no image, tensor or array but str"),
    ]:
        with pytest.raises(InputError, match=said):
            micro.evaluate(items)
    with pytest.raises(InputError, match="metric must be top1 or top5, or a function"):
        micro.evaluate([(grey, 0)], "top2")
    program = micro.compile("micro8", task="depth")
    with pytest.raises(InputError, match="images must be 1, the program's batch, not 2"):
        program.simulate(np.zeros((2, 3, 64, 64), np.uint8))
    with pytest.raises(InputError, match="micro8"):
        program.generate(tmp_path / "out")


def test_a_metric_of_the_caller_s(micro: api.Quantised) -> None:
    """It is given maps and targets in the order of the items: first the float network's, then those of the integers."""
    seen: list[Any] = []
    maps: list[Any] = []

    def count(outputs: Any, targets: Any) -> float:
        seen.append(targets)
        maps.append(outputs)
        return float(np.mean([output.shape == (64, 64) for output in outputs]))

    items = [{"image": Image.new("L", (64, 64), 40 * k), "label": k} for k in range(3)]
    found = micro.evaluate(items, count, task="depth", limit=2)
    assert (found.before, found.after, found.items, found.metric) == (1, 1, 2, "count") and seen == [[0, 1], [0, 1]]
    network = micro.model.float_model
    for number, item in enumerate(items[:2]):
        image = np.asarray(item["image"].convert("RGB")).transpose(2, 0, 1)
        with torch.no_grad():
            expected = network.heads["depth"](network.model(np.ascontiguousarray(image), "depth")[-1]).numpy()
        np.testing.assert_array_equal(maps[0][number], expected)
        np.testing.assert_array_equal(maps[1][number], micro.outputs(np.ascontiguousarray(image), "depth"))
        assert not np.array_equal(maps[0][number], maps[1][number])


def test_shares_of_the_largest_logits() -> None:
    outputs = [np.array([0.0, 3, 2, 1, -1, -2]), np.array([[5.0, 4, 3, 2, 1, 0]])]
    assert METRICS["top1"](outputs, [1, 1]) == 0.5 and METRICS["top1"](outputs, [2, 5]) == 0
    assert METRICS["top5"](outputs, [4, 5]) == 0.5 and METRICS["top5"](outputs, [0, 4]) == 1
