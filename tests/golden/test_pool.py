"""Training scenes: each once a round, the same on every run, mirrored whole."""

import numpy as np
import torch

from moesaic.golden.training.pool import FIRST_TRAINING_SEED, ScenePool
from moesaic.golden.training.scenes import CLASSES, render

SIZE = (16, 24)


def test_every_scene_once_a_round_and_some_mirrored():
    pool = ScenePool(12, SIZE, seed=3)
    scenes = [render(FIRST_TRAINING_SEED + i, SIZE) for i in range(12)]
    mirrored, orders = 0, []
    for turn in range(2):
        images, labels, depth = pool.batch(12 * turn, 12)
        found = []
        for image, label, metres in zip(images.numpy(), labels.numpy(), depth.numpy(), strict=True):
            for number, scene in enumerate(scenes):
                for flip in (slice(None), slice(None, None, -1)):
                    if np.array_equal(image, scene.image[..., flip]):
                        assert np.array_equal(label, scene.labels[:, flip])
                        np.testing.assert_allclose(metres, scene.depth[:, flip], rtol=1e-3)
                        found.append(number)
                        mirrored += flip.step == -1
        assert sorted(found) == list(range(12))
        orders.append(found)
    assert orders[0] != orders[1] and 4 < mirrored < 20


def test_batches_do_not_depend_on_how_they_are_cut():
    a, b = ScenePool(5, SIZE, seed=1), ScenePool(5, SIZE, seed=1)
    whole = a.batch(3, 6)  # across the end of a round
    parts = [b.batch(first, 2) for first in (3, 5, 7)]
    for number in range(3):
        assert torch.equal(whole[number], torch.cat([part[number] for part in parts]))


def test_class_weight_has_mean_one_and_favours_the_rare():
    pool = ScenePool(30, SIZE, seed=1)
    weight = pool.class_weight()
    labels = np.stack([render(FIRST_TRAINING_SEED + i, SIZE).labels for i in range(30)])
    share = np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size
    assert abs(float((weight.numpy() * share).sum()) - 1) < 1e-5
    assert weight.argmax().item() == share.argmin() and weight.argmin().item() == share.argmax()
