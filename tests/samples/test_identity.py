"""Digests and sketches."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kdrec.samples import DIGEST_SIZE, SKETCH_SIZE, SampleSet, identify
from tests.samples.clouds import make_samples, random_points


def test_an_identity_says_all_that_is_compared() -> None:
    samples = make_samples()
    identity = identify(samples)
    assert identity.digests.shape == (6, DIGEST_SIZE)
    assert identity.digests.dtype == np.uint8
    assert identity.sketches.shape == (6, SKETCH_SIZE)
    assert identity.sketches.dtype == np.float32
    assert len(identity) == 6
    assert identity.labels_S is samples.labels_S
    assert (identity.channels, identity.num_points) == (("x", "y", "z"), 40)
    assert identity.class_names == samples.class_names


@given(
    sample=st.integers(0, 5),
    point=st.integers(0, 39),
    axis=st.integers(0, 2),
    bit=st.integers(0, 21),
)
def test_one_changed_bit_changes_one_digest(sample: int, point: int, axis: int, bit: int) -> None:
    samples = make_samples()
    points = samples.points_SND.copy()
    points.view(np.uint32)[sample, point, axis] ^= np.uint32(1 << bit)
    before, after = identify(samples), identify(replace(samples, points_SND=points))
    changed = np.any(before.digests != after.digests, axis=1)
    assert np.flatnonzero(changed).tolist() == [sample]
    assert before.digest != after.digest


def test_the_same_numbers_in_another_arrangement_have_another_digest() -> None:
    points = random_points(2, 12, 6)
    channels = ("x", "y", "z", "a", "b", "c")
    digests = identify(SampleSet(points, channels)).digests
    renamed = identify(SampleSet(points, (*channels[:5], "d"))).digests
    reshaped = identify(SampleSet(points.reshape(2, 24, 3), channels[:3])).digests
    assert np.all(np.any(digests != renamed, axis=1))
    assert np.all(np.any(digests != reshaped, axis=1))


def test_a_sketch_holds_centroid_radius_and_four_points() -> None:
    points = random_points(3, 10, 4)
    sketches = identify(SampleSet(points, ("x", "y", "z", "height"))).sketches
    xyz = points[..., :3].astype(np.float64)
    centroid = xyz.mean(axis=1)
    radius = np.linalg.norm(xyz - centroid[:, None], axis=2).max(axis=1)
    np.testing.assert_allclose(sketches[:, :3], centroid, atol=1e-7)
    np.testing.assert_allclose(sketches[:, 3], radius, rtol=1e-6)
    np.testing.assert_array_equal(sketches[:, 4:], points[:, [0, 3, 6, 9], :3].reshape(3, 12))


def test_a_cloud_of_one_point_has_a_sketch() -> None:
    sketch = identify(SampleSet(np.ones((1, 1, 3), np.float32), ("x", "y", "z"))).sketches[0]
    assert sketch.tolist() == [1, 1, 1, 0, *[1] * 12]


def test_the_data_digest_covers_labels_and_class_names_but_neither_names_nor_sketches() -> None:
    samples = make_samples()
    identity = identify(samples)
    assert len(identity.digest) == 64
    assert identity.digest == identify(replace(samples, names=None)).digest
    assert identity.digest == replace(identity, sketches=identity.sketches + 1).digest
    others = [
        replace(samples, labels_S=None),
        replace(samples, labels_S=np.array([0, 1, 2, 0, 1, 1])),
        replace(samples, class_names=("ball", "cube", "dish")),
        replace(samples, class_names=None),
        samples.rows(np.array([1, 0, 2, 3, 4, 5])),
    ]
    digests = {identify(other).digest for other in others}
    assert len(digests) == len(others)
    assert identity.digest not in digests
