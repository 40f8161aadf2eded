"""Prediction of integers from integers: without loss, and the same on every machine.

A record is a column of integers: the cells of its classes, then the steps of its maximum. What is
expected of a record is the mean of the same sample's earlier views in the chunk; in the first view,
the mean of the records with the same top class. Class after class, what is missing from that is
predicted from the residuals of the classes before. All residuals are known before anything is
decoded, so that the way back is one matrix product.

Everything is an integer, or a 64th of one, held in floating point: sums are exact in any order, by
any BLAS and on any number of threads. Coefficients are fitted by elimination in elementwise
arithmetic on exact sums, so that a chunk's bytes follow from its values.

Shape letters: G views of a chunk, S samples, K columns of a record, B columns of a column block, R
classes with a mean of their own, C classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

LATER = 1
"""Kind of the views that are predicted from the mean of those before; the first is of kind 0."""
MEAN_SCALE = 4
COEFFICIENT_SCALE = 64
COLUMN_BLOCK = 64
"""Columns are predicted from those of the same block only: coefficients grow with its square."""
_STRIP = 8  # columns between which residuals are multiplied one by one, not as a matrix
_GREATEST_COEFFICIENT = 2**15 - 1
_PIECE = 2048  # samples of a piece that stays in the processor's cache
_MOST_FITTED = 4096
_RIDGE = 10.0 * MEAN_SCALE**2
_LEAST_OF_CLASS = 24  # records of a top class before its mean is worth its bytes
_EXACT = 2**24
_OFTEN_DIVISIBLE = 2**22  # up to here a quotient rounds alike in either precision

Integers = npt.NDArray[np.int32]
Coefficients = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class ClassMeans:
    """By how much records of some top classes differ in the first view.

    Attributes:
        classes_R: Their top classes, ascending.
        offsets_RK: To be added to the centres.
    """

    classes_R: Integers
    offsets_RK: Integers


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a chunk's integers are predicted by.

    Attributes:
        centres_K: What is expected in the first view.
        means: What is expected beyond that.
        coefficients: For each kind of view (2, K, `COLUMN_BLOCK`), strictly lower triangular
            within each column block, in units of 1 / `COEFFICIENT_SCALE`.
        single: Whether single precision holds every sum exactly.
    """

    centres_K: Integers
    means: ClassMeans
    coefficients: Coefficients
    single: bool = False

    def weights(self, kind: int, dtype: Any) -> Any:
        """The coefficients of a kind of view as numbers, (K, `COLUMN_BLOCK`)."""
        return self.coefficients[kind].astype(dtype) * dtype(1 / COEFFICIENT_SCALE)


def no_prediction(num_columns: int) -> Prediction:
    """Of every column by its mean over earlier views alone."""
    return Prediction(
        np.zeros(num_columns, dtype=np.int32),
        ClassMeans(np.zeros(0, dtype=np.int32), np.zeros((0, num_columns), dtype=np.int32)),
        np.zeros((2, num_columns, min(num_columns, COLUMN_BLOCK)), dtype=np.int16),
    )


def column_blocks(num_columns: int) -> Iterator[slice]:
    """The column blocks, the last one possibly narrower."""
    for start in range(0, num_columns, COLUMN_BLOCK):
        yield slice(start, min(start + COLUMN_BLOCK, num_columns))


def residuals(
    values_GKS: Integers, tops_GS: Integers, prediction: Prediction
) -> tuple[Integers, Prediction]:
    """What the prediction leaves, and the prediction with the precision that decoding needs.

    Coefficients that make more of huge integers than 32 bits hold are left away.

    Args:
        values_GKS: Cells, 0 in the top class, then steps.
        tops_GS: The top class of each record, whose residual is 0 and need not be kept.
        prediction: To be used.
    """
    found = np.empty_like(values_GKS)
    reach = int(np.abs(prediction.coefficients.astype(np.int64)).sum(axis=2).max(initial=0))
    table = _first_table(prediction, np.float64)
    greatest = max(_greatest(values_GKS), _greatest(table)) + 1
    held = 2 * COEFFICIENT_SCALE * greatest
    if MEAN_SCALE * len(values_GKS) * greatest < _OFTEN_DIVISIBLE and held < _EXACT:
        # If all residuals come out this small, then every sum on the way was exact.
        single = replace(prediction, single=True)
        exact = (_EXACT - held - 1) // (reach + COEFFICIENT_SCALE)
        if _code(values_GKS, tops_GS, single, found, greatest=exact):
            return found, single
    if not _code(values_GKS, tops_GS, prediction, found):
        plain = no_prediction(values_GKS.shape[1]).coefficients
        prediction = replace(prediction, coefficients=plain)
        _code(values_GKS, tops_GS, prediction, found)
    return found, prediction


