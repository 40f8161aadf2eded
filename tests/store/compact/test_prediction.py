"""Integers to residuals and back: without loss, and the same in either precision.

Shape letters: G views, K columns, S samples.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdrec.store.compact.prediction import (
    COLUMN_BLOCK,
    Prediction,
    fit_prediction,
    no_prediction,
    residuals,
    restore,
)

Integers = npt.NDArray[np.int32]
FAR = 2**24


def with_tops(values: Integers, *, seed: int = 0) -> tuple[Integers, Integers]:
    """The values with a 0 in one class of each record, and those classes."""
    views, columns, samples = values.shape
    tops = np.random.default_rng(seed).integers(columns - 1, size=(views, samples), dtype=np.int32)
    np.put_along_axis(values, tops[:, None], 0, axis=1)
    return values, tops


def restored(left: Integers, tops: Integers, prediction: Prediction) -> Integers:
    values = np.full(left.shape, -1, dtype=np.int32)
    for view, samples, values_SK in restore(left, tops, prediction):
        values[view, :, samples] = values_SK.T
    return values


def alike(num_views: int, num_columns: int, num_samples: int, *, scale: float = 30) -> Integers:
    """Views of the same samples, columns that go together."""
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(num_columns, 3))
    samples = mixing @ generator.normal(size=(3, num_samples))
    noise = generator.normal(size=(num_views, num_columns, num_samples))
    return np.rint(scale * (samples + 0.1 * noise)).astype(np.int32)


@settings(deadline=None)
@given(
    drawn=st.tuples(st.integers(1, 5), st.integers(2, 9), st.integers(1, 6)).flatmap(
        lambda shape: arrays(np.int32, shape, elements=st.integers(-FAR, FAR))
    )
)
def test_any_integers_come_back(drawn: Integers) -> None:
    values, tops = with_tops(drawn)
    for prediction in (fit_prediction(values, tops), no_prediction(values.shape[1])):
        left, stated = residuals(values, tops, prediction)
        assert not np.take_along_axis(left, tops[:, None], axis=1).any()
        np.testing.assert_array_equal(restored(left, tops, stated), values)


def test_more_columns_than_a_block_and_more_samples_than_a_piece_come_back() -> None:
    values, tops = with_tops(alike(3, 2 * COLUMN_BLOCK + 5, 3000))
    left, stated = residuals(values, tops, fit_prediction(values, tops))
    np.testing.assert_array_equal(restored(left, tops, stated), values)


def test_both_precisions_decode_alike_where_single_is_said_to_do() -> None:
    values, tops = with_tops(alike(8, 41, 500, scale=8))
    left, stated = residuals(values, tops, fit_prediction(values, tops))
    assert stated.single
    np.testing.assert_array_equal(
        restored(left, tops, stated), restored(left, tops, replace(stated, single=False))
    )


@settings(deadline=None, max_examples=30)
@given(num_views=st.integers(2, 40), seed=st.integers(0, 99))
def test_means_over_any_number_of_views_round_alike_in_both_precisions(
    num_views: int, seed: int
) -> None:
    drawn = np.random.default_rng(seed).integers(-9, 9, size=(num_views, 5, 40), dtype=np.int32)
    values, tops = with_tops(drawn)
    left, stated = residuals(values, tops, no_prediction(5))
    assert stated.single
    np.testing.assert_array_equal(
        restored(left, tops, stated), restored(left, tops, replace(stated, single=False))
    )


def test_large_integers_are_not_said_to_do_in_single_precision() -> None:
    values, tops = with_tops(alike(8, 41, 50, scale=1e5))
    left, stated = residuals(values, tops, fit_prediction(values, tops))
    assert not stated.single
    np.testing.assert_array_equal(restored(left, tops, stated), values)


def test_coefficients_that_make_more_of_integers_than_32_bits_hold_are_left_away() -> None:
    values = np.full((1, 7, 4), 6928133, dtype=np.int32)
    values[0, 5, 0], values[0, 6, 2] = -14424222, -7402677
    values[0, [0, 1, 4, 5], [1, 0, 3, 2]] = 0
    tops = np.array([[1, 0, 5, 4]], dtype=np.int32)
    fitted = fit_prediction(values, tops)
    left, stated = residuals(values, tops, fitted)
    assert fitted.coefficients.any()
    assert not stated.coefficients.any()
    np.testing.assert_array_equal(restored(left, tops, stated), values)


def test_what_goes_together_is_predicted() -> None:
    values, tops = with_tops(alike(8, 41, 2000))
    left, _ = residuals(values, tops, fit_prediction(values, tops))
    alone, _ = residuals(values, tops, no_prediction(41))
    assert np.abs(left[0]).mean() < 0.35 * np.abs(alone[0]).mean()
    assert np.abs(left[1:]).mean() < 0.5 * np.abs(values[1:] - values[1:].mean()).mean()


def test_records_of_a_frequent_top_class_are_expected_at_their_own_mean() -> None:
    generator = np.random.default_rng(0)
    tops = generator.integers(4, size=(1, 400), dtype=np.int32)
    values = np.rint(20 + 30 * (tops[:, None] % 2) + generator.normal(size=(1, 5, 400)))
    np.put_along_axis(values, tops[:, None], 0, axis=1)
    fitted = fit_prediction(values.astype(np.int32), tops)
    assert fitted.means.classes_R.tolist() == [0, 1, 2, 3]
    left, _ = residuals(values.astype(np.int32), tops, fitted)
    assert np.abs(left).mean() < 3
