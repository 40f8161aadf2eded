"""Whether what a program does to replayed points leaves them the shape that the teacher saw.

Shape letters: B batch, N points, M points that can be followed.
"""

import numpy as np
import numpy.typing as npt

_LOOKED_AT = 8
_FEWEST_POINTS = 8
_MOST_RESIDUAL = 0.25
_LEAST_SHIFT = 0.005

Points = npt.NDArray[np.float32]


def is_moved_as_a_whole(before_BN3: Points, after_BN3: Points) -> bool:
    """Whether most clouds were scaled, turned, mirrored or shifted as a whole.

    An affine map is fitted from the points before to those after. Noise on each point, a changed
    order and points that were dropped onto one another fit none, or the identity. What changes the
    number of points cannot be followed, and a map below half a percent of the cloud's size is not
    told from noise: False for both.

    Args:
        before_BN3: As replayed.
        after_BN3: As a program made them.
    """
    if before_BN3.shape != after_BN3.shape:
        return False
    pairs = zip(before_BN3[:_LOOKED_AT], after_BN3[:_LOOKED_AT], strict=True)
    moved = [_is_moved(before_N3, after_N3) for before_N3, after_N3 in pairs]
    return 2 * sum(moved) > len(moved)


def _is_moved(before_N3: Points, after_N3: Points) -> bool:
    _, place_N, count = np.unique(after_N3, axis=0, return_inverse=True, return_counts=True)
    followed_N = count[place_N.reshape(-1)] == 1
    before_M3, after_M3 = (p[followed_N].astype(np.float64) for p in (before_N3, after_N3))
    if len(before_M3) < _FEWEST_POINTS:
        return False
    design_M4 = np.column_stack([before_M3, np.ones(len(before_M3))])
    fitted_M3 = design_M4 @ np.linalg.lstsq(design_M4, after_M3, rcond=None)[0]
    size = _spread(before_M3 - before_M3.mean(axis=0))
    residual, shift = _spread(after_M3 - fitted_M3), _spread(fitted_M3 - before_M3)
    from_noise = 3 * residual * np.sqrt(design_M4.shape[1] / len(before_M3))
    return bool(residual < _MOST_RESIDUAL * size and shift > _LEAST_SHIFT * size + from_noise)


def _spread(points_M3: npt.NDArray[np.float64]) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(points_M3**2)))