def restore(
    residuals_GKS: npt.NDArray[np.signedinteger], tops_GS: Integers, prediction: Prediction
) -> Iterator[tuple[int, slice, Any]]:
    """View, samples and values, (S, K) as whole floats, of piece after piece."""
    dtype = _precision(prediction)
    matrices = [list(_matrices(prediction, kind, dtype)) for kind in (0, LATER)]
    for piece in _pieces(residuals_GKS.shape[2]):
        expected = _Expected(prediction, dtype)
        for view, tops_S in enumerate(tops_GS[:, piece]):
            residuals_KS = residuals_GKS[view, :, piece].astype(dtype)
            values_SK = np.empty(residuals_KS.shape[::-1], dtype=dtype)
            for block, matrix_BB in matrices[min(view, LATER)]:
                np.matmul(residuals_KS[block].T, matrix_BB.T, out=values_SK[:, block])
            values_SK += expected.of(tops_S)
            values_SK += dtype(0.5)
            np.floor(values_SK, out=values_SK)
            values_SK[np.arange(len(tops_S)), tops_S] = 0
            expected.note(values_SK)
            yield view, piece, values_SK


def _matrices(prediction: Prediction, kind: int, dtype: Any) -> Iterator[tuple[slice, Any]]:
    """By column block, what makes values of residuals."""
    weights = prediction.weights(kind, dtype)
    for block in column_blocks(len(weights)):
        width = block.stop - block.start
        yield block, weights[block, :width] + np.eye(width, dtype=dtype)


def _code(
    values_GKS: Integers,
    tops_GS: Integers,
    prediction: Prediction,
    out_GKS: Integers,
    *,
    greatest: int = 2**31 - 1,
) -> bool:
    """Fill in the residuals.

    Returns:
        Whether all are of magnitude up to `greatest`; if not, what is filled in means nothing.
    """
    dtype = _precision(prediction)
    weights = [prediction.weights(kind, dtype) for kind in (0, LATER)]
    columns = np.arange(values_GKS.shape[1])[:, None]
    for piece in _pieces(values_GKS.shape[2]):
        expected = _Expected(prediction, dtype)
        for view, tops_S in enumerate(tops_GS[:, piece]):
            values_KS = values_GKS[view, :, piece].astype(dtype)
            missing_KS = values_KS - expected.of(tops_S, columns_first=True)
            expected.note(values_KS)
            kept_KS = (columns != tops_S).astype(dtype)
            with np.errstate(over="ignore", invalid="ignore"):  # single precision may overflow
                found_KS = _unexplained(missing_KS, weights[min(view, LATER)], kept_KS)
            if not (found_KS.max(initial=0) <= greatest and found_KS.min(initial=0) >= -greatest):
                return False  # or not a number
            out_GKS[view, :, piece] = found_KS
    return True


def _unexplained(missing_KS: Any, weights_KB: Any, kept_KS: Any) -> Any:
    """The residuals, column after column; overwrites what is missing."""
    missing_KS -= 0.5
    found_KS = np.empty_like(missing_KS)
    for block in column_blocks(len(missing_KS)):
        for first in range(block.start, block.stop, _STRIP):
            strip = slice(first, min(first + _STRIP, block.stop))
            if first > block.start:
                known = weights_KB[strip, : first - block.start]
                missing_KS[strip] -= known @ found_KS[block.start : first]
            for column in range(strip.start, strip.stop):
                if column > first:
                    weights = weights_KB[column, first - block.start : column - block.start]
                    missing_KS[column] -= weights @ found_KS[first:column]
                np.ceil(missing_KS[column], out=found_KS[column])
                found_KS[column] *= kept_KS[column]
    return found_KS


@dataclass(slots=True)
class _Expected:
    """What is expected of the records of a piece, view after view."""

    prediction: Prediction
    dtype: Any
    _views: int = 0
    _total: Any = field(default=None)

    def of(self, tops_S: Integers, *, columns_first: bool = False) -> Any:
        """For the next view, (S, K) or (K, S)."""
        if self._views == 0:
            table = _first_table(self.prediction, self.dtype)
            expected_SK = table.take(self._rows(len(table)).take(tops_S), axis=0)
            return expected_SK.T if columns_first else expected_SK
        # A division, not a product: its ties are exact, in either precision.
        mean = np.divide(self._total, self.dtype(self._views / MEAN_SCALE))
        np.rint(mean, out=mean)
        mean *= self.dtype(1 / MEAN_SCALE)
        return mean

    def note(self, values: Any) -> None:
        """The next view's values are known."""
        self._views += 1
        if self._total is None:
            self._total = values.copy()
        else:
            self._total += values

    def _rows(self, num_rows: int) -> npt.NDArray[np.intp]:
        rows_C = np.zeros(max(1, len(self.prediction.centres_K) - 1), dtype=np.intp)
        rows_C[self.prediction.means.classes_R] = np.arange(1, num_rows)
        return rows_C


