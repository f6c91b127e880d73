"""Many scenes at once: `moesaic scenes`."""

import dataclasses
import json

import numpy as np
import pytest

from moesaic.errors import InputError
from moesaic.flow import scenes
from moesaic.flow.program import make_program
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.names import ALL_TASKS
from moesaic.report.kept import read_kept, write_kept


@pytest.fixture(scope="module")
def program():
    return make_program(make_request(model="m3vit-micro", task=ALL_TASKS), Stages(quiet=True))[0]


def test_every_scene_on_rtl_is_exact_and_scored(program, tmp_path):
    result = scenes.score_scenes(program, [3, 8], Stages(quiet=True))
    assert result.bit_exact and result.compared[-1] == "RTL"
    assert result.tasks["semseg"].accelerator == pytest.approx(result.tasks["semseg"].by_float, abs=0.02)
    assert result.tasks["depth"].accelerator == pytest.approx(result.tasks["depth"].by_float, rel=0.02)
    assert 250_000 < result.cycles["depth"].least <= result.cycles["depth"].most < 270_000
    write_kept(result, tmp_path / "scenes.json")
    assert read_kept(scenes.ScenesReport, tmp_path / "scenes.json", "scenes") == result


def test_an_output_that_differs_is_named_and_scored_as_it_is(program, tmp_path, monkeypatch):
    execute = scenes.execute

    def wrong(*args, **kwargs):
        first, *others = execute(*args, **kwargs)
        output = first.functional.output.copy()
        output[7, 5] += 1
        broken = dataclasses.replace(first.functional, output=output)
        found = scenes.differences(
            [e["name"] for e in program.image.manifest["tensors"]],
            {"integer golden": first.golden, "functional simulator": broken},
            [1.0] * len(first.golden.marks),
            first.items,
        )
        return [dataclasses.replace(first, functional=broken, differences=found), *others]

    monkeypatch.setattr(scenes, "execute", wrong)
    result = scenes.score_scenes(program, [3], Stages(quiet=True), rtl=False)
    assert not result.bit_exact
    (found,) = result.differences
    assert (found.scene, found.task) == (3, "semseg") and "token 7, channel 5" in found.text
    path = tmp_path / "scenes.json"
    write_kept(result, path)
    whole = json.loads(path.read_text())
    assert whole["differences"] == [{"scene": 3, "task": "semseg", "text": found.text}]
    for change, message in (
        ({"bit_exact": True}, "bit_exact must be False of 1 differences"),
        ({"scenes": ["3"]}, "a whole number"),
        ({"tasks": {"semseg": {"measure": "mIoU", "float": 0.5}}}, "accelerator"),
        ({"more": 1}, "more"),
    ):
        path.write_text(json.dumps({**whole, **change}))
        with pytest.raises(InputError, match=message):
            read_kept(scenes.ScenesReport, path, "scenes")


def test_scores_are_those_of_the_maps(program, tmp_path, monkeypatch):
    monkeypatch.setattr(
        scenes,
        "render_batch",
        lambda seeds, size: (
            np.zeros((1, 3, *size), np.uint8),
            np.zeros((1, *size), np.uint8),
            np.full((1, *size), 7.0, np.float32),
        ),
    )
    result = scenes.score_scenes(program, [0], Stages(quiet=True), rtl=False)
    image = np.zeros((3, 64, 64), np.uint8)
    head = program.network.heads["depth"]
    wanted = head(program.network.model(image, "depth")[-1]).detach().numpy()
    assert result.tasks["depth"].by_float == pytest.approx(float(np.sqrt(((wanted - 7.0) ** 2).mean())), rel=1e-6)


@pytest.mark.parametrize("numbers", [[], [-1], [89_999, 90_000]])
def test_scenes_that_training_has_seen_are_refused(numbers):
    with pytest.raises(InputError, match="scenes must be"):
        scenes.check_numbers(numbers)


def test_part_of_a_network_has_no_maps(program, tmp_path):
    part = dataclasses.replace(program, request=program.request.replace(blocks=2))
    with pytest.raises(InputError, match="blocks must be all 4"):
        scenes.score_scenes(part, [0], Stages(quiet=True), rtl=False)
