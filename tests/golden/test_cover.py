"""Images to calibrate on, chosen so that experts see tokens."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from moesaic.flow import program, quantise
from moesaic.flow.calibration import Calibration, calibration, covering
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden import weights
from moesaic.golden.cover import NEED, Cover, choose_covering, expert_tokens
from moesaic.golden.image_io import write_image
from moesaic.golden.training.scenes import render_batch

SIZE = (64, 64)


def test_experts_without_tokens_get_some_where_an_image_has_them() -> None:
    tokens = np.zeros((6, 4), int)
    tokens[:3, 0] = 50  # the first three show one expert
    tokens[3] = (0, NEED, 5, 0)
    tokens[4] = (0, 0, 20, 0)
    tokens[5] = (0, NEED, 0, 0)
    cover = Cover(tokens)
    assert cover.unused([0, 1, 2]) == 3 and cover.unused([0, 3]) == 1
    assert choose_covering(cover, 3) == [0, 3, 4]
    assert choose_covering(cover, 1) == [3]
    assert choose_covering(Cover(tokens[3:]), 2) == [0, 1]
    assert choose_covering(Cover(np.ones((5, 4), int)), 2) == [0, 1]  # nothing to be gained: the first stay


def test_tokens_are_counted_by_task_mixture_and_expert() -> None:
    model, _, _ = weights.load("m3vit-micro", 0)
    images = render_batch(range(2), SIZE)[0]
    tokens, network = expert_tokens(model, images), model.network
    mixtures = list(network.mixtures.values())
    assert tokens.shape == (2, len(network.tasks) * sum(experts for _, experts in mixtures))
    used = sum(top_k for top_k, _ in mixtures) * network.tokens * len(network.tasks)
    assert tokens.sum(axis=1).tolist() == [used, used]


@pytest.mark.parametrize("module", [program, quantise])
def test_runs_calibrate_on_images_that_were_chosen(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what `covering` gives, and not of what it was given."""
    request = make_request(model="m3vit-micro")
    other = replace(calibration(request), source="chosen")

    class Stop(Exception):
        pass

    def quantised(*_: object, seen: Calibration, **more: object) -> None:
        raise Stop(seen.source)

    monkeypatch.setattr(module, "covering", lambda *_: other)
    monkeypatch.setattr(module, "quantised", quantised)
    with pytest.raises(Stop, match="^chosen$"):
        (program.make_program if module is program else quantise.quantise)(request, Stages(quiet=True))


def test_a_folder_whose_first_images_show_little(tmp_path: Path) -> None:
    """Of 60 files every image that was chosen evenly is grey; scenes that use all experts lie between them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    scenes, grey = render_batch(range(3), SIZE)[0], np.full((3, *SIZE), 128, np.uint8)
    limit = 42
    even = {i * 60 // limit for i in range(limit)}
    spare = [number for number in range(60) if number not in even]
    for number in range(60):
        place = spare.index(number) if number in spare else len(scenes)
        image = scenes[place] if place < len(scenes) else grey
        write_image(folder / f"{number:02}.png", image)
    request = replace(make_request(model="m3vit-micro"), calibrate=folder)
    seen, model = calibration(request), weights.load("m3vit-micro", 0)[0]
    with torch.no_grad():
        model.pos_embed.zero_()  # tokens that show the same are the same
    assert seen.spare is not None and len(seen.spare) == len(spare) and len(seen.images) == 31
    chosen = covering(seen, model, Stages(quiet=True))
    unused = [Cover(expert_tokens(model, images)).unused([*range(31)]) for images in (seen.images, chosen.images)]
    assert unused[1] < unused[0] and len(chosen.images) == 31
    assert covering(chosen, model, Stages(quiet=True)) is chosen
