"""The built-in shapes: the same everywhere, different enough, hard enough."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdrec.errors import InvalidInputError
from kdrec.samples import SHAPE_CLASSES, identify, load_field, load_samples, make_shapes

GOLDEN = "689fccec6cc82b002c1432081ba0e7e5064ba3c5b74616072c3eac8153820587"


def test_shapes_of_a_seed_never_change() -> None:
    samples = make_shapes(48, seed=7, num_points=100)
    assert hashlib.sha256(samples.points_SND.astype("<f4").tobytes()).hexdigest() == GOLDEN


@settings(deadline=None, max_examples=8)
@given(count=st.integers(1, 30), seed=st.integers(0, 2**64 - 1), num_points=st.integers(1, 70))
def test_a_sample_does_not_depend_on_how_many_are_made(
    count: int, seed: int, num_points: int
) -> None:
    few = make_shapes(count, seed=seed, num_points=num_points)
    many = make_shapes(30, seed=seed, num_points=num_points)
    np.testing.assert_array_equal(few.points_SND, many.points_SND[:count])
    assert few.names == (many.names or ())[:count]


def test_a_sample_does_not_depend_on_the_block_it_is_made_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together = make_shapes(30, seed=0, num_points=50)
    monkeypatch.setattr("kdrec.samples.shapes._BLOCK_VALUES", 500)
    np.testing.assert_array_equal(
        make_shapes(30, seed=0, num_points=50).points_SND, together.points_SND
    )


def test_shapes_are_centred_in_the_unit_sphere_on_a_grid() -> None:
    points = make_shapes(120, seed=0, num_points=256).points_SND
    radius = np.linalg.norm(points.astype(np.float64), axis=2).max(axis=1)
    assert radius.max() <= 1
    assert radius.min() > 0.999
    assert np.abs(points.mean(axis=1)).max() < 1e-4
    np.testing.assert_array_equal(points * 2**14, np.rint(points * 2**14))


def test_classes_come_in_turn() -> None:
    samples = make_shapes(30, seed=0, num_points=8)
    assert samples.labels_S is not None
    assert len(SHAPE_CLASSES) >= 10
    assert tuple(sorted(SHAPE_CLASSES)) == SHAPE_CLASSES == samples.class_names
    assert samples.labels_S.tolist() == [i % len(SHAPE_CLASSES) for i in range(30)]
    assert (samples.names or ())[13] == "box_00013"


def test_seeds_are_independent_data_sets() -> None:
    one, two = (identify(make_shapes(60, seed=seed, num_points=64)) for seed in (0, 1))
    both = np.concatenate([one.digests, two.digests])
    assert len(np.unique(both, axis=0)) == 120


def test_noise_is_what_was_asked_for() -> None:
    smooth = make_shapes(60, seed=0, num_points=400, noise=0.0).points_SND
    rough = make_shapes(60, seed=0, num_points=400, noise=0.05).points_SND
    # Centring and scaling after the noise shrink what is left of it by a few percent.
    assert 0.04 < np.std(rough - smooth) < 0.06


def test_shapes_of_a_class_vary_and_classes_differ() -> None:
    samples = make_shapes(600, seed=0, num_points=256)
    extent = np.sort(np.abs(samples.points_SND), axis=1)[:, -26:].mean(axis=1)
    by_class = extent.reshape(-1, len(SHAPE_CLASSES), 3)
    assert by_class.std(axis=0).min() > 0.02
    assert by_class.mean(axis=0).std(axis=0).max() > 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0, "num_points": 5}, "at least 1, got 0 and 5"),
        ({"count": 2, "num_points": 0}, "at least 1"),
        ({"count": 2, "noise": -0.1}, "noise of shapes must be from 0 to 1, got -0.1"),
        ({"count": 2, "noise": float("nan")}, "noise of shapes"),
        ({"count": 2, "seed": -1}, "seed must be"),
        ({"count": 2.5}, "argument count of shapes must be a whole number, got 2.5"),
        ({"count": True}, "must be a whole number"),
        ({"noise": "much"}, "must be a number, got 'much'"),
        ({"size": 2}, "no argument 'size'; allowed are count, seed, num_points, noise"),
    ],
)
def test_numbers_out_of_range_are_refused(
    arguments: dict[str, int | float | bool | str], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_samples("shapes", arguments=arguments)


def test_shapes_are_a_source() -> None:
    arguments = {"count": 25, "seed": 3, "num_points": 20, "noise": 0.01}
    samples = load_samples("shapes", arguments=arguments, num_points=10)
    expected = make_shapes(25, seed=3, num_points=20, noise=0.01)
    np.testing.assert_array_equal(samples.points_SND, expected.points_SND[:, :10])
    assert len(load_samples("shapes", arguments=arguments, split="label=1")) == 2
    assert load_field("shapes", "class_names").tolist() == list(SHAPE_CLASSES)
