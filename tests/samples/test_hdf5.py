"""Samples from HDF5 files: the layouts of ModelNet40 and ScanObjectNN."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from kdrec.errors import ErrorKind, InvalidInputError, NotFoundError
from kdrec.samples import load_field, load_samples
from tests.samples.clouds import random_points


def save(path: Path, **arrays: Any) -> str:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return str(path)


def contents(key: int, samples: int = 4) -> Mapping[str, Any]:
    return {
        "data": random_points(samples, 10, key=key),
        "label": np.full((samples, 1), key % 3, dtype=np.uint8),
        "normal": random_points(samples, 10, key=key + 50),
        "faceId": np.arange(samples * 10).reshape(samples, 10),
    }


@pytest.fixture
def modelnet(tmp_path: Path) -> Path:
    """The layout of modelnet40_ply_hdf5_2048, smaller."""
    for key, name in enumerate(("train1", "test0", "train0")):
        save(tmp_path / f"ply_data_{name}.h5", **contents(key))
    (tmp_path / "shape_names.txt").write_text("airplane\nbathtub\nbed\n")
    (tmp_path / "train_files.txt").write_text("data/ply_data_train0.h5\n")
    return tmp_path


def test_one_file_is_read(modelnet: Path) -> None:
    samples = load_samples(str(modelnet / "ply_data_test0.h5"))
    np.testing.assert_array_equal(samples.points_SND[..., :3], random_points(4, 10, key=1))
    assert samples.channels[3:] == ("normal_x", "normal_y", "normal_z")
    assert samples.labels_S is not None
    assert samples.labels_S.tolist() == [1, 1, 1, 1]
    assert samples.class_names == ("airplane", "bathtub", "bed")


def test_a_folder_is_read_in_the_order_of_its_names(modelnet: Path) -> None:
    samples = load_samples(str(modelnet), split="file=train")
    assert samples.labels_S is not None
    assert samples.labels_S.tolist() == [2] * 4 + [0] * 4
    np.testing.assert_array_equal(samples.points_SND[4:, :, :3], random_points(4, 10, key=0))


def test_train_and_test_are_not_mixed_by_accident(modelnet: Path) -> None:
    with pytest.raises(InvalidInputError, match="choose by a split: file=test or file=train"):
        load_samples(str(modelnet))
    with pytest.raises(InvalidInputError, match="the values are test, train"):
        load_samples(str(modelnet), split="file=val")


def test_a_split_may_go_by_file_name_or_another_field(modelnet: Path) -> None:
    assert len(load_samples(str(modelnet), split="file_name=ply_data_train0.h5")) == 4
    assert len(load_samples(str(modelnet), split="label=1")) == 4


def test_the_names_of_scanobjectnn_are_understood(tmp_path: Path) -> None:
    for key, name in enumerate(("test_objectdataset.h5", "training_objectdataset.h5")):
        data, label = random_points(3, 8, key=key), np.array([0, 14, 3])
        save(tmp_path / name, data=data, label=label, mask=np.zeros((3, 8), int))
    samples = load_samples(str(tmp_path), split="file=train")
    np.testing.assert_array_equal(samples.points_SND, random_points(3, 8, key=1))
    assert samples.labels_S is not None
    assert samples.labels_S.tolist() == [0, 14, 3]
    assert samples.class_names is None


def test_strings_inside_the_file_are_read(tmp_path: Path) -> None:
    source = save(
        tmp_path / "clouds.hdf5",
        data=random_points(2, 8),
        label=[1, 0],
        class_names=["ball", "würfel"],
        name=np.array([b"one", b"two"]),
    )
    samples = load_samples(source)
    assert samples.class_names == ("ball", "würfel")
    assert samples.names == ("one", "two")
    assert load_samples(source, split="name=two").names == ("two",)


def test_fields_are_read_over_all_files(modelnet: Path) -> None:
    assert load_field(str(modelnet), "faceId").shape == (12, 10)
    assert load_field(str(modelnet), "class_names").tolist() == ["airplane", "bathtub", "bed"]
    assert load_field(str(modelnet), "file").tolist() == ["test"] * 4 + ["train"] * 8


def test_files_of_different_layouts_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.h5", data=random_points(2, 8))
    save(tmp_path / "b.h5", data=random_points(2, 9))
    with pytest.raises(InvalidInputError, match=r"data of .*b\.h5 is .*\(2, 9, 3\), but of a\.h5"):
        load_samples(str(tmp_path))


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no file or folder"):
        load_samples(str(tmp_path / "none.h5"))
    with pytest.raises(NotFoundError, match=r"no \.h5 or \.hdf5 file"):
        load_samples(str(tmp_path))


def test_a_file_that_is_no_hdf5_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clouds.h5").write_bytes(b"nothing")
    with pytest.raises(InvalidInputError, match="not a readable HDF5 file"):
        load_samples(str(tmp_path / "clouds.h5"))


def test_a_file_without_points_is_refused(tmp_path: Path) -> None:
    source = save(tmp_path / "clouds.h5", label=[1, 2], version="1")
    with pytest.raises(InvalidInputError, match="holds no points"):
        load_samples(source)


def test_without_h5py_the_message_says_what_to_install(
    modelnet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InvalidInputError, match=r"pip install kdrec\[record\]") as caught:
        load_samples(str(modelnet))
    assert caught.value.kind is ErrorKind.MISSING_DEPENDENCY
