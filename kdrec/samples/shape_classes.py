"""The classes of the built-in shapes: which surface, and how it varies within the class.

Ranges of neighbouring classes meet on purpose (a table with short legs is nearly a box, a cone with
a wide top nearly a cylinder), so that a network has something to learn, and a better one more.

Shape letters: B samples of a block, Q numbers a sample, M boxes, K vertices of a profile.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kdrec.samples.surfaces import Boxes, FloatArray, Helix, Lathe, Surface

NUM_DRAWS = 24
_ARC = 8  # stretches of a quarter circle


@dataclass(slots=True)
class Draws:
    """Uniform numbers of each sample, used up one after the other.

    Attributes:
        uniform_BQ: In [0, 1).
        used: How many of the Q are taken.
    """

    uniform_BQ: FloatArray
    used: int = field(default=0)

    def between(self, low: float, high: float) -> FloatArray:
        """The next number of each sample, shape (B,), scaled to low..high."""
        self.used += 1
        assert self.used <= self.uniform_BQ.shape[1], "NUM_DRAWS is too small"
        return low + (high - low) * self.uniform_BQ[:, self.used - 1]

    def happens(self, probability: float) -> FloatArray:
        """1 for the samples where something is so, else 0."""
        return (self.between(0, 1) < probability).astype(np.float64)

    def integer(self, low: int, high: int) -> FloatArray:
        """A whole number from low to high."""
        return np.floor(self.between(low, high + 1))


def _bottle(draws: Draws) -> Surface:
    body, neck = draws.between(0.25, 0.5), draws.between(0.35, 0.9)
    shoulder, throat = draws.between(-0.2, 0.6), draws.between(0.1, 0.5)
    low, high = np.full_like(body, -1.0), np.full_like(body, 1.0)
    collar = shoulder + (high - shoulder) * throat
    return _lathe(
        [0 * body, body, body, body * neck, body * neck], [low, low, shoulder, collar, high]
    )


def _box(draws: Draws) -> Surface:
    width, height, depth = (draws.between(0.2, 1) for _ in range(3))
    foot = draws.between(0.02, 0.2) * draws.happens(0.35)
    legs = _legs(width, depth, height, foot, draws.between(0.05, 0.2))
    return _boxes([((0 * width, 0 * width, 0 * width), (width, height, depth)), *legs])


def _capsule(draws: Draws) -> Surface:
    radius, half = draws.between(0.3, 0.9), draws.between(0.05, 1)
    flat = draws.between(0.5, 1)
    angles = np.linspace(-np.pi / 2, np.pi / 2, 2 * _ARC)
    ends = np.repeat([-1.0, 1.0], _ARC)
    heights = half[:, None] * ends + (radius * flat)[:, None] * np.sin(angles)
    return Lathe(radius[:, None] * np.cos(angles), heights, 0 * radius)


def _chair(draws: Draws) -> Surface:
    width, depth = draws.between(0.35, 0.7), draws.between(0.35, 0.7)
    seat, leg = draws.between(0.03, 0.15), draws.between(0.15, 0.5)
    back, thick = draws.between(0.1, 0.7), draws.between(0.02, 0.1)
    zero = 0 * width
    backrest = ((zero, seat + back, thick - depth), (width, back, thick))
    arm, arms = draws.between(0.1, 0.25), draws.happens(0.3)
    rests = [
        ((side * (width - 0.04), seat + arm, zero), (0.04 * arms, arm * arms, depth * arms))
        for side in (-1.0, 1.0)
    ]
    legs = _legs(width, depth, seat, leg, draws.between(0.03, 0.12))
    return _boxes([((zero, zero, zero), (width, seat, depth)), backrest, *rests, *legs])


def _cone(draws: Draws) -> Surface:
    return _frustum(draws, top=(0.0, 0.45))


def _cylinder(draws: Draws) -> Surface:
    return _frustum(draws, top=(0.5, 1.0))


def _ellipsoid(draws: Draws) -> Surface:
    radius, height = draws.between(0.3, 1), draws.between(0.3, 1)
    angles = np.linspace(-np.pi / 2, np.pi / 2, 2 * _ARC + 1)
    return Lathe(radius[:, None] * np.cos(angles), height[:, None] * np.sin(angles), 0 * radius)


def _helix(draws: Draws) -> Surface:
    return Helix(
        turns_B=draws.between(0.7, 2.5),
        height_B=draws.between(0.2, 2.5),
        taper_B=draws.between(0.3, 1),
        tube_B=draws.between(0.08, 0.35),
    )


def _lamp(draws: Draws) -> Surface:
    base, pole = draws.between(0.2, 0.6), draws.between(0.03, 0.2)
    wide, narrow = draws.between(0.3, 0.8), draws.between(0.2, 0.9)
    low, high = np.full_like(base, -1.0), np.full_like(base, 1.0)
    brim, plate = draws.between(-0.1, 0.7), low + draws.between(0.02, 0.15)
    return _lathe(
        [0 * base, base, base, pole, pole, wide * narrow, wide],
        [low, low, plate, plate, high, high, brim],
    )


def _pyramid(draws: Draws) -> Surface:
    return _frustum(draws, top=(0.0, 0.45), most_sides=5)


def _table(draws: Draws) -> Surface:
    width, depth = draws.between(0.4, 1), draws.between(0.4, 1)
    top, leg = draws.between(0.03, 0.3), draws.between(0.1, 0.6)
    edge = draws.between(0.03, 0.2) * draws.happens(0.3)
    shelf = draws.happens(0.3)
    zero = 0 * width
    board = ((zero, -top - leg, zero), (width * shelf, 0.03 * shelf, depth * shelf))
    rim = ((zero, top + edge, 0.03 - depth), (width * np.sign(edge), edge, 0.03 * np.sign(edge)))
    legs = _legs(width, depth, top, leg, draws.between(0.03, 0.15))
    return _boxes([((zero, zero, zero), (width, top, depth)), board, rim, *legs])


def _torus(draws: Draws) -> Surface:
    tube, flat = draws.between(0.12, 0.6), draws.between(0.6, 1.8)
    angles = np.linspace(0, 2 * np.pi, 2 * _ARC + 1)
    return Lathe(
        1 + tube[:, None] * np.cos(angles), (tube * flat)[:, None] * np.sin(angles), 0 * tube
    )


SHAPES: Mapping[str, Callable[[Draws], Surface]] = {
    "bottle": _bottle,
    "box": _box,
    "capsule": _capsule,
    "chair": _chair,
    "cone": _cone,
    "cylinder": _cylinder,
    "ellipsoid": _ellipsoid,
    "helix": _helix,
    "lamp": _lamp,
    "pyramid": _pyramid,
    "table": _table,
    "torus": _torus,
}

_Box = tuple[tuple[FloatArray, FloatArray, FloatArray], tuple[FloatArray, FloatArray, FloatArray]]


def _boxes(boxes: Sequence[_Box]) -> Boxes:
    """Boxes given as (centre x, y, z), (half width, height, depth)."""
    parts_MB = [[np.stack(values, axis=-1) for values in box] for box in boxes]
    return Boxes(
        np.stack([centre for centre, _ in parts_MB], axis=1),
        np.stack([half for _, half in parts_MB], axis=1),
    )


def _legs(
    width: FloatArray, depth: FloatArray, top: FloatArray, leg: FloatArray, thick: FloatArray
) -> list[_Box]:
    """Four legs of half height `leg` below a plate of half height `top`; no legs where it is 0."""
    there = np.sign(leg)
    half = (thick * width * there, leg, thick * depth * there)
    return [
        ((x * width * (1 - thick), -top - leg, z * depth * (1 - thick)), half)
        for x in (-1.0, 1.0)
        for z in (-1.0, 1.0)
    ]


def _lathe(radii: Sequence[FloatArray], heights: Sequence[FloatArray]) -> Lathe:
    return Lathe(np.stack(radii, axis=1), np.stack(heights, axis=1), 0 * radii[0])


def _frustum(draws: Draws, *, top: tuple[float, float], most_sides: int = 0) -> Lathe:
    """A closed cone, pyramid or cylinder; `top` is its radius there as a share of the bottom's."""
    radius, share = draws.between(0.4, 1), draws.between(*top)
    half = draws.between(0.35, 1)
    sides = draws.integer(3, most_sides) if most_sides else 0 * radius
    radii = [0 * radius, radius, radius * share, 0 * radius]
    return Lathe(np.stack(radii, axis=1), np.stack([-half, -half, half, half], axis=1), sides)
