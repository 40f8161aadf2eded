"""Parametric surfaces, and points on them, roughly uniform by area.

Every surface maps three uniform numbers a point to a place on it: the first chooses the part, the
others the place on the part. All of one class and block are evaluated at once.

Shape letters: B samples of a block, N points, M boxes, K vertices of a profile.
"""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]

_TINY = 1e-12  # keeps 0 / 0 away where a profile touches the axis


class Surface(Protocol):
    """Something with points on it."""

    def sample(self, uniform_BN3: FloatArray) -> FloatArray:
        """Points on the surface, shape (B, N, 3), y up, from numbers in [0, 1)."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """The surfaces of axis-aligned boxes; one of size 0 is none.

    Attributes:
        centres_BM3: Their centres.
        halves_BM3: Half their sizes.
    """

    centres_BM3: FloatArray
    halves_BM3: FloatArray

    def sample(self, uniform_BN3: FloatArray) -> FloatArray:
        """Chooses a pair of opposite faces by area, then a face, then a place on it."""
        halves = self.halves_BM3
        areas_BM3 = np.roll(halves, -1, axis=2) * np.roll(halves, -2, axis=2)
        pair_BN, rest_BN = _choose(areas_BM3.reshape(len(halves), -1), uniform_BN3[..., 0])
        box_BN, axis_BN = pair_BN // 3, pair_BN % 3
        side_BN = np.where(rest_BN < 0.5, -1.0, 1.0)
        first_BN, second_BN = 2 * uniform_BN3[..., 1] - 1, 2 * uniform_BN3[..., 2] - 1
        unit_BN3 = np.empty(uniform_BN3.shape)
        for axis in range(3):
            turn_BN = (axis - axis_BN) % 3
            unit_BN3[..., axis] = np.choose(turn_BN, (side_BN, first_BN, second_BN))
        rows_B1 = np.arange(len(halves))[:, None]
        return self.centres_BM3[rows_B1, box_BN] + unit_BN3 * halves[rows_B1, box_BN]


@dataclass(frozen=True, slots=True)
class Lathe:
    """A profile turned around the y axis, with a round or a regular polygonal cross section.

    Attributes:
        radii_BK: Distance of the profile's vertices from the axis.
        heights_BK: Their y.
        sides_B: Corners of the cross section; 0 is round.
    """

    radii_BK: FloatArray
    heights_BK: FloatArray
    sides_B: FloatArray

    def sample(self, uniform_BN3: FloatArray) -> FloatArray:
        """Chooses a stretch of the profile by area, a place along it, then an angle."""
        radii, heights = self.radii_BK, self.heights_BK
        slants_BK = np.sqrt(np.square(np.diff(radii)) + np.square(np.diff(heights)))
        stretch_BN, _ = _choose((radii[:, 1:] + radii[:, :-1]) * slants_BK, uniform_BN3[..., 0])
        rows_B1 = np.arange(len(radii))[:, None]
        start_BN, stop_BN = radii[rows_B1, stretch_BN], radii[rows_B1, stretch_BN + 1]
        # Uniform by area on a frustum: the share of its area below is quadratic in the place.
        share_BN = uniform_BN3[..., 1]
        radius_BN = np.sqrt(start_BN**2 + (stop_BN**2 - start_BN**2) * share_BN)
        place_BN = share_BN * (start_BN + stop_BN) / (start_BN + radius_BN + _TINY)
        low_BN, high_BN = heights[rows_B1, stretch_BN], heights[rows_B1, stretch_BN + 1]
        x_BN, z_BN = _cross_section(self.sides_B[:, None], uniform_BN3[..., 2])
        height_BN = low_BN + (high_BN - low_BN) * place_BN
        return np.stack([radius_BN * x_BN, height_BN, radius_BN * z_BN], axis=-1)


@dataclass(frozen=True, slots=True)
class Helix:
    """A tube around a spiral about the y axis.

    Attributes:
        turns_B: Of the spiral.
        height_B: From its start to its end.
        taper_B: Its radius at the end; 1 at the start.
        tube_B: Radius of the tube.
    """

    turns_B: FloatArray
    height_B: FloatArray
    taper_B: FloatArray
    tube_B: FloatArray

    def sample(self, uniform_BN3: FloatArray) -> FloatArray:
        """A place along the spiral, then an angle around the tube."""
        along_BN = uniform_BN3[..., 0]
        angle_BN = 2 * np.pi * self.turns_B[:, None] * along_BN
        around_BN = 2 * np.pi * uniform_BN3[..., 1]
        radius_BN = 1 + (self.taper_B[:, None] - 1) * along_BN
        radius_BN = radius_BN + self.tube_B[:, None] * np.cos(around_BN)
        height_BN = self.height_B[:, None] * along_BN + self.tube_B[:, None] * np.sin(around_BN)
        return np.stack(
            [radius_BN * np.cos(angle_BN), height_BN, radius_BN * np.sin(angle_BN)], axis=-1
        )


def _choose(
    weights_BK: FloatArray, uniform_BN: FloatArray
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Which of K parts a number falls into when they share [0, 1) by weight, and where in it."""
    edges_BK = np.cumsum(weights_BK, axis=1)
    scaled_BN = uniform_BN * edges_BK[:, -1:]
    chosen_BN = np.zeros(uniform_BN.shape, dtype=np.int64)
    for part in range(weights_BK.shape[1] - 1):
        chosen_BN += scaled_BN >= edges_BK[:, part, None]
    rows_B1 = np.arange(len(weights_BK))[:, None]
    weight_BN = weights_BK[rows_B1, chosen_BN]
    return chosen_BN, 1 - (edges_BK[rows_B1, chosen_BN] - scaled_BN) / (weight_BN + _TINY)


def _cross_section(sides_B1: FloatArray, uniform_BN: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Places on the unit circle, or on the edges of the regular polygon inscribed in it."""
    corners_B1 = np.maximum(sides_B1, 3)
    edge_BN = np.floor(uniform_BN * corners_B1)
    rest_BN = uniform_BN * corners_B1 - edge_BN
    is_round = sides_B1 == 0
    start_BN = 2 * np.pi * np.where(is_round, uniform_BN, edge_BN / corners_B1)
    stop_BN = np.where(is_round, start_BN, 2 * np.pi * (edge_BN + 1) / corners_B1)
    x_BN = np.cos(start_BN) + (np.cos(stop_BN) - np.cos(start_BN)) * rest_BN
    z_BN = np.sin(start_BN) + (np.sin(stop_BN) - np.sin(start_BN)) * rest_BN
    return x_BN, z_BN
