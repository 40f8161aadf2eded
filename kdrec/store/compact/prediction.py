"""Prediction of integers from integers: without loss, and the same on every machine.

A record is a column of integers, its depths and its maximum. What is predicted is the difference
from the mean of the same sample's earlier views in the chunk (from the column's centre in the first
view). Class after class, that difference is predicted from the innovations, what prediction did not
explain, of the classes before: innovations are small and hardly correlated, so coefficients of few
bits do.

Everything is an integer held in floating point, below 2**24 in single or 2**53 in double precision:
sums are exact in any order, by any BLAS and on any number of threads. Coefficients are fitted by
elimination in elementwise arithmetic on exact sums, so that a chunk's bytes follow from its values.

Shape letters: G views of a chunk, S samples, K columns of a record, B columns of a column block.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

LATER = 1
"""Kind of the views that are predicted from the mean of those before; the first is of kind 0."""
MEAN_SCALE = 4
INNOVATION_SCALE = 8
COEFFICIENT_SCALE = 64
COLUMN_BLOCK = 64
"""Columns are predicted from those of the same block only: coefficients grow with its square."""
_GREATEST_COEFFICIENT = 2**15 - 1
_PIECE = 2048  # samples of a piece that stays in the processor's cache
_MOST_FITTED = 4096
_RIDGE = 10.0 * INNOVATION_SCALE**2

Integers = npt.NDArray[np.int32]
Coefficients = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a chunk's integers are predicted by.

    Attributes:
        centres_K: Subtracted from every column.
        coefficients: For each kind of view (2, K, `COLUMN_BLOCK`), strictly lower triangular
            within each column block, in units of 1 / `COEFFICIENT_SCALE`.
        single: Whether single precision holds every sum exactly.
    """

    centres_K: Integers
    coefficients: Coefficients
    single: bool = False


def no_prediction(num_columns: int) -> Prediction:
    """Of every column by its mean over earlier views alone."""
    return Prediction(
        np.zeros(num_columns, dtype=np.int32),
        np.zeros((2, num_columns, min(num_columns, COLUMN_BLOCK)), dtype=np.int16),
    )


def column_blocks(num_columns: int) -> Iterator[slice]:
    """The column blocks, the last one possibly narrower."""
    for start in range(0, num_columns, COLUMN_BLOCK):
        yield slice(start, min(start + COLUMN_BLOCK, num_columns))


def fit_prediction(values_GKS: Integers) -> Prediction:
    """The prediction that suits these integers."""
    centres_K = np.rint(values_GKS.mean(axis=(0, 2))).astype(np.int32)
    num_columns = len(centres_K)
    coefficients = np.zeros((2, num_columns, min(num_columns, COLUMN_BLOCK)), dtype=np.int16)
    for kind, differences_KR in enumerate(_differences(values_GKS, centres_K)):
        for block in column_blocks(num_columns):
            fitted = _fit_block(differences_KR[block])
            coefficients[kind, block, : fitted.shape[1]] = fitted
    return Prediction(centres_K, coefficients)


def residuals(values_GKS: Integers, prediction: Prediction) -> tuple[Integers, Prediction]:
    """What the prediction leaves, and the prediction with the precision that decoding needs."""
    found = np.empty_like(values_GKS)
    reach = int(np.abs(prediction.coefficients.astype(np.int64)).sum(axis=2).max(initial=0))
    # Single precision was exact if what it computed stayed this small; else it is done again.
    greatest = _code(values_GKS, found, _Piece(prediction, np.float32))
    single = greatest * max(reach, 2 * COEFFICIENT_SCALE) < 2**24
    if not single:
        _code(values_GKS, found, _Piece(prediction, np.float64))
    return found, replace(prediction, single=single)


def _code(values_GKS: Integers, residuals_GKS: Integers, coder: "_Piece") -> float:
    return max(coder.code(values_GKS, residuals_GKS, p) for p in _pieces(values_GKS.shape[2]))


def restore(residuals_GKS: Integers, prediction: Prediction) -> Integers:
    """The integers that left these residuals."""
    values = np.empty_like(residuals_GKS)
    dtype = np.float32 if prediction.single else np.float64
    for piece in _pieces(residuals_GKS.shape[2]):
        _Piece(prediction, dtype).decode(residuals_GKS, values, piece)
    return values


def _pieces(num_samples: int) -> Iterator[slice]:
    for start in range(0, num_samples, _PIECE):
        yield slice(start, min(start + _PIECE, num_samples))