def _first_table(prediction: Prediction, dtype: Any) -> Any:
    """What is expected in the first view: of any record, then of those of some top classes."""
    own = prediction.centres_K + prediction.means.offsets_RK
    return np.concatenate([prediction.centres_K[None], own]).astype(dtype)


def _precision(prediction: Prediction) -> Any:
    return np.float32 if prediction.single else np.float64


def _greatest(values: npt.NDArray[Any]) -> int:
    return int(max(values.max(initial=0), -values.min(initial=0)))


def _pieces(num_samples: int) -> Iterator[slice]:
    for start in range(0, num_samples, _PIECE):
        yield slice(start, min(start + _PIECE, num_samples))


def fit_prediction(values_GKS: Integers, tops_GS: Integers) -> Prediction:
    """The prediction that suits these integers."""
    num_columns = values_GKS.shape[1]
    centres_K = np.rint(values_GKS.mean(axis=(0, 2))).astype(np.int32)
    means = _fit_means(values_GKS[0], tops_GS[0], centres_K)
    fitted = replace(no_prediction(num_columns), centres_K=centres_K, means=means)
    for kind, differences_KN in enumerate(_differences(values_GKS, tops_GS, fitted)):
        for block in column_blocks(num_columns):
            found = _fit_block(differences_KN[block])
            fitted.coefficients[kind, block, : found.shape[1]] = found
    return fitted


def _fit_means(values_KS: Integers, tops_S: Integers, centres_K: Integers) -> ClassMeans:
    """Means of the top classes that are frequent enough, each in as few bits as it deserves."""
    classes, counts = np.unique(tops_S, return_counts=True)
    frequent = counts >= _LEAST_OF_CLASS
    classes_R, counts_R = classes[frequent].astype(np.int32), counts[frequent]
    of_class_RS = (classes_R[:, None] == tops_S).astype(np.float64)
    away_KS = (values_KS - centres_K[:, None]).astype(np.float64)
    offsets_RK = (of_class_RS @ away_KS.T) / counts_R[:, None]
    spread = np.abs(away_KS).mean()
    grain_R1 = 2.0 ** np.rint(np.log2(np.maximum(1.0, spread / np.sqrt(counts_R))))[:, None]
    return ClassMeans(classes_R, (np.rint(offsets_RK / grain_R1) * grain_R1).astype(np.int32))


def _differences(
    values_GKS: Integers, tops_GS: Integers, fitted: Prediction
) -> Iterator[npt.NDArray[np.float64]]:
    """From what is expected, in the first view and in later ones; (K, records) each.

    Of a fair share of the samples: enough to fit to. In units of 1 / `MEAN_SCALE`: whole numbers.
    """
    num_views, num_columns, num_samples = values_GKS.shape
    columns = np.arange(num_columns)[:, None]
    for kind, views in ((0, 1), (LATER, num_views))[:num_views]:
        share = slice(None, None, -(-views * num_samples // _MOST_FITTED))
        expected, found = _Expected(fitted, np.float64), []
        pairs = zip(values_GKS[:views, :, share], tops_GS[:views, share], strict=True)
        for values_KS, tops_S in pairs:
            away_KS = values_KS - expected.of(tops_S, columns_first=True)
            found.append(away_KS * ((columns != tops_S) * MEAN_SCALE))
            expected.note(values_KS.astype(np.float64))
        yield np.concatenate(found[kind:], axis=1)


def _fit_block(differences_BN: npt.NDArray[np.float64]) -> Coefficients:
    """Coefficients of the residuals before each column, strictly lower triangular.

    The unit lower triangular factor of the differences' second moments is just that.
    """
    moments_BB = differences_BN @ differences_BN.T
    moments_BB[np.diag_indices_from(moments_BB)] += _RIDGE
    factor = np.zeros_like(moments_BB)
    for column in range(len(moments_BB) - 1):
        ratios = moments_BB[column + 1 :, column] / moments_BB[column, column]
        factor[column + 1 :, column] = ratios
        moments_BB[column + 1 :] -= ratios[:, None] * moments_BB[column]
    scaled = np.rint(factor * COEFFICIENT_SCALE)
    return np.clip(scaled, -_GREATEST_COEFFICIENT, _GREATEST_COEFFICIENT).astype(np.int16)
