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

FIRST, LATER = 0, 1
"""Kinds of views: the first of a chunk is predicted from its centre, later ones from the mean."""
MEAN_SCALE = 4
INNOVATION_SCALE = 8
COEFFICIENT_SCALE = 64
COLUMN_BLOCK = 64
"""Columns are predicted from those of the same block only: coefficients grow with its square."""
_GREATEST_COEFFICIENT = 2**15 - 1
_PIECE = 1024  # samples of a piece that stays in the processor's cache
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
    for kind, views in ((FIRST, slice(0, 1)), (LATER, slice(1, None))):
        differences_KR = _differences(values_GKS, centres_K, views)
        if differences_KR.shape[1]:
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
            expected_KS = self._expected(view, total, values_KS.shape)
            innovations_KS = np.empty_like(values_KS)
            for block in column_blocks(len(values_KS)):
                for column in range(block.start, block.stop):
                    foreseen_S = self._foreseen(view, block, column, expected_KS, innovations_KS)
                    scaled_S = values_KS[column] * INNOVATION_SCALE
                    np.subtract(scaled_S, foreseen_S, out=innovations_KS[column])
                    guess_S = np.rint(foreseen_S * (1 / INNOVATION_SCALE))
                    residuals_GKS[view, column, piece] = values_KS[column] - guess_S
            total = values_KS if total is None else total + values_KS
            met = (innovations_KS, values_KS * INNOVATION_SCALE, total * INNOVATION_SCALE)
            greatest = max(greatest, *(float(np.abs(numbers).max()) for numbers in met))
        return greatest

    def decode(self, residuals_GKS: Integers, values_GKS: Integers, piece: slice) -> None:
        """Fill the values."""
        total: Any = None
        for view in range(len(residuals_GKS)):
            values_KS = residuals_GKS[view, :, piece].astype(self._dtype)
            expected_KS = self._expected(view, total, values_KS.shape)
            innovations_KS = np.empty_like(values_KS)
            for block in column_blocks(len(values_KS)):
                for column in range(block.start, block.stop):
                    foreseen_S = self._foreseen(view, block, column, expected_KS, innovations_KS)
                    values_KS[column] += np.rint(foreseen_S * (1 / INNOVATION_SCALE))
                    scaled_S = values_KS[column] * INNOVATION_SCALE
                    np.subtract(scaled_S, foreseen_S, out=innovations_KS[column])
            total = values_KS if total is None else total + values_KS
            values_GKS[view, :, piece] = values_KS + self._centres_K1

    def _expected(self, view: int, total_KS: Any, shape: tuple[int, ...]) -> Any:
        """The mean of the earlier views, in units of an innovation."""
        if view == 0:
            return np.zeros(shape, dtype=self._dtype)
        # In double precision always: a third of something rounds otherwise in single.
        mean_KS = np.rint(total_KS.astype(np.float64) * (MEAN_SCALE / view))
        return mean_KS.astype(self._dtype) * self._dtype(INNOVATION_SCALE / MEAN_SCALE)

    def _foreseen(
        self, view: int, block: slice, column: int, expected_KS: Any, innovations_KS: Any
    ) -> Any:
        before = slice(block.start, column)
        if column == block.start:
            return expected_KS[column]
        weights = self._weights[min(view, LATER), column, : column - block.start]
        foreseen_S = weights @ innovations_KS[before]
        return np.rint(foreseen_S) + expected_KS[column]


def _differences(
    values_GKS: Integers, centres_K: Integers, views: slice
) -> npt.NDArray[np.float64]:
    """Of some views from the mean of those before them, (K, records), a fair share of them."""
    values = values_GKS.astype(np.float64) - centres_K[:, None]
    earlier = np.cumsum(values, axis=0) - values
    counts = np.maximum(np.arange(len(values)), 1).reshape(-1, 1, 1)
    expected = np.rint(earlier * (MEAN_SCALE / counts)) * (INNOVATION_SCALE / MEAN_SCALE)
    chosen = (values * INNOVATION_SCALE - expected)[views]
    differences_KR = chosen.transpose(1, 0, 2).reshape(values.shape[1], -1)
    return differences_KR[:, :: max(1, differences_KR.shape[1] // _MOST_FITTED)]


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
