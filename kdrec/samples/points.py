"""Which points of a cloud are kept: the first ones, or the farthest from each other.

Shape letters: S samples, N points, D channels, K points kept.
"""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from kdrec.errors import InvalidInputError
from kdrec.samples.room import copy_rows, make_room

PointChoice = Literal["first", "farthest"]
_SAMPLES_AT_ONCE = 256


def select_points(
    points_SND: npt.NDArray[np.float32], num_points: int | None, choice: PointChoice = "first"
) -> npt.NDArray[np.float32]:
    """Keep K points of every cloud.

    Args:
        points_SND: All points.
        num_points: K; None keeps all, as does N: then both choices keep the source's order.
        choice: `first` in the order of the source, or `farthest`: beginning with the first, each
            next point is the one farthest from those kept (ties: the first of them).

    Raises:
        InvalidInputError: There are fewer points, or no such choice.
    """
    if choice not in get_args(PointChoice):
        raise InvalidInputError(f"points are chosen first or farthest, got {choice!r}")
    available = points_SND.shape[1]
    if num_points is None or num_points == available:
        return points_SND
    if not 1 <= num_points <= available:
        raise InvalidInputError(
            f"number of points must be from 1 to {available}, the points of a cloud; got "
            f"{num_points}"
        )
    if choice == "first":
        first_SKD = points_SND[:, :num_points]
        return copy_rows(first_SKD, np.arange(len(points_SND)))
    chosen_SKD = make_room((len(points_SND), num_points, points_SND.shape[2]), np.float32)
    for start in range(0, len(points_SND), _SAMPLES_AT_ONCE):
        rows = slice(start, start + _SAMPLES_AT_ONCE)
        chosen_SKD[rows] = _farthest(points_SND[rows], num_points)
    return chosen_SKD


def _farthest(points_SND: npt.NDArray[np.float32], num_points: int) -> npt.NDArray[np.float32]:
    # Written here, not taken from a library: the choice is part of the data's identity and must
    # not change with a version of somebody else's code.
    xyz_SN3 = points_SND[..., :3]
    rows = np.arange(len(points_SND))
    chosen_SK = np.zeros((len(points_SND), num_points), dtype=np.int64)
    nearest_SN = np.full(points_SND.shape[:2], np.inf, dtype=np.float32)
    for k in range(1, num_points):
        offset_SN3 = xyz_SN3 - xyz_SN3[rows, chosen_SK[:, k - 1]][:, None]
        x, y, z = offset_SN3[..., 0], offset_SN3[..., 1], offset_SN3[..., 2]
        np.minimum(nearest_SN, x * x + y * y + z * z, out=nearest_SN)
        # A chosen point never comes again, also where all points are equal.
        nearest_SN[rows, chosen_SK[:, k - 1]] = -1
        chosen_SK[:, k] = nearest_SN.argmax(axis=1)
    return points_SND[rows[:, None], chosen_SK]
