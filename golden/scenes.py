"""Rendered street scenes: an image with exact labels and depth, from a seed, at any size."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["CLASSES", "FAR", "PALETTE", "Scene", "render", "render_batch"]

CLASSES = ("road", "sidewalk", "building", "vegetation", "sky", "vehicle")
ROAD, SIDEWALK, BUILDING, VEGETATION, SKY, VEHICLE = range(len(CLASSES))
PALETTE = np.array(
    [(128, 64, 128), (244, 35, 232), (70, 70, 70), (107, 142, 35), (70, 130, 180), (0, 0, 142)], dtype=np.uint8
)
FAR = 80.0  # metres; the sky and everything beyond is put there

NEAR = 0.5  # metres; nothing is drawn closer


@dataclass(frozen=True)
class Scene:
    """One rendered view.

    Parameters
    ----------
    image : uint8, [3, H, W]
        RGB.
    labels : uint8, [H, W]
        Index into `CLASSES`.
    depth : float32, [H, W]
        Distance along the optical axis, metres, at most `FAR`; the sky has `FAR`.
    """

    image: np.ndarray
    labels: np.ndarray
    depth: np.ndarray


@dataclass
class _Solids:
    """Boxes and ellipsoids of a scene: bounds [n, 3, 2] or centre and radii [n, 3, 2], label and colour of each."""

    bounds: list[list[tuple[float, float]]]
    label: list[int]
    colour: list[np.ndarray]
    detail: list[float]  # texture of a box: 0 none, > 0 storey height of windows, < 0 vehicle glass

    def add(self, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], label: int,
            colour: np.ndarray, detail: float = 0.0) -> None:
        self.bounds.append([x, y, z])
        self.label.append(label)
        self.colour.append(colour)
        self.detail.append(detail)


def _hash(x: np.ndarray, z: np.ndarray, seed: float) -> np.ndarray:
    """Repeatable noise in [0, 1) of two coordinates; the coordinate is rounded by the caller."""
    s = np.sin(x * np.float32(12.9898) + z * np.float32(78.233) + np.float32(seed)) * np.float32(437.5453)
    return s - np.floor(s)


def _populate(rng: np.random.Generator, half_road: float, walk: float) -> tuple[_Solids, _Solids]:
    """Buildings, vehicles and trees of one street, in metres: x to the right, y down from the camera's feet (y = 0), z ahead."""
    boxes, balls = _Solids([], [], [], []), _Solids([], [], [], [])
    density = rng.uniform(0.35, 1.0)  # of buildings; the rest is green
    for side in (-1.0, 1.0):
        z = rng.uniform(-4.0, 6.0)
        while z < 70.0:
            length = rng.uniform(8.0, 22.0)
            if rng.random() < density:
                near = half_road + walk + rng.uniform(0.0, 5.0)
                height = rng.uniform(4.0, 9.0) if rng.random() < 0.5 else rng.uniform(9.0, 24.0)
                x = (near, near + 25.0) if side > 0 else (-near - 25.0, -near)
                grey = rng.uniform(0.3, 0.85)
                colour = np.clip(grey + rng.uniform(-0.14, 0.14, 3) + np.array([0.06, 0.0, -0.06]), 0.08, 0.95)
                boxes.add(x, (-height, 0.0), (z, z + length), BUILDING, colour, rng.uniform(2.6, 3.6))
            z += length + (rng.uniform(0.5, 8.0) if rng.random() < 0.4 else 0.0)
        for _ in range(rng.integers(0, 5)):
            at = rng.uniform(6.0, 45.0)
            x0 = side * (half_road + walk * rng.uniform(0.5, 1.0) + rng.uniform(0.0, 1.5))
            trunk, crown = rng.uniform(1.6, 3.0), rng.uniform(1.2, 2.6)
            green = np.array([rng.uniform(0.12, 0.4), rng.uniform(0.3, 0.55), rng.uniform(0.08, 0.22)])
            boxes.add((x0 - 0.15, x0 + 0.15), (-trunk - 0.6, 0.0), (at - 0.15, at + 0.15), VEGETATION,
                      np.array([0.28, 0.2, 0.14]))
            balls.add((x0, crown), (-trunk - crown, crown * rng.uniform(0.9, 1.4)), (at, crown), VEGETATION, green)

    taken: list[tuple[float, float, float]] = []
    lanes = (-0.76 * half_road, -0.36 * half_road, 0.36 * half_road, 0.76 * half_road)
    for _ in range(rng.integers(1, 8)):
        lane = lanes[rng.integers(4)] + rng.uniform(-0.25, 0.25)
        at = 4.5 + 38.0 * rng.random() ** 1.6
        large = rng.random() < 0.18
        width, height, length = (2.4, rng.uniform(2.6, 3.4), rng.uniform(6.0, 10.0)) if large else (
            rng.uniform(1.65, 1.95), rng.uniform(1.35, 1.8), rng.uniform(3.7, 4.8))
        if any(abs(lane - x) < 2.3 and z - length - 1.0 < at < z + other + 1.0 for x, z, other in taken):
            continue
        taken.append((lane, at, length))
        colour = np.full(3, rng.uniform(0.08, 0.95)) if rng.random() < 0.4 else rng.uniform(0.05, 0.9, 3)
        x = (lane - width / 2, lane + width / 2)
        if large:
            boxes.add(x, (-height, -0.35), (at, at + length), VEHICLE, colour, -0.3)
        else:
            boxes.add(x, (-0.58 * height, -0.22), (at, at + length), VEHICLE, colour)
            inset = (x[0] + 0.14, x[1] - 0.14)
            boxes.add(inset, (-height, -0.55 * height), (at + 0.12 * length, at + 0.75 * length), VEHICLE, colour, -1.0)
        for wheel in (x[0], x[1] - 0.24):
            for axle in (0.12, 0.78):
                boxes.add((wheel, wheel + 0.24), (-0.6, 0.0), (at + axle * length, at + axle * length + 0.55), VEHICLE,
                          np.array([0.06, 0.06, 0.07]))
    return boxes, balls


