"""Aligned or refused: every kind of difference is named for what it is."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdrec.errors import ConflictError, ErrorKind, InvalidInputError
from kdrec.samples import SampleSet, align, identify, load_samples, make_shapes
from tests.samples.clouds import make_samples, random_points

SAMPLES = make_shapes(36, seed=5, num_points=64)


def moved(points_SND: npt.NDArray[Any], samples: SampleSet = SAMPLES) -> SampleSet:
    return replace(samples, points_SND=np.ascontiguousarray(points_SND, dtype=np.float32))


def refusal(
    samples: SampleSet,
    recorded: SampleSet = SAMPLES,
    *,
    tolerance: float = 0,
    permute: bool = False,
) -> str:
    with pytest.raises(ConflictError) as caught:
        align(identify(recorded), samples, tolerance=tolerance, permute=permute)
    assert caught.value.kind is ErrorKind.MISALIGNED
    return str(caught.value)


def test_the_same_samples_are_aligned() -> None:
    assert align(identify(SAMPLES), SAMPLES) is None
    assert align(identify(SAMPLES), SAMPLES, permute=True) is None
    assert align(identify(SAMPLES), SAMPLES, tolerance=1e-3) is None


def test_another_number_of_samples_is_refused() -> None:
    message = refusal(SAMPLES.rows(np.arange(30)))
    assert "the recording has 36 samples, here are 30, 30 of them recorded ones" in message
    assert "recorded sample 30 is the first missing here" in message
    message = refusal(SAMPLES, SAMPLES.rows(np.arange(30)), permute=True)
    assert "here are 36, 30 of them recorded ones; sample 30 (cone_00030" in message.replace(
        "ellipsoid_00030", "cone_00030"
    )


def test_other_channels_are_refused() -> None:
    other = SampleSet(random_points(36, 64, 4), ("x", "y", "z", "height"))
    message = refusal(other)
    assert "sample 0" in message
    assert "x, y, z, height, the recording has x, y, z" in message


def test_another_number_of_points_is_refused_with_the_option_that_helps() -> None:
    fewer = moved(SAMPLES.points_SND[:, :32])
    assert "recorded 32, here 64; use --num-points 32" in refusal(SAMPLES, fewer)
    assert "recorded 64, here 32; load data with at least 64" in refusal(fewer)


def test_another_order_is_refused_and_described() -> None:
    order = np.arange(36)
    order[[3, 20]] = [20, 3]
    message = refusal(SAMPLES.rows(order))
    assert "sample 3 (lamp_00020) is recorded sample 20" in message
    assert "2 of 36 displaced" in message
    assert "permute=True" in message
    assert 'align="digest"' in message


@settings(deadline=None, max_examples=30)
@given(
    contents=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), min_size=1, max_size=12),
    data=st.data(),
)
def test_a_permutation_is_found_even_among_duplicates(
    contents: list[tuple[int, int]], data: st.DataObject
) -> None:
    clouds = random_points(5, 8)
    recorded = SampleSet(
        clouds[[cloud for cloud, _ in contents]],
        ("x", "y", "z"),
        labels_S=np.array([label for _, label in contents]),
    )
    order = np.array(data.draw(st.permutations(range(len(contents)))))
    here = recorded.rows(order)
    index = align(identify(recorded), here, permute=True)
    found = here if index is None else here.rows(index)
    np.testing.assert_array_equal(found.points_SND, recorded.points_SND)
    np.testing.assert_array_equal(found.labels_S, recorded.labels_S)


def test_duplicates_are_matched_in_their_order() -> None:
    recorded = SampleSet(random_points(3, 8)[[0, 1, 0, 2, 0]], ("x", "y", "z"))
    index = align(identify(recorded), recorded.rows(np.array([1, 0, 2, 3, 4])), permute=True)
    assert index is not None
    assert index.tolist() == [1, 0, 2, 3, 4]


def test_a_permutation_with_other_labels_is_refused() -> None:
    here = SAMPLES.rows(np.arange(36)[::-1])
    assert here.labels_S is not None
    labels = here.labels_S.copy()
    labels[35] = 7
    message = refusal(replace(here, labels_S=labels), permute=True)
    assert "label of sample 35 (bottle_00000) is 7 (helix) here, 0 (bottle) in the" in message


@pytest.mark.parametrize("scale", [1.0, 2.5, 0.01])
@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.5, 0.0, -1.25)])
def test_another_scale_or_centre_is_given_in_numbers(
    scale: float, shift: tuple[float, float, float]
) -> None:
    if scale == 1.0 and not any(shift):
        return
    message = refusal(moved(scale * SAMPLES.points_SND.astype(np.float64) + np.array(shift)))
    found = re.search(r"points here = (\S+) \* recorded \+ \((\S+), (\S+), (\S+)\)", message)
    assert found is not None, message
    np.testing.assert_allclose([float(n) for n in found.groups()], [scale, *shift], atol=2e-3)
    assert "sample 0 (bottle_00000)" in message
    assert "36 of 36 samples differ" in message
    assert "normalise the points as the recording's data were" in message


def test_swapped_axes_are_named() -> None:
    message = refusal(moved(SAMPLES.points_SND[..., [0, 2, 1]]))
    assert "its x, y, z are x, z, y of the recording; put the axes back" in message


def test_a_flipped_axis_is_named() -> None:
    message = refusal(moved(SAMPLES.points_SND * np.array([1, 1, -1])))
    assert "its x, y, z are x, y, -z of the recording" in message


def test_a_quarter_turn_and_a_scale_are_both_named() -> None:
    turned = SAMPLES.points_SND[..., [0, 2, 1]] * np.array([2, 2, -2])
    message = refusal(moved(turned))
    assert "its x, y, z are x, z, -y of the recording, and points here = 2 * recorded" in message


def test_a_turned_cloud_is_named() -> None:
    cosine, sine = np.cos(0.5), np.sin(0.5)
    turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    assert "turned by some angle" in refusal(moved(SAMPLES.points_SND @ turn))


def test_the_same_points_in_another_order_are_named() -> None:
    order = np.roll(np.arange(64), 5)
    assert "points are those recorded in another order" in refusal(
        moved(SAMPLES.points_SND[:, order])
    )


def test_another_choice_of_points_is_named() -> None:
    dense = make_shapes(4, seed=5, num_points=256)
    message = refusal(
        replace(dense, points_SND=dense.points_SND[:, ::2]),
        replace(dense, points_SND=dense.points_SND[:, :128]),
    )
    assert "others were chosen of the cloud" in message


def test_rounding_is_named_and_the_tolerance_that_is_offered_works() -> None:
    here = moved(SAMPLES.points_SND + np.float32(3e-6))
    message = refusal(here)
    assert "sample 0 (bottle_00000) equals the recorded one only within a tolerance" in message
    offered = float(message.rpartition("tolerance=")[2].partition(" ")[0])
    assert 2.9e-6 < offered < 4e-6
    assert align(identify(SAMPLES), here, tolerance=offered) is None
    assert "within a tolerance" in refusal(here, tolerance=1e-6)


def test_a_tolerance_does_not_let_another_sample_through() -> None:
    points = SAMPLES.points_SND + np.float32(3e-6)
    points[17] = random_points(1, 64)[0]
    message = refusal(moved(points), tolerance=1e-5)
    assert "sample 17 (cylinder_00017) is not the recorded one (1 of 36 samples differ)" in message
    assert "its content is another" in message


def test_samples_far_from_the_recorded_ones_are_named_before_those_that_are_near() -> None:
    points = SAMPLES.points_SND + np.float32(3e-6)
    points[9] *= 2
    assert "sample 9 (pyramid_00009) is not the recorded one (36 of 36" in refusal(moved(points))


def test_a_difference_that_the_sketch_does_not_see_is_still_refused() -> None:
    points = random_points(2, 40, 4)
    recorded = SampleSet(points, ("x", "y", "z", "height"))
    other = points.copy()
    other[1, 5, 3] += 1
    message = refusal(SampleSet(other, recorded.channels), recorded)
    assert "sample 1 is not the recorded one" in message
    assert "columns after x, y, z" in message


def test_a_sample_from_elsewhere_in_the_recording_is_recognised() -> None:
    points = SAMPLES.points_SND.copy()
    points[4] = points[30]
    assert "it is recorded sample 30, but not all samples here" in refusal(moved(points))


def test_other_labels_are_refused() -> None:
    assert SAMPLES.labels_S is not None
    labels = SAMPLES.labels_S.copy()
    labels[17] = 3
    message = refusal(replace(SAMPLES, labels_S=labels))
    assert "label of sample 17 (cylinder_00017) is 3 (chair) here, 5 (cylinder) in the" in message
    assert "1 of 36 labels differ, all points agree" in message


def test_other_class_names_are_refused() -> None:
    assert SAMPLES.class_names is not None
    names = (*SAMPLES.class_names[:-1], "ring")
    assert "class 11 is 'ring' here, 'torus' in the recording" in refusal(
        replace(SAMPLES, class_names=names)
    )
    more = (*SAMPLES.class_names, "ring")
    assert "13 class names here, 12 in the recording" in refusal(replace(SAMPLES, class_names=more))


def test_labels_are_compared_only_where_both_sides_have_them() -> None:
    bare = replace(SAMPLES, labels_S=None, class_names=None, names=None)
    assert align(identify(bare), SAMPLES) is None
    assert align(identify(SAMPLES), bare) is None


def test_clouds_without_extent_are_refused_without_a_wrong_diagnosis() -> None:
    recorded = SampleSet(np.zeros((1, 4, 3), np.float32), ("x", "y", "z"))
    here = SampleSet(np.ones((1, 4, 3), np.float32), ("x", "y", "z"))
    assert "its content is another" in refusal(here, recorded)


@pytest.mark.parametrize("tolerance", [-1e-9, float("inf"), float("nan")])
def test_a_tolerance_out_of_range_is_refused(tolerance: float) -> None:
    with pytest.raises(InvalidInputError, match="tolerance must be 0 or more"):
        align(identify(SAMPLES), SAMPLES, tolerance=tolerance)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), sample=st.integers(0, 5), factor=st.floats(-3, 3, width=32))
def test_whatever_differs_is_refused(seed: int, sample: int, factor: float) -> None:
    samples = make_samples()
    points = samples.points_SND.copy()
    points[sample] = points[sample] * np.float32(factor) + random_points(1, 40, key=seed)[0]
    assert f"sample {sample} (cloud_{sample})" in refusal(moved(points, samples), samples)


def test_real_clouds_are_diagnosed(shared_data: Path) -> None:
    source = str(shared_data / "clouds" / "modelnet10_test908_1024.npz")
    samples = load_samples(source)
    assert align(identify(samples), samples) is None
    uncentred = moved(samples.points_SND[..., [0, 2, 1]], samples)
    assert "its x, y, z are x, z, y of the recording" in refusal(uncentred, samples)
    half = load_samples(source, split="split=1")
    assert "has 908 samples, here are 298, 298 of them recorded" in refusal(half, samples)
    farthest = load_samples(source, num_points=256, point_choice="farthest")
    first = load_samples(source, num_points=256)
    assert "others were chosen of the cloud" in refusal(farthest, first)