class _Piece:
    """Some samples of a chunk, view after view, column after column."""

    def __init__(self, prediction: Prediction, dtype: Any) -> None:
        self._dtype = dtype
        self._centres_K1 = prediction.centres_K[:, None].astype(dtype)
        self._weights = prediction.coefficients.astype(dtype) * dtype(1 / COEFFICIENT_SCALE)

    def code(self, values_GKS: Integers, residuals_GKS: Integers, piece: slice) -> float:
        """Fill the residuals; the greatest number met, in units of an innovation."""
        total: Any = None
        greatest = 0.0
        for view in range(len(values_GKS)):
            values_KS = values_GKS[view, :, piece].astype(self._dtype) - self._centres_K1
            scaled_KS = values_KS * INNOVATION_SCALE
            innovations_KS = np.empty_like(values_KS)
            for column, foreseen_S in self._foreseen(view, total, innovations_KS):
                np.subtract(scaled_KS[column], foreseen_S, out=innovations_KS[column])
                guess_S = np.rint(foreseen_S * (1 / INNOVATION_SCALE))
                residuals_GKS[view, column, piece] = values_KS[column] - guess_S
            total = values_KS if total is None else total + values_KS
            met = (innovations_KS, scaled_KS, total * INNOVATION_SCALE)
            greatest = max(greatest, *(float(np.abs(numbers).max()) for numbers in met))
        return greatest

    def decode(self, residuals_GKS: Integers, values_GKS: Integers, piece: slice) -> None:
        """Fill the values."""
        total: Any = None
        for view in range(len(residuals_GKS)):
            values_KS = residuals_GKS[view, :, piece].astype(self._dtype)
            innovations_KS = np.empty_like(values_KS)
            guess_S = np.empty_like(values_KS[0])
            for column, foreseen_S in self._foreseen(view, total, innovations_KS):
                np.multiply(foreseen_S, 1 / INNOVATION_SCALE, out=guess_S)
                values_KS[column] += np.rint(guess_S, out=guess_S)
                np.multiply(values_KS[column], INNOVATION_SCALE, out=innovations_KS[column])
                innovations_KS[column] -= foreseen_S
            total = values_KS if total is None else total + values_KS
            values_GKS[view, :, piece] = values_KS + self._centres_K1

    def _foreseen(self, view: int, total_KS: Any, innovations_KS: Any) -> Iterator[tuple[int, Any]]:
        """Column after column what it should be, in units of an innovation.

        Args:
            view: Number in the chunk.
            total_KS: Sum of the earlier views, None in the first.
            innovations_KS: To be filled up to a column before the next is asked for.
        """
        weights = self._weights[min(view, LATER)]
        foreseen_S = np.empty_like(innovations_KS[0])
        expected_KS = self._expected(view, total_KS, innovations_KS.shape)
        for block in column_blocks(len(innovations_KS)):
            for column in range(block.start, block.stop):
                before = innovations_KS[block.start : column]
                np.matmul(weights[column, : len(before)], before, out=foreseen_S)
                np.rint(foreseen_S, out=foreseen_S)
                foreseen_S += expected_KS[column]
                yield column, foreseen_S

    def _expected(self, view: int, total_KS: Any, shape: tuple[int, ...]) -> Any:
        """The mean of the earlier views, in units of an innovation."""
        if view == 0:
            return np.zeros(shape, dtype=self._dtype)
        # In double precision always: a third of something rounds otherwise in single.
        mean_KS = np.rint(total_KS.astype(np.float64) * (MEAN_SCALE / view))
        return mean_KS.astype(self._dtype) * self._dtype(INNOVATION_SCALE / MEAN_SCALE)


def _differences(values_GKS: Integers, centres_K: Integers) -> Iterator[npt.NDArray[np.float64]]:
    """From the centre in the first view, from the mean before in later ones; (K, records) each.

    Of a fair share of the samples: enough to fit to.
    """
    num_views, num_columns, num_samples = values_GKS.shape
    shared = values_GKS[:, :, :: max(1, num_samples // _MOST_FITTED)]
    values = (shared - centres_K[:, None]).astype(np.float64)
    yield values[0] * INNOVATION_SCALE
    if num_views > 1:
        later = values[:, :, :: max(1, num_views * values.shape[2] // _MOST_FITTED)]
        earlier = np.cumsum(later, axis=0)[:-1]
        counts = np.arange(1, num_views).reshape(-1, 1, 1)
        expected = np.rint(earlier * (MEAN_SCALE / counts)) * (INNOVATION_SCALE / MEAN_SCALE)
        differences = later[1:] * INNOVATION_SCALE - expected
        yield differences.transpose(1, 0, 2).reshape(num_columns, -1)


def _fit_block(differences_BR: npt.NDArray[np.float64]) -> Coefficients:
    """Coefficients of the innovations before each column, strictly lower triangular.

    The unit lower triangular factor of the differences' second moments is just that.
    """
    moments_BB = differences_BR @ differences_BR.T
    moments_BB[np.diag_indices_from(moments_BB)] += _RIDGE
    factor = np.zeros_like(moments_BB)
    for column in range(len(moments_BB) - 1):
        ratios = moments_BB[column + 1 :, column] / moments_BB[column, column]
        factor[column + 1 :, column] = ratios
        moments_BB[column + 1 :] -= ratios[:, None] * moments_BB[column]
    scaled = np.rint(factor * COEFFICIENT_SCALE)
    return np.clip(scaled, -_GREATEST_COEFFICIENT, _GREATEST_COEFFICIENT).astype(np.int16)
