"""A set of samples is consistent, or is not made."""

from dataclasses import replace

import numpy as np
import pytest

from kdrec.errors import InvalidInputError
from kdrec.samples import SampleSet
from tests.samples.clouds import make_samples, random_points


def test_rows_takes_points_labels_and_names_along() -> None:
    samples = make_samples()
    rows = samples.rows(np.array([4, 0, 4]))
    np.testing.assert_array_equal(rows.points_SND, samples.points_SND[[4, 0, 4]])
    assert rows.labels_S is not None
    assert rows.labels_S.tolist() == [1, 0, 1]
    assert rows.names == ("cloud_4", "cloud_0", "cloud_4")
    assert rows.class_names == samples.class_names
    assert len(rows) == 3
    assert rows.points_SND.flags.c_contiguous


def test_rows_takes_a_mask() -> None:
    samples = make_samples()
    assert samples.rows(np.arange(6) > 3).names == ("cloud_4", "cloud_5")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_sample_that_is_not_finite_is_named(value: float) -> None:
    points = random_points()
    points[3, 7, 1] = points[5, 0, 0] = value
    with pytest.raises(InvalidInputError, match=r"sample 3 holds coordinates that are NaN, inf"):
        SampleSet(points, ("x", "y", "z"))


def test_infinities_of_both_signs_in_a_sample_are_found() -> None:
    points = random_points()
    points[2, 0, 0], points[2, 1, 0] = np.inf, -np.inf
    with pytest.raises(InvalidInputError, match="sample 2 holds"):
        SampleSet(points, ("x", "y", "z"))


def test_what_does_not_fit_together_is_refused() -> None:
    samples = make_samples()
    points = samples.points_SND
    with pytest.raises(InvalidInputError, match="points must have shape"):
        SampleSet(points[0], ("x", "y", "z"))
    with pytest.raises(InvalidInputError, match="samples"):
        SampleSet(points[:0], ("x", "y", "z"))
    with pytest.raises(InvalidInputError, match="channels"):
        SampleSet(points, ("x", "y", "z", "red"))
    with pytest.raises(InvalidInputError, match="begin with x, y, z"):
        SampleSet(points, ("a", "b", "c"))
    with pytest.raises(InvalidInputError, match="names do not go with 6 samples"):
        replace(samples, names=("a",))
    with pytest.raises(InvalidInputError, match="label"):
        replace(samples, labels_S=np.zeros(5, np.int64))
    with pytest.raises(InvalidInputError, match=r"sample 4.* 7"):
        replace(samples, labels_S=np.array([0, 1, 2, 0, 7, 7]))
