"""Augmentation: drawn on a grid, applied the same everywhere, read from text and TOML."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdrec import augment
from kdrec.augment import (
    NORMAL,
    XYZ,
    Augmentation,
    check_channels,
    default_channels,
    fingerprint,
    fingerprint_tolerance,
    format_augmentation,
    parse_augmentation,
)
from kdrec.errors import InvalidInputError

FloatArray = npt.NDArray[np.float32]
EVERYTHING = (
    "normalize,scale=0.9:1.1,rotate_x=10,rotate_y=-180:180,rotate_z=5,translate=0.05,reflect_x,"
    "reflect_z=0.25,scale=0.5:2:common,subset=40"
)


def clouds(batch: int = 6, points: int = 50, channels: int = 3) -> FloatArray:
    words = np.random.Philox(key=1).random_raw(batch * points * channels)
    values = (words >> np.uint64(40)).astype(np.float64) / 2**23 - 1
    return values.astype(np.float32).reshape(batch, points, channels)


def test_the_public_names_are_these() -> None:
    assert augment.__all__ == sorted(augment.__all__, key=_ruff_order)


def _ruff_order(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@given(
    samples=st.lists(st.integers(0, 5000), min_size=1, max_size=30),
    view=st.integers(0, 1000),
    seed=st.integers(0, 2**64 - 1),
)
def test_parameters_do_not_depend_on_the_company(samples: list[int], view: int, seed: int) -> None:
    augmentation = parse_augmentation(EVERYTHING)
    together = augmentation.draw(seed, views=view, samples_B=samples)
    for row, sample in enumerate(samples):
        alone = augmentation.draw(seed, views=[view], samples_B=[sample])
        np.testing.assert_array_equal(together.values_BP[row], alone.values_BP[0])


@given(low=st.floats(-8, 8), width=st.floats(0, 8), name=st.sampled_from(["translate", "rotate_y"]))
def test_parameters_lie_on_their_grid_and_in_their_range(
    low: float, width: float, name: str
) -> None:
    augmentation = parse_augmentation(f"{name}={low!r}:{low + width!r}")
    drawn = augmentation.draw(3, views=0, samples_B=np.arange(50)).values_BP.astype(np.float64)
    for values, column in zip(drawn.T, augmentation.columns, strict=True):
        steps = values / column.step
        assert (steps == np.round(steps)).all()
        assert steps.min() >= column.low
        assert steps.max() <= column.high
        slack = column.step if width < 2 * column.step else 0.0
        assert values.min() >= low - slack
        assert values.max() <= low + width + slack


def test_parameters_spread_over_their_whole_range() -> None:
    drawn = parse_augmentation("scale=0.9:1.1").draw(0, views=0, samples_B=np.arange(4000))
    assert abs(drawn["scale_x"].mean() - 1.0) < 0.005
    assert drawn["scale_y"].min() < 0.902
    assert drawn["scale_z"].max() > 1.098
    assert abs(np.corrcoef(drawn["scale_x"], drawn["scale_y"])[0, 1]) < 0.06


def test_a_repeated_operation_gets_a_column_of_its_own() -> None:
    columns = parse_augmentation("rotate_y=5,translate=0.1,rotate_y=90").columns
    assert [c.name for c in columns][0::4] == ["rotate_y", "rotate_y_2"]


@pytest.mark.parametrize("text", ["scale=0.5:2", "rotate_y=180", "translate=1", "reflect_y"])
def test_numpy_and_torch_agree_to_the_last_bit(text: str) -> None:
    augmentation = parse_augmentation(text)
    points = clouds()
    drawn = augmentation.draw(0, views=1, samples_B=np.arange(len(points)))
    on_torch = augmentation.apply(torch.from_numpy(points), drawn)
    np.testing.assert_array_equal(augmentation.apply(points, drawn), on_torch.numpy())


@given(points=st.integers(1, 130), channels=st.sampled_from([3, 5]))
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_scale_and_shift_are_plain_arithmetic_for_any_number_of_points(
    kind: Callable[[FloatArray], Any], points: int, channels: int
) -> None:
    plain = clouds(points=points, channels=channels)
    augmentation = parse_augmentation("scale=0.5:2,translate=0.3")
    drawn = augmentation.draw(1, views=2, samples_B=np.arange(len(plain)))
    seen = augmentation.apply(kind(plain), drawn, channels=default_channels(channels))
    factors, shifts = drawn.values_BP[:, None, :3], drawn.values_BP[:, None, 3:]
    expected = np.concatenate([plain[..., :3] * factors + shifts, plain[..., 3:]], axis=-1)
    np.testing.assert_array_equal(np.asarray(seen), expected)


def test_numpy_and_torch_agree_within_rounding_where_a_sum_is_taken() -> None:
    augmentation = parse_augmentation(EVERYTHING)
    points = clouds(channels=6)
    drawn = augmentation.draw(0, views=1, samples_B=np.arange(len(points)))
    on_numpy = augmentation.apply(points, drawn, channels=XYZ + NORMAL)
    on_torch = augmentation.apply(torch.from_numpy(points), drawn, channels=XYZ + NORMAL)
    np.testing.assert_allclose(on_numpy, on_torch.numpy(), rtol=0, atol=2e-6)
    difference = np.abs(fingerprint(on_numpy) - fingerprint(on_torch.numpy()))
    assert (difference <= fingerprint_tolerance(on_numpy)).all()


@pytest.mark.filterwarnings("ignore:.*lru_cache.*:UserWarning")
def test_the_whole_list_compiles_to_one_graph() -> None:
    """So that a GPU applies it in few kernels."""
    augmentation = parse_augmentation(EVERYTHING)
    points = clouds(channels=6)
    drawn = augmentation.draw(0, views=1, samples_B=np.arange(len(points)))
    index_BK = augmentation.subset_index(drawn, points.shape[1])
    assert index_BK is not None
    transform = torch.compile(augmentation.transform, fullgraph=True, backend="eager")
    seen = transform(
        torch.from_numpy(points),
        torch.from_numpy(augmentation.numbers(drawn)),
        torch.from_numpy(index_BK),
        channels=XYZ + NORMAL,
    )
    torch.compiler.reset()
    alone = augmentation.apply(torch.from_numpy(points), drawn, channels=XYZ + NORMAL)
    assert torch.equal(seen, alone)


@settings(max_examples=25)
@given(split=st.integers(1, 5))
def test_a_batch_may_be_split_anywhere(split: int) -> None:
    augmentation = parse_augmentation(EVERYTHING)
    points = clouds()
    drawn = augmentation.draw(0, views=[0, 1, 2, 0, 1, 2], samples_B=[5, 4, 3, 2, 1, 0])
    whole = augmentation.apply(points, drawn)
    first = augmentation.apply(points[:split], drawn.rows(slice(0, split)))
    np.testing.assert_array_equal(whole[:split], first)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rotate_x=90:90", lambda p: np.stack([p[..., 0], -p[..., 2], p[..., 1]], -1)),
        ("rotate_y=90:90", lambda p: np.stack([p[..., 2], p[..., 1], -p[..., 0]], -1)),
        ("rotate_z=90:90", lambda p: np.stack([-p[..., 1], p[..., 0], p[..., 2]], -1)),
        ("reflect_y=1", lambda p: p * [1, -1, 1]),
        ("reflect_y=0", lambda p: p),
        ("scale=2:2", lambda p: 2 * p),
        ("translate=0.5:0.5", lambda p: p + 0.5),
    ],
)
def test_operations_do_what_their_names_say(
    text: str, expected: Callable[[FloatArray], npt.NDArray[Any]]
) -> None:
    augmentation = parse_augmentation(text)
    points = clouds()
    drawn = augmentation.draw(0, views=0, samples_B=np.arange(len(points)))
    np.testing.assert_allclose(augmentation.apply(points, drawn), expected(points), atol=1e-6)


def test_normalize_centres_and_fits_the_unit_sphere() -> None:
    augmentation = parse_augmentation("normalize")
    points = clouds() * 7 + 3
    found = augmentation.apply(points, augmentation.draw(0, views=0, samples_B=np.arange(6)))
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2).max(axis=1), 1, atol=1e-6)


def test_normalize_leaves_a_cloud_of_equal_points_finite() -> None:
    augmentation = parse_augmentation("normalize")
    points = np.full((1, 5, 3), 2.5, dtype=np.float32)
    found = augmentation.apply(points, augmentation.draw(0, views=0, samples_B=[0]))
    np.testing.assert_array_equal(found, np.zeros_like(points))


def test_normals_turn_and_colours_stay() -> None:
    channels = (*XYZ, *NORMAL, "red")
    points = clouds(channels=7)
    points[..., 3:6] /= np.linalg.norm(points[..., 3:6], axis=-1, keepdims=True)
    augmentation = parse_augmentation("rotate_y=90:90,scale=0.5:2,reflect_x,translate=1")
    drawn = augmentation.draw(0, views=0, samples_B=np.arange(6))
    found = augmentation.apply(points, drawn, channels=channels)
    np.testing.assert_array_equal(found[..., 6], points[..., 6])
    np.testing.assert_allclose(np.linalg.norm(found[..., 3:6], axis=-1), 1, atol=1e-6)
    turned = parse_augmentation("rotate_y=90:90")
    drawn = turned.draw(0, views=0, samples_B=np.arange(6))
    found = turned.apply(points, drawn, channels=channels)
    np.testing.assert_allclose(found[..., 3], points[..., 5], atol=1e-6)


def test_normals_stay_perpendicular_to_a_stretched_surface() -> None:
    tangent = np.array([1.0, 1.0, 0.0]) / np.sqrt(2)
    normal = np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
    points = np.zeros((1, 2, 6), dtype=np.float32)
    points[0, 1, :3], points[0, :, 3:] = tangent, normal
    augmentation = parse_augmentation("scale=0.5:2")
    drawn = augmentation.draw(4, views=0, samples_B=[0])
    found = augmentation.apply(points, drawn, channels=XYZ + NORMAL)
    along = found[0, 1, :3] - found[0, 0, :3]
    assert abs(float(along @ found[0, 0, 3:])) < 1e-6


def test_a_subset_holds_points_of_the_cloud_and_differs_by_view() -> None:
    augmentation = parse_augmentation("subset=10")
    points = clouds()
    first, second = (
        augmentation.apply(points, augmentation.draw(0, views=v, samples_B=np.arange(6)))
        for v in (0, 1)
    )
    assert first.shape == (6, 10, 3)
    for cloud, kept in zip(points, first, strict=True):
        rows = {tuple(point) for point in cloud.tolist()}
        assert len({tuple(point) for point in kept.tolist()} & rows) == 10
    assert not np.array_equal(first, second)


def test_a_subset_larger_than_the_cloud_is_refused() -> None:
    augmentation = parse_augmentation("subset=51")
    with pytest.raises(InvalidInputError, match=r"subset=51 .* 50 points"):
        augmentation.apply(clouds(), augmentation.draw(0, views=0, samples_B=np.arange(6)))


def test_a_fingerprint_sees_one_step_of_one_parameter_and_two_points_exchanged() -> None:
    points = clouds(points=500)
    seen = fingerprint(points)
    turned = parse_augmentation("rotate_y=0.0009765625:0.0009765625")
    moved = turned.apply(points, turned.draw(0, views=0, samples_B=np.arange(6)))
    assert (np.abs(fingerprint(moved) - seen) > fingerprint_tolerance(points)).any(axis=1).all()
    exchanged = points.copy()
    exchanged[:, [3, 4]] = points[:, [4, 3]]
    assert (np.abs(fingerprint(exchanged) - seen) > fingerprint_tolerance(points)).any(axis=1).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jitter=0.01", "needs a random shift for every point"),
        ("random_dropout", "every point"),
        ("spin=3", r"no augmentation 'spin'; allowed are: scale=LOW:HIGH"),
        ("scale=-1:2", "above 0, got -1"),
        ("scale=0.000001:0.000002", "at least 1.52588e-05, got 1e-06"),
        ("scale=1", "it takes a range"),
        ("scale=2:1", "low must not exceed high"),
        ("rotate_y=400", "within [+]-360"),
        ("subset=0", "greater than or equal to 1"),
        ("subset=1.5", "invalid literal"),
        ("reflect_x=2", "less than or equal to 1"),
        ("translate=a", "could not convert"),
        ("translate=1e9", "translate_x must lie within"),
        ("scale=nan:1", "finite"),
        ("normalize=1", "no argument"),
        ("subset=5,subset=4", "only once"),
        ("scale=1:2,,", "no augmentation ''"),
    ],
)
def test_a_wrong_augmentation_is_refused_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        parse_augmentation(text)


def test_text_tables_and_manifest_say_the_same() -> None:
    augmentation = parse_augmentation(EVERYTHING)
    assert parse_augmentation(format_augmentation(augmentation)) == augmentation
    assert parse_augmentation(augmentation.model_dump(mode="json")) == augmentation
    tables: list[dict[str, object]] = [
        {"op": "scale", "low": 0.9, "high": 1.1},
        {"op": "normalize"},
    ]
    assert parse_augmentation(tables) == parse_augmentation("scale=0.9:1.1,normalize")
    assert parse_augmentation("none") == parse_augmentation("") == Augmentation()
    assert format_augmentation(Augmentation()) == "none"


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (clouds()[0], r"shape \(batch, points, 3\)"),
        (clouds(channels=4), r"shape \(batch, points, 3\)"),
        (clouds(batch=5), "5 clouds do not go with the parameters of 6 records"),
        (clouds().astype(np.float64), "float32, got float64"),
    ],
)
def test_points_of_another_shape_are_refused(points: npt.NDArray[Any], message: str) -> None:
    augmentation = parse_augmentation("scale=0.9:1.1")
    drawn = augmentation.draw(0, views=0, samples_B=np.arange(6))
    with pytest.raises(InvalidInputError, match=message):
        augmentation.apply(points, drawn)


def test_parameters_behave_as_their_values() -> None:
    drawn = parse_augmentation("scale=0.9:1.1").draw(0, views=2, samples_B=[4, 7])
    assert np.asarray(drawn).shape == (2, 3)
    assert len(drawn.rows([1])) == 1
    with pytest.raises(KeyError, match="scale_x, scale_y, scale_z"):
        drawn["rotate_y"]


def test_channels_are_checked_and_guessed() -> None:
    assert default_channels(3) == XYZ
    assert default_channels(6) == XYZ + NORMAL
    assert default_channels(4) == (*XYZ, "feature_0")
    for wrong in (["y", "x", "z"], [*XYZ, "red", "red"], [*XYZ, "normal_y"]):
        with pytest.raises(InvalidInputError, match=wrong[-1]):
            check_channels(wrong)
    with pytest.raises(InvalidInputError, match="got 2"):
        default_channels(2)
