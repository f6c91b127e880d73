"""What stands in a street: buildings, trees and vehicles as boxes and balls, drawn from a random generator."""

from dataclasses import dataclass, field

import numpy as np

__all__ = ["CLASSES", "Solid", "Street", "draw_street"]

CLASSES = ("road", "sidewalk", "building", "vegetation", "sky", "vehicle")
ROAD, SIDEWALK, BUILDING, VEGETATION, SKY, VEHICLE = range(len(CLASSES))

# Surfaces of a box.
PLAIN, WINDOWS, CABIN, VAN, TAIL = range(5)

LENGTH = 70.0  # metres of street that are built up


@dataclass(frozen=True)
class Solid:
    """A box, or a ball: the ellipsoid inside its box.

    Parameters
    ----------
    x, y, z : (float, float)
        Extent to the right of the road's middle, downwards from the road (so negative), and ahead of the camera,
        metres.
    label : int
        Index into `CLASSES`.
    colour : float array, [3]
        RGB in full light, 0 to 1.
    surface : int
        `PLAIN`, `WINDOWS` (storeys of `storey` metres), `CABIN`, `VAN` or `TAIL`.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    z: tuple[float, float]
    label: int
    colour: np.ndarray
    surface: int = PLAIN
    storey: float = 1.0


@dataclass
class Street:
    """A straight street of `2 * half_road` metres with a sidewalk of `walk` metres on each side."""

    half_road: float
    walk: float
    boxes: list[Solid] = field(default_factory=list)
    balls: list[Solid] = field(default_factory=list)


def _add_side(street: Street, rng: np.random.Generator, side: float, density: float) -> None:
    """Buildings and trees of one side (-1 left, 1 right); `density` of the plots have a building."""
    kerb = street.half_road + street.walk
    z = rng.uniform(-4.0, 6.0)
    while z < LENGTH:
        length = rng.uniform(8.0, 22.0)
        if rng.random() < density:
            near = kerb + rng.uniform(0.0, 5.0)
            height = rng.uniform(4.0, 9.0) if rng.random() < 0.5 else rng.uniform(9.0, 24.0)
            x = (near, near + 25.0) if side > 0 else (-near - 25.0, -near)
            colour = rng.uniform(0.3, 0.85) + rng.uniform(-0.14, 0.14, 3) + np.array([0.06, 0.0, -0.06])
            street.boxes.append(
                Solid(
                    x,
                    (-height, 0.0),
                    (z, z + length),
                    BUILDING,
                    np.clip(colour, 0.08, 0.95),
                    WINDOWS,
                    rng.uniform(2.6, 3.6),
                )
            )
        z += length + (rng.uniform(0.5, 8.0) if rng.random() < 0.4 else 0.0)
    for _ in range(rng.integers(0, 5)):
        z = rng.uniform(6.0, 45.0)
        x0 = side * (street.half_road + street.walk * rng.uniform(0.5, 1.0) + rng.uniform(0.0, 1.5))
        trunk, crown, stretch = rng.uniform(1.6, 3.0), rng.uniform(1.2, 2.6), rng.uniform(0.9, 1.4)
        green = np.array([rng.uniform(0.12, 0.4), rng.uniform(0.3, 0.55), rng.uniform(0.08, 0.22)])
        street.boxes.append(
            Solid(
                (x0 - 0.15, x0 + 0.15),
                (-trunk - 0.6, 0.0),
                (z - 0.15, z + 0.15),
                VEGETATION,
                np.array([0.28, 0.2, 0.14]),
            )
        )
        middle = -trunk - crown
        street.balls.append(
            Solid(
                (x0 - crown, x0 + crown),
                (middle - crown * stretch, middle + crown * stretch),
                (z - crown, z + crown),
                VEGETATION,
                green,
            )
        )


def _add_vehicle(
    street: Street, rng: np.random.Generator, x0: float, z: float, large: bool, size: tuple[float, float, float]
) -> None:
    """A van, or a car of body and cabin, around `x0` with its tail at `z`; `size` is width, height and length."""
    width, height, length = size
    colour = np.full(3, rng.uniform(0.08, 0.95)) if rng.random() < 0.4 else rng.uniform(0.05, 0.9, 3)
    x = (x0 - width / 2, x0 + width / 2)
    if large:
        street.boxes.append(Solid(x, (-height, -0.35), (z, z + length), VEHICLE, colour, VAN))
    else:
        street.boxes.append(Solid(x, (-0.58 * height, -0.22), (z, z + length), VEHICLE, colour, TAIL))
        street.boxes.append(
            Solid(
                (x[0] + 0.14, x[1] - 0.14),
                (-height, -0.55 * height),
                (z + 0.12 * length, z + 0.75 * length),
                VEHICLE,
                colour,
                CABIN,
            )
        )
    for wheel in (x[0], x[1] - 0.24):
        for axle in (z + 0.12 * length, z + 0.78 * length):
            street.boxes.append(
                Solid((wheel, wheel + 0.24), (-0.6, 0.0), (axle, axle + 0.55), VEHICLE, np.array([0.06, 0.06, 0.07]))
            )


def draw_street(rng: np.random.Generator) -> Street:
    """A random street: sides of different density, up to seven vehicles that do not overlap."""
    street = Street(half_road=rng.uniform(3.6, 5.6), walk=rng.uniform(2.5, 5.0))
    density = rng.uniform(0.35, 1.0)
    for side in (-1.0, 1.0):
        _add_side(street, rng, side, density)
    taken: list[tuple[float, float, float]] = []
    for _ in range(rng.integers(1, 8)):
        x0 = street.half_road * (-0.76, -0.36, 0.36, 0.76)[rng.integers(4)] + rng.uniform(-0.25, 0.25)
        z = 4.5 + 38.0 * rng.random() ** 1.6
        large = rng.random() < 0.18
        if large:
            size = (2.4, rng.uniform(2.6, 3.4), rng.uniform(6.0, 10.0))
        else:
            size = (rng.uniform(1.65, 1.95), rng.uniform(1.35, 1.8), rng.uniform(3.7, 4.8))
        if any(abs(x0 - x) < 2.4 and z - length - 1.0 < at < z + size[2] + 1.0 for x, at, length in taken):
            continue
        taken.append((x0, z, size[2]))
        _add_vehicle(street, rng, x0, z, large, size)
    return street
