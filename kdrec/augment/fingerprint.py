"""A few numbers that prove, without the teacher, that a replayed view is what the teacher saw.

A fingerprint is eight sums over all values of the input, with signs from the counter-based
generator, in float64. A last-bit difference (a GPU fuses multiply and add) moves a sum by far less
than the tolerance; one grid step of one parameter, or two points exchanged, by more.

Shape letters: B batch, N points, D channels, F sums.
"""

import numpy as np
import numpy.typing as npt

from kdrec import rng

NUM_SUMS = 8
_ROUNDING = 2.0**-22  # relative, per value: four operations that each round at 2^-24
_SIGN_STREAM = 0xF1
FloatArray = npt.NDArray[np.float64]


def fingerprint(points_BND: npt.NDArray[np.float32]) -> FloatArray:
    """Signed sums over each cloud, shape (B, F)."""
    sums_BF: FloatArray = _flat(points_BND) @ _signs(points_BND[0].size).T
    return sums_BF


def fingerprint_tolerance(points_BND: npt.NDArray[np.float32]) -> FloatArray:
    """By how much a fingerprint may differ through rounding alone, shape (B, 1).

    Rounding errors are as good as independent, so their sum grows with the root of their squares;
    eight times that is never reached by chance.
    """
    squares_B1 = np.square(_flat(points_BND)).sum(axis=1, keepdims=True)
    tolerance_B1: FloatArray = 8 * _ROUNDING * np.sqrt(squares_B1)
    return tolerance_B1


def _flat(points_BND: npt.NDArray[np.float32]) -> FloatArray:
    flat: FloatArray = points_BND.reshape(len(points_BND), -1).astype(np.float64)
    return flat


def _signs(size: int) -> FloatArray:
    words = rng.words(0, view=0, stream=_SIGN_STREAM, samples_B=np.arange(NUM_SUMS), num_words=size)
    return np.where(words >> np.uint64(63), 1.0, -1.0)