def _hit_boxes(bounds: np.ndarray, tx: np.ndarray, ty: np.ndarray, eye: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest box of every pixel: its distance [H, W] (inf if none), its index, and the face: 0 side, 1 top, 2 front."""
    with np.errstate(divide="ignore", invalid="ignore"):
        x = bounds[:, 0, :, None] / tx  # [n, 2, W]
        y = (bounds[:, 1, :, None] + eye) / ty  # [n, 2, H]
    x_in, x_out = x.min(axis=1), x.max(axis=1)
    y_in, y_out = y.min(axis=1), y.max(axis=1)
    z_in = np.maximum(bounds[:, 2, 0], NEAR)[:, None]
    side = x_in > z_in
    x_in = np.maximum(x_in, z_in)  # [n, W]
    x_out = np.minimum(x_out, bounds[:, 2, 1][:, None])
    distance = np.full((len(ty), len(tx)), np.inf, dtype=np.float32)
    index = np.zeros(distance.shape, dtype=np.int64)
    face = np.zeros(distance.shape, dtype=np.uint8)
    rows, columns = np.arange(len(ty)), np.arange(len(tx))
    for n in range(len(bounds)):
        # Only the rectangle of pixels that this box can cover is looked at.
        c = columns[x_in[n] < x_out[n]]
        if not len(c):
            continue
        near = float(x_in[n, c].min())
        r = rows[(y_in[n] < bounds[n, 2, 1]) & (y_out[n] > near)]
        if not len(r):
            continue
        window = (slice(r[0], r[-1] + 1), slice(c[0], c[-1] + 1))
        across, down = x_in[n, window[1]][None, :], y_in[n, window[0]][:, None]
        enter = np.maximum(across, down)
        leave = np.minimum(x_out[n, window[1]][None, :], y_out[n, window[0]][:, None])
        hit = (enter < leave) & (enter < distance[window])
        distance[window][hit] = enter[hit]
        index[window][hit] = n
        face[window][hit] = np.where(down > across, 1, np.where(side[n, window[1]], 0, 2)[None, :])[hit]
    return distance, index, face


def _hit_balls(bounds: np.ndarray, tx: np.ndarray, ty: np.ndarray, eye: float) -> tuple[np.ndarray, np.ndarray]:
    """Nearest ellipsoid of every pixel: distance [H, W] (inf if none) and index."""
    distance = np.full((len(ty), len(tx)), np.inf, dtype=np.float32)
    index = np.zeros(distance.shape, dtype=np.int64)
    for n, ((x0, rx), (y0, ry), (z0, rz)) in enumerate(bounds):
        if z0 - rz < NEAR:
            continue
        reach = z0 - rz
        c = np.flatnonzero(np.abs(tx * z0 - x0) < 1.5 * rx * z0 / reach)
        r = np.flatnonzero(np.abs(ty * z0 - (y0 + eye)) < 1.5 * ry * z0 / reach)
        if not len(c) or not len(r):
            continue
        window = (slice(r[0], r[-1] + 1), slice(c[0], c[-1] + 1))
        u, v = tx[window[1]][None, :] / rx, ty[window[0]][:, None] / ry
        px, py, pz = x0 / rx, (y0 + eye) / ry, z0 / rz
        a = u * u + v * v + 1.0 / (rz * rz)
        b = u * px + v * py + pz / rz
        root = b * b - a * (px * px + py * py + pz * pz - 1.0)
        z = (b - np.sqrt(np.maximum(root, 0.0))) / a
        hit = (root > 0) & (z < distance[window])
        distance[window][hit] = z[hit]
        index[window][hit] = n
    return distance, index


def render(seed: int, size: tuple[int, int] = (64, 64)) -> Scene:
    """The street scene of `seed`, `size` = (height, width) pixels: same seed and size, same bytes.

    One ray per pixel, through its centre, so that labels and depth are exact. The view is the same at any size.
    """
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"size must be two positive numbers of pixels, not {size!r}")
    rng = np.random.default_rng([seed, 0x5CE7E])
    eye = rng.uniform(1.2, 1.9)  # camera above the road, metres
    half_road, walk = rng.uniform(3.6, 5.6), rng.uniform(2.5, 5.0)
    horizon = rng.uniform(0.40, 0.52)
    focal = rng.uniform(0.75, 1.0) * max(height, 0.6 * width)
    centre = rng.uniform(0.42, 0.58)
    offset = rng.uniform(-0.45, 0.45) * half_road  # where on the road the camera stands
    curve = rng.uniform(-0.0012, 0.0012)
    boxes, balls = _populate(rng, half_road, walk)
    sun = rng.uniform(0.75, 1.1)
    light = np.array([0.62, 0.95, 0.78]) * sun  # of side, top and front faces
    side_bias = rng.uniform(-0.18, 0.18)  # one side of the street is in the sun
    tint = 1.0 + rng.uniform(-0.08, 0.08, 3)
    haze_length = rng.uniform(45.0, 180.0)
    phase = float(rng.uniform(0, 50))
    zenith = np.array([rng.uniform(0.25, 0.6), rng.uniform(0.45, 0.7), rng.uniform(0.7, 0.95)])
    pale = np.clip(np.array([0.8, 0.85, 0.9]) + rng.uniform(-0.12, 0.1, 3), 0, 1)

    # Ray of pixel (row, column): (tx, ty, 1) * z. A tenth of a pixel off centre keeps tx and ty away from zero.
    tx = ((np.arange(width) + 0.5 - centre * width + 1e-3) / focal).astype(np.float32)
    ty = ((np.arange(height) + 0.5 - horizon * height + 1e-3) / focal).astype(np.float32)

    box_bounds = np.array(boxes.bounds, dtype=np.float32).reshape(-1, 3, 2)
    box_bounds[:, 0] -= offset
    ball_bounds = np.array(balls.bounds, dtype=np.float32).reshape(-1, 3, 2)
    ball_bounds[:, 0, 0] -= offset
    box_z, box_at, face = _hit_boxes(box_bounds, tx, ty, eye)
    ball_z, ball_at = _hit_balls(ball_bounds, tx, ty, eye)

    # Ground, all of it, then sky above the horizon.
    ground_z = np.where(ty > 0, eye / np.maximum(ty, 1e-6), np.inf).astype(np.float32)[:, None]
    z = np.minimum(np.broadcast_to(ground_z, box_z.shape), FAR)
    x = tx[None, :] * z + np.float32(offset)
    along = x - np.float32(curve) * z * z
    away = np.abs(along)
    labels = np.where(away < half_road, ROAD, np.where(away < half_road + walk, SIDEWALK, VEGETATION)).astype(np.uint8)
    grain = _hash(np.floor(along * 6), np.floor(z * 6), phase) - np.float32(0.5)
    asphalt, stone = rng.uniform(0.24, 0.42), rng.uniform(0.5, 0.72)
    grass = np.array([rng.uniform(0.2, 0.45), rng.uniform(0.38, 0.55), rng.uniform(0.12, 0.25)])
    flat = np.array([[asphalt, asphalt, asphalt + 0.02], [stone, stone * 0.97, stone * 0.92], [0, 0, 0], grass])
    colour = flat[labels].astype(np.float32)
    paint = (labels == ROAD) & ((np.abs(away - 0.94 * half_road) < 0.09) | ((away < 0.09) & (np.mod(z + phase, 7.0) < 3.5)))
    colour[paint] = 0.85
    colour *= np.float32(sun) * (1.0 + np.where(labels == VEGETATION, 0.5, 0.16) * grain)[..., None].astype(np.float32)

    # Shadows under vehicles.
    for n in np.flatnonzero(np.array(boxes.label) == VEHICLE):
        (x0, x1), (y0, _), (z0, z1) = box_bounds[n]
        if x1 - x0 < 1.0:
            continue
        r = np.flatnonzero((ground_z[:, 0] > z0 - 0.3) & (ground_z[:, 0] < z1 + 0.3))
        if len(r):
            band = slice(r[0], r[-1] + 1)
            gx = x[band] - offset
            colour[band] *= np.where((gx > x0 - 0.2) & (gx < x1 + 0.5), 0.45, 1.0)[..., None]

    sky = np.broadcast_to((ty <= 0)[:, None] | (ground_z >= FAR), labels.shape)
    labels[sky] = SKY
    depth = z.astype(np.float32)
    rise = np.clip(-ty / 0.5, 0.0, 1.0)[:, None, None] ** 0.7
    heaven = pale + (zenith - pale) * rise
    with np.errstate(over="ignore"):
        cloud = np.sin(tx[None, :] * 5 + phase + 1.5 * np.sin(ty[:, None] * 9 + phase)) * np.sin(ty[:, None] * 14 + phase * 2)
    heaven = heaven + (np.maximum(cloud, 0.0) * rng.uniform(0.0, 0.3))[..., None]
    colour = np.where(sky[..., None], heaven, colour).astype(np.float32)

    # Solids, where they are nearer than the ground.
    if len(box_bounds):
        seen = box_z < depth
        at, near, which = box_at[seen], box_z[seen], face[seen]
        rows, columns = np.nonzero(seen)
        hx, hy = tx[columns] * near, ty[rows] * near - np.float32(eye)
        run = np.where(which == 0, near, hx)
        label = np.array(boxes.label, dtype=np.uint8)[at]
        shade = light[which] + np.where(which == 0, np.sign(-hx) * side_bias, 0.0)
        detail = np.array(boxes.detail, dtype=np.float32)[at]
        paint_of = np.array(boxes.colour, dtype=np.float32)[at]
        storey = np.maximum(detail, 1.0)
        fx, fy = np.mod(run / (0.8 * storey), 1.0), np.mod(-hy / storey, 1.0)
        window = (detail > 0) & (which != 1) & (fx > 0.28) & (fx < 0.75) & (fy > 0.3) & (fy < 0.8)
        glint = _hash(np.floor(run / (0.8 * storey)), np.floor(-hy / storey), phase)
        low, high = box_bounds[at, 1, 0], box_bounds[at, 1, 1]
        up = (high - hy) / (high - low)
        glass = (detail < 0) & (which != 1) & (up > np.where(detail < -0.5, 0.1, 0.55)) & (up < 0.88)
        back = (label == VEHICLE) & (which == 2) & (detail == 0)
        edge = np.minimum(hx - box_bounds[at, 0, 0], box_bounds[at, 0, 1] - hx)
        lamp = back & (edge < 0.3) & (edge > 0.05) & (up > 0.45) & (up < 0.8) & (box_bounds[at, 0, 1] - box_bounds[at, 0, 0] > 1)
        surface = paint_of * shade[:, None]
        surface[window] = (0.12 + 0.4 * glint[window])[:, None] * np.array([0.8, 0.95, 1.1])
        surface[glass] = (0.10 + 0.25 * shade[glass])[:, None] * np.array([0.8, 0.95, 1.05])
        surface[lamp] = (0.85, 0.12, 0.08)
        rough = _hash(np.floor(run * 4), np.floor(hy * 4), phase + 3) - 0.5
        surface *= (1.0 + np.where(label == VEHICLE, 0.04, 0.14) * rough)[:, None]
        colour[seen], labels[seen], depth[seen] = surface, label, near
    if len(ball_bounds):
        seen = ball_z < depth
        rows, columns = np.nonzero(seen)
        near, at = ball_z[seen], ball_at[seen]
        hx, hy = tx[columns] * near, ty[rows] * near - np.float32(eye)
        lift = np.clip((ball_bounds[at, 1, 0] - hy) / ball_bounds[at, 1, 1], -1, 1)
        leaf = _hash(np.floor(hx * 5), np.floor(hy * 5), phase + 7)
        green = np.array(balls.colour, dtype=np.float32)[at]
        colour[seen] = green * ((0.75 + 0.3 * lift) * (0.6 + 0.8 * leaf) * sun)[:, None]
        labels[seen], depth[seen] = VEGETATION, near

    np.minimum(depth, np.float32(FAR), out=depth)
    solid = labels != SKY
    haze = np.where(solid, 1.0 - np.exp(-depth / np.float32(haze_length)), 0.0)[..., None].astype(np.float32)
    colour += (pale.astype(np.float32) - colour) * haze
    colour *= tint.astype(np.float32)
    colour += rng.standard_normal(colour.shape, dtype=np.float32) * np.float32(rng.uniform(0.008, 0.03))
    image = (np.clip(colour, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return Scene(image=np.ascontiguousarray(image.transpose(2, 0, 1)), labels=labels, depth=depth)


def render_batch(seeds: Iterable[int], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scenes of `seeds` stacked: images [n, 3, H, W], labels [n, H, W], depth [n, H, W]."""
    scenes = [render(seed, size) for seed in seeds]
    return (
        np.stack([scene.image for scene in scenes]),
        np.stack([scene.labels for scene in scenes]),
        np.stack([scene.depth for scene in scenes]),
    )
