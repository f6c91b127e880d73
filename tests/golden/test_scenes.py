"""Rendered scenes: exact labels and depth, the same bytes every time, any size."""

import time

import numpy as np
import pytest

from moesaic.golden.training.scenes import CLASSES, FAR, PALETTE, render, render_batch
from moesaic.golden.training.street import BUILDING, ROAD, SIDEWALK, SKY, VEGETATION, VEHICLE, draw_street


@pytest.mark.parametrize("size", [(64, 64), (128, 256), (48, 80), (1, 1)])
def test_shapes_types_and_ranges(size):
    for seed in range(3):
        scene = render(seed, size)
        assert (scene.image.shape, scene.image.dtype) == ((3, *size), np.uint8)
        assert (scene.labels.shape, scene.labels.dtype) == (size, np.uint8)
        assert (scene.depth.shape, scene.depth.dtype) == (size, np.float32)
        assert scene.image.flags.c_contiguous
        assert scene.labels.max() < len(CLASSES) == len(PALETTE)
        assert 0 < scene.depth.min() and scene.depth.max() <= FAR
        assert (scene.depth[scene.labels == SKY] == FAR).all()


def test_same_seed_same_bytes_and_others_differ():
    a, b, c = render(7), render(7), render(8)
    for part in ("image", "labels", "depth"):
        assert np.array_equal(getattr(a, part), getattr(b, part))
    assert not np.array_equal(a.image, c.image) and not np.array_equal(a.labels, c.labels)


def test_every_class_is_common():
    _, labels, _ = render_batch(range(100), (64, 64))
    share = np.bincount(labels.ravel(), minlength=len(CLASSES)) / labels.size
    assert share.min() > 0.01 and share.max() < 0.6, dict(zip(CLASSES, share.round(3), strict=True))
    assert np.mean([(scene == VEHICLE).any() for scene in labels]) > 0.8


def test_ground_depth_is_eye_height_over_slope():
    # On the ground 1 / depth is linear in the row, and the same in every column.
    scene = render(3, (128, 128))
    ground = np.isin(scene.labels, (ROAD, SIDEWALK))
    rows, _ = np.nonzero(ground & (scene.depth < 60))
    inverse = 1 / scene.depth[ground & (scene.depth < 60)]
    slope, start = np.polyfit(rows, inverse, 1)
    np.testing.assert_allclose(inverse, slope * rows + start, rtol=1e-3)


def test_labels_and_depth_against_a_ray_marched_street():
    """Independent check of geometry: every ray walked in steps of 2 cm until it is inside something."""
    seed, size = 11, (24, 32)
    rng = np.random.default_rng([seed, 0x5CE7E])
    street = draw_street(rng)
    # The camera's numbers, drawn in the renderer's order.
    eye, offset = rng.uniform(1.2, 1.9), rng.uniform(-0.45, 0.45) * street.half_road
    focal = rng.uniform(0.75, 1.0) * max(size[0], 0.6 * size[1])
    centre, horizon = rng.uniform(0.42, 0.58), rng.uniform(0.40, 0.52)
    tx = (np.arange(size[1])[None, :] + 0.5 - centre * size[1]) / focal
    ty = (np.arange(size[0])[:, None] + 0.5 - horizon * size[0]) / focal
    label, depth = np.full(size, SKY), np.full(size, FAR)
    for z in np.arange(0.5, FAR, 0.02):
        x, y = tx * z + offset, ty * z - eye + 0 * tx
        x = x + 0 * ty
        found = np.full(size, -1)
        away = np.abs(x)
        found[y >= 0] = VEGETATION
        found[(y >= 0) & (away < street.half_road + street.walk)] = SIDEWALK
        found[(y >= 0) & (away < street.half_road)] = ROAD
        for box in street.boxes:
            inside = (box.x[0] < x) & (x < box.x[1]) & (box.y[0] < y) & (y < box.y[1]) & (box.z[0] < z < box.z[1])
            found[inside] = box.label
        for ball in street.balls:
            radii = [((a + b) / 2, (b - a) / 2) for a, b in (ball.x, ball.y, ball.z)]
            inside = sum(((p - c) / r) ** 2 for p, (c, r) in zip((x, y, z), radii, strict=True)) < 1
            found[inside] = ball.label
        new = (depth == FAR) & (found >= 0)
        label[new], depth[new] = found[new], z
    scene = render(seed, size)
    same = scene.labels == label
    assert same.mean() > 0.985  # rays that graze an edge may fall on either side
    assert {BUILDING, VEHICLE, VEGETATION, ROAD, SKY} <= set(label.ravel())
    assert (np.abs(scene.depth - depth)[same] < 0.03 + 0.01 * depth[same]).mean() > 0.985


def test_quick():
    render(0)
    times = []
    for seed in range(40):
        start = time.thread_time()
        render(seed)
        times.append(time.thread_time() - start)
    assert np.median(times) < 1 / 50  # goal: 200 scenes/s on an idle core; the limit is for busy ones


def test_bad_size():
    with pytest.raises(ValueError, match=r"size must be two positive numbers of pixels, not \(0, 64\)"):
        render(0, (0, 64))
