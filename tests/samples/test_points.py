"""Which points are kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kdrec.errors import InvalidInputError
from kdrec.samples import select_points
from tests.samples.clouds import FloatArray, random_points


def slow_farthest(points_ND: FloatArray, num_points: int) -> list[int]:
    """One cloud, one point at a time, by the definition."""
    kept = [0]
    while len(kept) < num_points:
        distances = []
        for point in points_ND:
            to_kept = [point[:3] - points_ND[other][:3] for other in kept]
            distances.append(min(float(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]) for d in to_kept))
        left = [index for index in range(len(points_ND)) if index not in kept]
        kept.append(max(left, key=lambda index: (distances[index], -index)))
    return kept


def test_the_first_points_are_the_first_points() -> None:
    points = random_points(channels=6)
    np.testing.assert_array_equal(select_points(points, 7, "first"), points[:, :7])


@settings(deadline=None, max_examples=40)
@given(
    points=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(2, 12), st.sampled_from([3, 5])),
        elements=st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]),
    ),
    data=st.data(),
)
def test_the_farthest_points_are_those_of_the_definition(
    points: FloatArray, data: st.DataObject
) -> None:
    num_points = data.draw(st.integers(1, points.shape[1] - 1))
    kept = select_points(points, num_points, "farthest")
    for cloud, kept_cloud in zip(points, kept, strict=True):
        np.testing.assert_array_equal(kept_cloud, cloud[slow_farthest(cloud, num_points)])


def test_a_sample_is_chosen_from_alike_in_any_company() -> None:
    points = random_points(700, 64)
    together = select_points(points, 9, "farthest")
    for sample in (0, 255, 256, 512, 699):
        alone = select_points(points[sample : sample + 1], 9, "farthest")
        np.testing.assert_array_equal(together[sample], alone[0])


def test_no_point_is_kept_twice_even_where_all_are_the_same() -> None:
    points = np.zeros((2, 5, 4), dtype=np.float32)
    points[..., 3] = np.arange(5)
    kept = select_points(points, 4, "farthest")
    assert kept[..., 3].tolist() == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize("num_points", [0, -1, 41])
def test_more_points_than_there_are_is_an_error(num_points: int) -> None:
    with pytest.raises(InvalidInputError, match=r"from 1 to .*40.*got"):
        select_points(random_points(), num_points, "first")
