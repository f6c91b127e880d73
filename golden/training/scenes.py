"""Rendered street scenes: an image with exact labels and depth, from a seed, at any size."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from moesaic.golden.training.street import (
    CABIN,
    CLASSES,
    ROAD,
    SIDEWALK,
    SKY,
    TAIL,
    VAN,
    VEGETATION,
    VEHICLE,
    WINDOWS,
    Solid,
    Street,
    draw_street,
)

__all__ = ["CLASSES", "FAR", "PALETTE", "Scene", "render", "render_batch"]

PALETTE = np.array(
    [(128, 64, 128), (244, 35, 232), (70, 70, 70), (107, 142, 35), (70, 130, 180), (0, 0, 142)], dtype=np.uint8
)
FAR = 80.0  # metres; the sky and everything beyond is put there
NEAR = 0.5  # metres; nothing is drawn closer
SIDE, TOP, FRONT = range(3)  # faces of a box


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


class _View:
    """A camera and a time of day, with the picture that it is taking.

    The ray of pixel (row, column) is `(tx[column], ty[row], 1) * z`: x to the right, y down, z ahead, metres.
    """

    def __init__(self, rng: np.random.Generator, street: Street, height: int, width: int) -> None:
        self.rng, self.street = rng, street
        self.eye = np.float32(rng.uniform(1.2, 1.9))  # camera above the road
        self.offset = np.float32(rng.uniform(-0.45, 0.45) * street.half_road)  # camera right of the road's middle
        focal = rng.uniform(0.75, 1.0) * max(height, 0.6 * width)
        centre, horizon = rng.uniform(0.42, 0.58), rng.uniform(0.40, 0.52)
        # A thousandth of a pixel off centre keeps the rays away from zero.
        self.tx = ((np.arange(width) + 0.501 - centre * width) / focal).astype(np.float32)
        self.ty = ((np.arange(height) + 0.501 - horizon * height) / focal).astype(np.float32)
        self.sun = np.float32(rng.uniform(0.75, 1.1))
        self.sunny_side = rng.uniform(-0.18, 0.18)
        self.pattern = np.float32(rng.uniform(0, 50))
        self.haze = np.clip(np.array([0.8, 0.85, 0.9]) + rng.uniform(-0.12, 0.1, 3), 0, 1).astype(np.float32)
        self.colour = np.zeros((height, width, 3), dtype=np.float32)
        self.labels = np.zeros((height, width), dtype=np.uint8)
        self.depth = np.full((height, width), FAR, dtype=np.float32)

    def bounds(self, solids: list[Solid]) -> np.ndarray:
        """Extents relative to the camera, float32 [n, 3 axes, 2 ends]."""
        bounds = np.array([(s.x, s.y, s.z) for s in solids], dtype=np.float32).reshape(-1, 3, 2)
        bounds[:, 0] -= self.offset
        bounds[:, 1] += self.eye
        return bounds

    def noise(self, a: np.ndarray, b: np.ndarray, kind: int) -> np.ndarray:
        """One number in [0, 1) for every cell of a grid of unit squares."""
        phase = np.floor(a) * np.float32(12.9898) + np.floor(b) * np.float32(78.233) + self.pattern + np.float32(kind)
        s = np.sin(phase) * np.float32(437.5453)
        return s - np.floor(s)

    def window(self, columns: np.ndarray, rows: np.ndarray) -> tuple[slice, slice] | None:
        """The smallest rectangle around masks of columns and rows; None if it is empty."""
        c, r = np.flatnonzero(columns), np.flatnonzero(rows)
        return (slice(r[0], r[-1] + 1), slice(c[0], c[-1] + 1)) if len(c) and len(r) else None


def _paint_ground_and_sky(view: _View) -> None:
    rng, street = view.rng, view.street
    with np.errstate(divide="ignore"):
        ground = np.where(view.ty > 0, view.eye / view.ty, np.inf).astype(np.float32)  # [H]
    z = np.minimum(ground, FAR)[:, None]
    x = view.tx[None, :] * z + view.offset
    away = np.abs(x)
    kinds = np.where(away < street.half_road + street.walk, SIDEWALK, VEGETATION)
    kinds = np.where(away < street.half_road, ROAD, kinds)
    asphalt, stone = rng.uniform(0.24, 0.42), rng.uniform(0.5, 0.72)
    grass = (rng.uniform(0.2, 0.45), rng.uniform(0.38, 0.55), rng.uniform(0.12, 0.25))
    flat = np.zeros((len(CLASSES), 3), dtype=np.float32)
    flat[ROAD], flat[SIDEWALK], flat[VEGETATION] = asphalt, (stone, 0.97 * stone, 0.92 * stone), grass
    colour = flat[kinds]
    dashes = (away < 0.09) & (np.mod(z + view.pattern, 7.0) < 3.5)
    colour[dashes | (np.abs(away - 0.94 * street.half_road) < 0.09)] = 0.85
    rough = np.where(kinds == VEGETATION, np.float32(0.5), np.float32(0.16))
    colour *= (view.sun * (1 + rough * (view.noise(x * 6, z * 6, 0) - np.float32(0.5))))[..., None]
    for (x0, x1), _, (z0, z1) in view.bounds([s for s in street.boxes if s.surface in (VAN, TAIL)]):
        shadow = view.window(np.ones(len(view.tx), dtype=bool), (ground > z0 - 0.3) & (ground < z1 + 0.3))
        if shadow is not None:
            across = view.tx[None, :] * z[shadow[0]]
            colour[shadow[0]][(across > x0 - 0.2) & (across < x1 + 0.5)] *= np.float32(0.45)

    zenith = np.array([rng.uniform(0.25, 0.6), rng.uniform(0.45, 0.7), rng.uniform(0.7, 0.95)], dtype=np.float32)
    rise = np.clip(-view.ty / 0.5, 0.0, 1.0)[:, None, None] ** np.float32(0.7)
    wave = view.tx[None, :] * 5 + view.pattern + 1.5 * np.sin(view.ty[:, None] * 9 + view.pattern)
    cloud = np.sin(wave) * np.sin(view.ty[:, None] * 14 + view.pattern * 2)
    cloud = np.maximum(cloud, 0).astype(np.float32) * np.float32(rng.uniform(0.0, 0.3))
    heaven = view.haze + (zenith - view.haze) * rise + cloud[..., None]
    sky = (ground >= FAR)[:, None]
    view.colour[:] = np.where(sky[..., None], heaven, colour)
    view.labels[:] = np.where(sky, SKY, kinds)
    view.depth[:] = z


def _paint_boxes(view: _View) -> None:
    """Ray against slab: a box is entered where the last of its three slabs is."""
    solids, bounds = view.street.boxes, view.bounds(view.street.boxes)
    x = bounds[:, 0, :, None] / view.tx  # entry and exit, [n, 2, W]
    y = bounds[:, 1, :, None] / view.ty  # [n, 2, H]
    z_in, z_out = np.maximum(bounds[:, 2, :1], NEAR), bounds[:, 2, 1:]
    side = x.min(axis=1) > z_in
    x_in, x_out = np.maximum(x.min(axis=1), z_in), np.minimum(x.max(axis=1), z_out)  # [n, W]
    y_in, y_out = y.min(axis=1), y.max(axis=1)  # [n, H]
    seen = np.full(view.depth.shape, -1, dtype=np.int32)
    face = np.zeros(view.depth.shape, dtype=np.uint8)
    for n in range(len(bounds)):
        columns = x_in[n] < x_out[n]
        if not columns.any():
            continue
        window = view.window(columns, (y_in[n] < z_out[n]) & (y_out[n] > x_in[n][columns].min()))
        if window is None:
            continue
        sides, top = x_in[n, window[1]][None, :], y_in[n, window[0]][:, None]
        enter = np.maximum(sides, top)
        leave = np.minimum(x_out[n, window[1]][None, :], y_out[n, window[0]][:, None])
        hit = (enter < leave) & (enter < view.depth[window])
        view.depth[window][hit] = enter[hit]
        seen[window][hit] = n
        face[window][hit] = np.where(top > sides, TOP, np.where(side[n, window[1]], SIDE, FRONT)[None, :])[hit]
    pixels = seen >= 0
    if not pixels.any():
        return
    row, column = np.nonzero(pixels)
    box, which, z = seen[pixels], face[pixels], view.depth[pixels]
    right, down = view.tx[column] * z, view.ty[row] * z
    view.labels[pixels] = np.array([s.label for s in solids], dtype=np.uint8)[box]
    surface = np.array([s.surface for s in solids])[box]
    storey = np.array([s.storey for s in solids], dtype=np.float32)[box]
    along = np.where(which == SIDE, z, right)  # coordinate along the wall
    below = view.eye - down  # height above the road
    share = (bounds[box, 1, 1] - down) / (bounds[box, 1, 1] - bounds[box, 1, 0])  # height within the box
    wall = which != TOP
    light = np.array([0.62, 0.95, 0.78])[which] * view.sun
    light += np.where(which == SIDE, -np.sign(right) * view.sunny_side, 0)
    rough = np.where(view.labels[pixels] == VEHICLE, 0.04, 0.14) * (view.noise(along * 4, below * 4, 3) - 0.5)

    colour = np.array([s.colour for s in solids], dtype=np.float32)[box] * light[:, None]
    across, up = along / (0.8 * storey), below / storey
    fx, fy = across - np.floor(across), up - np.floor(up)
    pane = wall & (surface == WINDOWS) & (fx > 0.28) & (fx < 0.75) & (fy > 0.3) & (fy < 0.8)
    colour[pane] = (0.12 + 0.4 * view.noise(across, up, 0)[pane])[:, None] * np.array([0.8, 0.95, 1.1])
    glass = wall & (share < 0.88) & (((surface == CABIN) & (share > 0.1)) | ((surface == VAN) & (share > 0.55)))
    colour[glass] = (0.10 + 0.25 * light[glass])[:, None] * np.array([0.8, 0.95, 1.05])
    edge = np.minimum(right - bounds[box, 0, 0], bounds[box, 0, 1] - right)
    lamp = (surface == TAIL) & (which == FRONT) & (edge > 0.05) & (edge < 0.3) & (share > 0.45) & (share < 0.8)
    colour[lamp] = (0.85, 0.12, 0.08)
    view.colour[pixels] = colour * (1 + rough)[:, None]


def _paint_balls(view: _View) -> None:
    for solid, ((x0, x1), (y0, y1), (z0, z1)) in zip(view.street.balls, view.bounds(view.street.balls), strict=True):
        if z0 < NEAR:
            continue
        window = view.window(
            (view.tx > min(x0 / z0, x0 / z1)) & (view.tx < max(x1 / z0, x1 / z1)),
            (view.ty > min(y0 / z0, y0 / z1)) & (view.ty < max(y1 / z0, y1 / z1)),
        )
        if window is None:
            continue
        # In units of the radii the ellipsoid is a sphere of radius 1 around (px, py, pz).
        rx, ry, rz = (x1 - x0) / 2, (y1 - y0) / 2, (z1 - z0) / 2
        u, v = view.tx[window[1]][None, :] / rx, view.ty[window[0]][:, None] / ry
        px, py, pz = (x0 + x1) / 2 / rx, (y0 + y1) / 2 / ry, (z0 + z1) / 2 / rz
        a = u * u + v * v + 1 / (rz * rz)
        b = u * px + v * py + pz / rz
        root = b * b - a * (px * px + py * py + pz * pz - 1)
        z = (b - np.sqrt(np.maximum(root, 0))) / a
        hit = (root > 0) & (z < view.depth[window])
        x, y = (view.tx[window[1]][None, :] * z)[hit], (view.ty[window[0]][:, None] * z)[hit]
        lift = (y0 + y1 - 2 * y) / (y1 - y0)  # 1 at the top, -1 at the bottom
        shade = view.sun * (0.75 + 0.3 * lift) * (0.6 + 0.8 * view.noise(x * 5, (view.eye - y) * 5, 7))
        view.colour[window][hit] = solid.colour * shade[:, None]
        view.labels[window][hit] = VEGETATION
        view.depth[window][hit] = z[hit]


def _expose(view: _View) -> np.ndarray:
    """Haze, tint and sensor noise, then bytes: uint8 [3, H, W]."""
    rng = view.rng
    clear = np.where(view.labels == SKY, 1.0, np.exp(view.depth / -np.float32(rng.uniform(45.0, 180.0))))[..., None]
    colour = (view.haze + (view.colour - view.haze) * clear) * (1.0 + rng.uniform(-0.08, 0.08, 3))
    colour += rng.standard_normal(colour.shape, dtype=np.float32) * rng.uniform(0.008, 0.03)
    return np.ascontiguousarray((np.clip(colour, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8).transpose(2, 0, 1))


def render(seed: int, size: tuple[int, int] = (64, 64)) -> Scene:
    """The street scene of `seed`, `size` = (height, width) pixels: same seed and size, same bytes.

    One ray per pixel, through its centre, so that labels and depth are exact.
    """
    if min(size) < 1:
        raise ValueError(f"size must be two positive numbers of pixels, not {size!r}")
    rng = np.random.default_rng([seed, 0x5CE7E])
    view = _View(rng, draw_street(rng), *size)
    _paint_ground_and_sky(view)
    _paint_boxes(view)
    _paint_balls(view)
    return Scene(image=_expose(view), labels=view.labels, depth=view.depth)


def render_batch(seeds: Iterable[int], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scenes of `seeds` stacked: images [n, 3, H, W], labels [n, H, W], depth [n, H, W]."""
    scenes = [render(seed, size) for seed in seeds]
    return (
        np.stack([scene.image for scene in scenes]),
        np.stack([scene.labels for scene in scenes]),
        np.stack([scene.depth for scene in scenes]),
    )
