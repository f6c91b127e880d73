"""Images to calibrate on, chosen so that experts see tokens."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from moesaic.errors import InputError
from moesaic.flow import program, quantise
from moesaic.flow.calibration import Calibration, calibration, covering, given_images
from moesaic.flow.request import make_request
from moesaic.flow.stages import Stages
from moesaic.golden import weights
from moesaic.golden.config import network_of, preset
from moesaic.golden.cover import Cover, choose_covering, choose_greedily, choose_sufficient, expert_tokens, thin_experts
from moesaic.golden.image_choice import NEED, Coverage, ThinExpert, least_tokens
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


def test_a_greedy_choice_reaches_the_minimum_of_every_expert() -> None:
    tokens = np.zeros((8, 3), int)
    tokens[:6, 0] = 50
    tokens[[1, 3], 1] = 7, 9
    tokens[7] = (0, 4, 5)
    assert choose_greedily(Cover(tokens, 10), 3) == [0, 3, 7]
    assert choose_greedily(Cover(tokens, 1), 3) == [0, 1, 7]  # a token each is enough: then the first
    assert choose_greedily(Cover(np.ones((5, 3), int), 9), 2) == [0, 1]
    enough = np.array([[9, 0], [0, 9], [9, 9], [9, 9]])
    assert choose_greedily(Cover(enough, 9), 2) == [0, 2] and choose_sufficient(Cover(enough, 9), 2) == [0, 1]
    assert choose_sufficient(Cover(enough, 10), 2) == [2, 3]


def test_experts_of_few_tokens_are_named() -> None:
    network = network_of(preset("m3vit-micro"))
    tokens = np.full((2, 32), 20)
    tokens[:, [3, 15, 17, 20]] = [[1, 0, 15, 16], [2, 0, 16, 16]]
    thin = thin_experts(Cover(tokens), [0, 1], network)
    assert [(row.mixture, row.task, row.expert, row.tokens) for row in thin] == [
        ("blocks.1.mlp", "semseg", 3, 3),
        ("blocks.3.mlp", "semseg", 7, 0),
        ("blocks.1.mlp", "depth", 1, 31),
    ]
    words = Coverage(minimum=NEED, images=2, pool=8, thin=thin).in_words
    assert words == (
        "experts with fewer than 32 tokens: blocks.1.mlp semseg 3 (3); blocks.3.mlp semseg 7 (0); "
        "blocks.1.mlp depth 1 (31)"
    )
    several = tuple(ThinExpert(mixture="m", task="t", expert=i, tokens=i) for i in range(2))
    assert Coverage(minimum=5, images=1, pool=1, thin=several).in_words.endswith("tokens: m t 0 (0), 1 (1)")
    assert "every expert of every gate has 5" in Coverage(minimum=5, images=1, pool=1, thin=()).in_words


@pytest.mark.parametrize("calibrate", [None, "natural"])
def test_images_that_are_chosen_for_experts(calibrate: str | None) -> None:
    """Of four times as many of the same source, none of which judges; always the same ones."""
    path = None if calibrate is None else Path(calibrate)
    plain = calibration(make_request(model="m3vit-micro", calibrate=path))
    model, asked = (
        weights.load("m3vit-micro", 0)[0],
        make_request(model="m3vit-micro", calibrate=path, choice="experts:60"),
    )
    pool = calibration(asked)
    assert pool.spare is not None and len(pool.images) == 32 and len(pool.spare) == 96
    assert np.array_equal(pool.images, plain.images) and np.array_equal(pool.unseen, plain.unseen)
    few = replace(pool, images=pool.images[:4], spare=pool.images[4:16])  # less to count
    chosen, again = (covering(few, model, Stages(quiet=True)) for _ in range(2))
    assert np.array_equal(chosen.images, again.images) and covering(chosen, model, Stages(quiet=True)) is chosen
    assert chosen.source == f"{pool.source}, chosen of 16 for their experts"
    tokens = expert_tokens(model, np.concatenate([few.images, few.spare]))
    numbers = choose_sufficient(Cover(tokens, 60), 4)
    assert numbers != [0, 1, 2, 3] and Cover(tokens, 60).worth(numbers) > Cover(tokens, 60).worth([0, 1, 2, 3])
    assert np.array_equal(chosen.images, np.concatenate([few.images, few.spare])[numbers])
    assert chosen.coverage is not None
    counts = expert_tokens(model, chosen.images).sum(axis=0)
    assert sorted(row.tokens for row in chosen.coverage.thin) == sorted(counts[counts < 60])
    assert not any(np.array_equal(a, b) for a in pool.spare for b in pool.unseen)


def test_all_images_of_the_caller_are_used() -> None:
    images = render_batch(range(3), SIZE)[0]
    seen = covering(given_images(images, "mine", "experts"), weights.load("m3vit-micro", 0)[0], Stages(quiet=True))
    assert len(seen.images) == 3 and seen.source == "3 mine"
    assert seen.coverage is not None and (seen.coverage.images, seen.coverage.pool) == (3, 3)


@pytest.mark.parametrize(
    "choice", ["expert", "experts:", "experts:0", "experts:-1", "experts:1000001", "experts: 5", ""]
)
def test_bad_choices(choice: str) -> None:
    with pytest.raises(InputError, match="calibration-choice must be 'first', 'experts' or 'experts:TOKENS' with 1 to"):
        make_request(model="m3vit-micro", choice=choice)


def test_choices() -> None:
    assert [least_tokens(choice) for choice in ("first", "experts", "experts:7")] == [None, NEED, 7]
    with pytest.raises(InputError, match="must be 'first' for deit-tiny, which has no experts, not 'experts'"):
        make_request(model="deit-tiny", choice="experts")
