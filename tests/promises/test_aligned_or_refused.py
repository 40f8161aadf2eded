"""Promise 1: other content, order or preprocessing is refused, with the first sample and why.

Shape letters: S samples, N points, D channels.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdrec.client import Recording, open_recording
from kdrec.errors import ConflictError, ErrorKind, InvalidInputError
from kdrec.samples import SampleSet, make_shapes
from kdrec.student import RecordedViews
from kdrec.testing import make_recording

SAMPLES = make_shapes(24, seed=0, num_points=48)
Points = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    path = tmp_path_factory.mktemp("aligned") / "r.zarr"
    make_recording(path, SAMPLES)
    return open_recording(path)


def moved(change: Callable[[Points], object], *only: int) -> SampleSet:
    """The samples with their points changed, all or some."""
    points_SND = SAMPLES.points_SND.copy()
    rows = list(only) or slice(None)
    points_SND[rows] = np.asarray(change(points_SND[rows]), dtype=np.float32)
    return replace(SAMPLES, points_SND=points_SND)


def swapped(first: int, second: int) -> SampleSet:
    order = np.arange(len(SAMPLES))
    order[[first, second]] = order[[second, first]]
    return SAMPLES.rows(order)


def relabelled(sample: int) -> SampleSet:
    assert SAMPLES.labels_S is not None
    labels_S = SAMPLES.labels_S.copy()
    labels_S[sample] = (labels_S[sample] + 1) % 12
    return replace(SAMPLES, labels_S=labels_S)


def nudged(sample: int, point: int) -> SampleSet:
    """One coordinate of one point differs in its last bit."""
    points_SND = SAMPLES.points_SND.copy()
    points_SND[sample, point, 1] = np.nextafter(points_SND[sample, point, 1], np.float32(2))
    return replace(SAMPLES, points_SND=points_SND)


def turned(points: Points) -> object:
    cosine, sine = np.cos(0.3), np.sin(0.3)
    return points @ np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


OTHER_DATA = {
    "permuted": (swapped(3, 11), r"sample 3 \(\w+\) is recorded sample 11: .* another order"),
    "a sample replaced": (moved(lambda p: p[::-1], 5, 9), r"sample 5 .* is recorded sample 9"),
    "fewer points": (
        replace(SAMPLES, points_SND=SAMPLES.points_SND[:, :40]),
        r"sample 0 .* number of points: recorded 48, here 40",
    ),
    "shifted": (moved(lambda p: p + 0.25), r"sample 0 .*\(24 of 24 .*not centred alike"),
    "scaled": (moved(lambda p: p * 2), r"sample 0 .*points here = 2 \* recorded.*scaled otherwise"),
    "one shifted": (moved(lambda p: p + 0.25, 7), r"sample 7 .*\(1 of 24 samples differ\)"),
    "two scaled": (moved(lambda p: p * 0.9, 20, 8), r"sample 8 .*\(2 of 24 samples differ\)"),
    "axes swapped": (moved(lambda p: p[..., [0, 2, 1]]), r"sample 0 .*x, z, y of the recording"),
    "axis flipped": (moved(lambda p: p * [1, 1, -1]), r"sample 0 .*x, y, -z of the recording"),
    "turned": (moved(turned), r"sample 0 .*turned by some angle"),
    "points shuffled": (
        moved(lambda p: np.roll(p, 5, axis=1), 7),
        r"sample 7 .*points are those recorded in another order",
    ),
    "another label": (relabelled(17), r"label of sample 17 .* here, 5 \(cylinder\) in the rec"),
    "fewer samples": (SAMPLES.rows(np.arange(20)), r"24 samples, here are 20.*sample 20 is the"),
    "more samples": (
        make_shapes(25, seed=0, num_points=48), r"24 samples, here are 25.*sample 24 .*is the first"
    ),
    "another data set": (make_shapes(24, seed=1, num_points=48), r"sample 0 .*content is another"),
    "last bit, seen by the sketch": (nudged(9, 0), r"sample 9 .*only within a tolerance"),
    "last bit, not seen by it": (nudged(13, 5), r"sample 13 .*(other points|within a tolerance)"),
}  # fmt: skip


def test_the_recorded_samples_are_accepted(recording: Recording) -> None:
    assert recording.check(SAMPLES) is None
    assert recording.check(recording.samples()) is None
    assert len(RecordedViews(recording, SAMPLES)) == 24


@pytest.mark.parametrize("case", OTHER_DATA)
def test_other_data_are_refused_with_the_first_sample_and_why(
    recording: Recording, case: str
) -> None:
    samples, why = OTHER_DATA[case]
    for ask in (recording.check, lambda other: RecordedViews(recording, other)):
        with pytest.raises(ConflictError, match=why) as refusal:
            ask(samples)
        assert refusal.value.kind == ErrorKind.MISALIGNED


@settings(deadline=None, max_examples=40)
@given(
    place=st.tuples(st.integers(0, 23), st.integers(0, 47), st.integers(0, 2)),
    bit=st.integers(0, 30),
)
def test_any_flipped_bit_of_any_coordinate_is_refused(
    recording: Recording, place: tuple[int, int, int], bit: int
) -> None:
    points_SND = SAMPLES.points_SND.copy()
    points_SND.view(np.uint32)[place] ^= np.uint32(1 << bit)
    if not (np.abs(points_SND) <= 1e18).all():
        with pytest.raises(InvalidInputError, match=rf"^sample {place[0]} holds coordinates"):
            replace(SAMPLES, points_SND=points_SND)
        return
    with pytest.raises(ConflictError, match=rf"^sample {place[0]} ") as refusal:
        recording.check(replace(SAMPLES, points_SND=points_SND))
    assert refusal.value.kind == ErrorKind.MISALIGNED


@pytest.mark.parametrize("point", [0, 5, 47])
@pytest.mark.parametrize("sample", [0, 9])
def test_the_last_bit_may_be_allowed(recording: Recording, sample: int, point: int) -> None:
    other = nudged(sample, point)
    with pytest.raises(ConflictError):
        recording.check(other)
    assert recording.check(other, tolerance=1e-6) is None


@pytest.mark.parametrize("case", [case for case in OTHER_DATA if not case.startswith("last bit")])
def test_a_tolerance_of_rounding_lets_nothing_else_through(recording: Recording, case: str) -> None:
    samples, why = OTHER_DATA[case]
    with pytest.raises(ConflictError, match=why):
        recording.check(samples, tolerance=1e-6)


def test_what_a_sketch_cannot_see_the_fingerprints_do(recording: Recording) -> None:
    # Two points, none of them in the sketch, change places: centroid and radius stay.
    other = SAMPLES.points_SND.copy()
    other[0, [3, 5]] = other[0, [5, 3]]
    with pytest.raises(ConflictError, match="sample 0") as refusal:
        recording.check(replace(SAMPLES, points_SND=other), tolerance=1e-6)
    assert refusal.value.kind == ErrorKind.MISALIGNED


def test_an_order_is_found_when_asked_for(recording: Recording) -> None:
    order = np.random.Generator(np.random.PCG64(3)).permutation(len(SAMPLES))
    shuffled = SAMPLES.rows(order)
    with pytest.raises(ConflictError, match="permute=True"):
        recording.check(shuffled)
    found = recording.check(shuffled, permute=True)
    assert found is not None
    in_order = shuffled.rows(found)
    np.testing.assert_array_equal(in_order.points_SND, SAMPLES.points_SND)
    views = RecordedViews(recording, in_order)
    expected = RecordedViews(recording)
    for ours, theirs in zip(views.batch([4, 2]), expected.batch([4, 2]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("case", [case for case in OTHER_DATA if case != "permuted"])
def test_finding_an_order_lets_nothing_else_through(recording: Recording, case: str) -> None:
    with pytest.raises(ConflictError) as refusal:
        recording.check(OTHER_DATA[case][0], permute=True)
    assert refusal.value.kind == ErrorKind.MISALIGNED
