"""How far decoded logits are from the teacher's, fast enough to be asked of every record.

Kullback-Leibler divergence both ways at temperatures 8, 4, 2 and 1: one exponential a side at 8,
then squared. Single precision, where there are many records: off by up to 2e-6 nats a record either
way, so by less than `PRECISION` in the mean.

Shape letters: K records, C classes, T temperatures.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

TEMPERATURES = (8, 4, 2, 1)
PRECISION = 2e-7
_MANY = 1024  # records, of which the rounding of each is lost in the mean
_LEAST_LIKELY = 1e-30  # nothing is divided by zero
_RECORDS = 512  # of a piece that stays in the processor's cache

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def mean_divergence(
    teacher_CK: npt.NDArray[np.float32],
    decode: Callable[[slice], npt.NDArray[np.float32]],
) -> float:
    """The greatest of the eight means over records: both directions, every temperature, in nats.

    Args:
        teacher_CK: The teacher's logits.
        decode: What becomes of some of the records when they are encoded and decoded, (C, k).
    """
    num_records = teacher_CK.shape[1]
    total = np.zeros((2, len(TEMPERATURES)))
    for start in range(0, num_records, _RECORDS):
        piece = slice(start, start + _RECORDS)
        pair: tuple[Floats, Floats] = teacher_CK[:, piece], decode(piece)
        if num_records < _MANY:
            pair = pair[0].astype(np.float64), pair[1].astype(np.float64)
        total += divergences(*pair).sum(axis=2)
    return float(total.max() / max(1, num_records))


def divergences(teacher_CK: Floats, decoded_CK: Floats) -> npt.NDArray[np.float64]:
    """Of every record, shape (2, T, K): decoded from teacher, then teacher from decoded."""
    greatest_K = teacher_CK.max(axis=0)
    difference_CK = decoded_CK - teacher_CK
    teacher_CK = _at_hottest(teacher_CK, greatest_K)
    decoded_CK = _at_hottest(decoded_CK, greatest_K)
    found = np.empty((2, len(TEMPERATURES), difference_CK.shape[1]))
    for row, temperature in enumerate(TEMPERATURES):
        if row:
            np.square(teacher_CK, out=teacher_CK)
            np.square(decoded_CK, out=decoded_CK)
        sums_K = teacher_CK.sum(axis=0), decoded_CK.sum(axis=0)
        shift_K = np.log(sums_K[1] / sums_K[0])
        forward_K = np.einsum("ck,ck->k", teacher_CK, difference_CK) / (temperature * sums_K[0])
        reverse_K = np.einsum("ck,ck->k", decoded_CK, difference_CK) / (temperature * sums_K[1])
        found[0, row] = shift_K - forward_K
        found[1, row] = reverse_K - shift_K
    return found


def expected_divergence(logits_CK: npt.NDArray[np.float32], spread: float, widest: float) -> float:
    """About what `mean_divergence` would be on a grid of step 1, were its errors random.

    Half the variance of a logit's error, under the teacher's probabilities and over the square of
    the temperature, an error being even over a cell; the grid's own cells are not looked at.

    Args:
        logits_CK: The teacher's.
        spread: Depth over which cells widen by e.
        widest: Cell, in steps.
    """
    total_T = np.zeros(len(TEMPERATURES))
    farthest = np.float32(max(widest ** (-spread / TEMPERATURES[0]), _LEAST_LIKELY))
    for start in range(0, logits_CK.shape[1], _RECORDS):
        piece_CK = logits_CK[:, start : start + _RECORDS]
        likely_CK = _at_hottest(piece_CK, piece_CK.max(axis=0))
        squares_CK = np.maximum(likely_CK, farthest)
        squares_CK **= np.float32(-2 * TEMPERATURES[0] / spread)
        squares_CK *= likely_CK < 1  # the largest logit is where the grid begins
        weighted_K = np.einsum("ck,ck->k", likely_CK, squares_CK)
        for row, temperature in enumerate(TEMPERATURES):
            sums_K = likely_CK.sum(axis=0)
            np.square(likely_CK, out=likely_CK)
            squared_K = np.einsum("ck,ck->k", likely_CK, squares_CK)
            variance_K = weighted_K / sums_K - squared_K / np.square(sums_K)
            total_T[row] += variance_K.sum(dtype=np.float64) / (24 * temperature**2)
            weighted_K = squared_K
    return float(total_T.max() / max(1, logits_CK.shape[1]))


def _at_hottest(logits_CK: Floats, greatest_K: Floats) -> Floats:
    relative_CK = logits_CK - greatest_K
    relative_CK /= TEMPERATURES[0]
    return np.exp(relative_CK, out=relative_CK)
