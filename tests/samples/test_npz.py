"""Samples from npz files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdrec.errors import InvalidInputError, NotFoundError
from kdrec.samples import load_field, load_samples
from tests.samples.clouds import random_points


def save(path: Path, **arrays: Any) -> str:
    file = path / "clouds.npz"
    np.savez(file, **arrays)
    return str(file)


@pytest.mark.parametrize(
    ("points", "label", "classes", "name"),
    [("xyz", "label", "class_names", "name"), ("points", "labels", "classes", "names")],
)
def test_arrays_are_found_by_their_usual_names(
    tmp_path: Path, points: str, label: str, classes: str, name: str
) -> None:
    arrays = {
        points: random_points().astype(np.float64),
        label: np.array([[0], [1], [1], [0], [0], [1]], dtype=np.uint8),
        classes: np.array(["ball", "cube"]),
        name: np.array([f"cloud_{number}" for number in range(6)]),
    }
    samples = load_samples(save(tmp_path, **arrays))
    np.testing.assert_array_equal(samples.points_SND, random_points())
    assert samples.points_SND.dtype == np.float32
    assert samples.labels_S is not None
    assert samples.labels_S.dtype == np.int64
    assert samples.labels_S.tolist() == [0, 1, 1, 0, 0, 1]
    assert samples.class_names == ("ball", "cube")
    assert samples.names is not None
    assert samples.names[5] == "cloud_5"


def test_features_are_appended_as_channels(tmp_path: Path) -> None:
    colours = (np.arange(6 * 40 * 3) % 256).astype(np.uint8).reshape(6, 40, 3)
    source = save(
        tmp_path,
        data=random_points(),
        normal=random_points(key=2),
        rgb=colours,
        feature=random_points(key=3)[..., 0],
    )
    samples = load_samples(source)
    assert samples.channels == (
        *("x", "y", "z", "normal_x", "normal_y", "normal_z"),
        *("red", "green", "blue", "feature_6"),
    )
    np.testing.assert_array_equal(samples.points_SND[..., 3:6], random_points(key=2))
    np.testing.assert_allclose(samples.points_SND[..., 6:9] * 255, colours, atol=1e-4)
    np.testing.assert_array_equal(samples.points_SND[..., 9], random_points(key=3)[..., 0])


def test_integers_are_divided_by_the_greatest_of_their_type(tmp_path: Path) -> None:
    stored = np.array([[[-32767, 0, 32767], [1, 2, 3]]], dtype=np.int16)
    points = load_samples(save(tmp_path, xyz=stored)).points_SND
    np.testing.assert_array_equal(points, stored.astype(np.float32) / np.float32(32767))


def test_six_columns_are_coordinates_and_normals(tmp_path: Path) -> None:
    samples = load_samples(save(tmp_path, xyz=random_points(2, 9, 6)))
    assert samples.channels[3:] == ("normal_x", "normal_y", "normal_z")


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    source = save(tmp_path, xyz=random_points(), label=np.array([object()] * 6))
    with pytest.raises(InvalidInputError, match=r"label of .*Python objects \(a pickle\)"):
        load_samples(source)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": np.zeros(3)}, r"holds no points; they must be called xyz, points, data, there"),
        ({"xyz": np.zeros((2, 4, 3)), "data": np.zeros(2)}, "holds xyz and data"),
        ({"xyz": np.zeros((4, 3))}, r"shape \(samples, points, columns\), got \(4, 3\)"),
        ({"xyz": np.zeros((2, 3, 50))}, "exchange the last two axes"),
        ({"xyz": np.zeros((2, 4, 2))}, "at least 3 columns"),
        ({"xyz": np.array([[["a", "b", "c"]]])}, "floating-point numbers or integers"),
        ({"xyz": np.zeros((2, 4, 3)), "normal": np.zeros((2, 5, 3))}, "must go with the points"),
        ({"xyz": np.zeros((2, 4, 3)), "label": np.zeros((2, 2))}, "one number a sample"),
        ({"xyz": np.zeros((2, 4, 3)), "label": np.array([0.5, 1])}, "whole numbers"),
        ({"xyz": np.zeros((2, 4, 3)), "label": np.array([np.inf, 1])}, "whole numbers"),
        ({"xyz": np.zeros((2, 4, 3)), "label": np.array(["a", "b"])}, "whole numbers"),
        ({"xyz": np.full((2, 4, 3), 1e300)}, "sample 0 holds coordinates .* infinite or beyond 1e"),
        ({"xyz": np.full((2, 4, 3), 1e30)}, "sample 0 holds coordinates .* beyond 1e"),
        ({"xyz": np.ones((2, 4, 3), np.int64)}, "int64: integers of 8 or 16 bits .* as float32"),
        ({"xyz": np.ones((2, 4, 3), np.uint32)}, "uint32: integers of 8 or 16 bits"),
    ],
)
def test_what_cannot_be_samples_is_refused_with_the_reason(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_samples(save(tmp_path, **arrays))


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no file .*none\.npz"):
        load_samples(str(tmp_path / "none.npz"))


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04nothing", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clouds.npz").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"cannot be read|is no npz file"):
        load_samples(str(tmp_path / "clouds.npz"))


def test_a_plain_array_named_npz_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "clouds.npz").open("wb") as file:
        np.save(file, random_points())
    with pytest.raises(InvalidInputError, match="is no npz file, or only a part of one"):
        load_samples(str(tmp_path / "clouds.npz"))


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    source = Path(save(tmp_path, xyz=random_points()))
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 0x10
    source.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"xyz of .* cannot be read"):
        load_samples(str(source))


@pytest.mark.parametrize("place", [0.001, 0.3, 0.6, 0.9, 0.999])
def test_a_torn_file_is_refused(tmp_path: Path, place: float) -> None:
    source = Path(save(tmp_path, xyz=random_points(), label=np.zeros(6, np.int64)))
    content = source.read_bytes()
    source.write_bytes(content[: int(len(content) * place)])
    with pytest.raises(InvalidInputError, match="only a part of one"):
        load_samples(str(source))


def test_files_take_no_arguments(tmp_path: Path) -> None:
    source = save(tmp_path, xyz=random_points())
    with pytest.raises(InvalidInputError, match="takes no arguments, got count"):
        load_samples(source, arguments={"count": 3})


def test_another_field_is_read_as_it_is(tmp_path: Path) -> None:
    source = save(tmp_path, xyz=random_points(), modelnet40_index=np.array([1, 2, 8], np.uint8))
    assert load_field(source, "modelnet40_index").tolist() == [1, 2, 8]
    with pytest.raises(NotFoundError, match="no field 'other'; it has modelnet40_index, xyz"):
        load_field(source, "other")


def test_the_real_clouds_are_read(shared_data: Path) -> None:
    source = str(shared_data / "clouds" / "modelnet10_test908_1024.npz")
    samples = load_samples(source, num_points=512)
    assert samples.points_SND.shape == (908, 512, 3)
    assert samples.class_names is not None
    assert samples.class_names[2] == "chair"
    assert np.abs(samples.points_SND).max() <= 1
    assert len(load_samples(source, split="split=0")) == 610
    assert load_field(source, "modelnet40_index").shape == (10,)
