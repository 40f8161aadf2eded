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
    fit_prediction,
    no_prediction,
    residuals,
    restore,
)

Integers = npt.NDArray[np.int32]
FAR = 2**24


def alike(num_views: int, num_columns: int, num_samples: int, *, scale: float = 30) -> Integers:
    """Views of the same samples, columns that go together."""
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(num_columns, 3))
    samples = mixing @ generator.normal(size=(3, num_samples))
    noise = generator.normal(size=(num_views, num_columns, num_samples))
    return np.rint(scale * (samples + 0.1 * noise)).astype(np.int32)


@settings(deadline=None)
@given(
    values=st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 6)).flatmap(
        lambda shape: arrays(np.int32, shape, elements=st.integers(-FAR, FAR))
    )
)
def test_any_integers_come_back(values: Integers) -> None:
    for prediction in (fit_prediction(values), no_prediction(values.shape[1])):
        left, stated = residuals(values, prediction)
        np.testing.assert_array_equal(restore(left, stated), values)


def test_more_columns_than_a_block_and_more_samples_than_a_piece_come_back() -> None:
    values = alike(3, 2 * COLUMN_BLOCK + 5, 3000)
    left, stated = residuals(values, fit_prediction(values))
    np.testing.assert_array_equal(restore(left, stated), values)


def test_both_precisions_decode_alike_where_single_is_said_to_do() -> None:
    values = alike(8, 41, 500, scale=8)
    left, stated = residuals(values, fit_prediction(values))
    assert stated.single
    np.testing.assert_array_equal(
        restore(left, stated), restore(left, replace(stated, single=False))
    )


def test_large_integers_are_not_said_to_do_in_single_precision() -> None:
    values = alike(8, 41, 50, scale=1e5)
    left, stated = residuals(values, fit_prediction(values))
    assert not stated.single
    np.testing.assert_array_equal(restore(left, stated), values)


def test_what_goes_together_is_predicted() -> None:
    values = alike(8, 41, 2000)
    left, _ = residuals(values, fit_prediction(values))
    alone, _ = residuals(values, no_prediction(41))
    assert np.abs(left[0]).mean() < 0.35 * np.abs(alone[0]).mean()
    assert np.abs(left[1:]).mean() < 0.5 * np.abs(values[1:] - values[1:].mean()).mean()
