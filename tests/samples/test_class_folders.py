"""Folders of a class each: meshes sampled on their surface, points as text."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from kdrec.errors import InvalidInputError
from kdrec.samples import PRESETS, SampleSet, find_preset, identify, load_samples, name_classes


@pytest.fixture
def meshes(tmp_path: Path) -> Path:
    """ModelNet40's layout: CLASS/train and CLASS/test."""
    for name, mesh in (
        ("ball", trimesh.creation.icosphere(subdivisions=2)),
        ("box", trimesh.creation.box(extents=(4, 1, 1))),
    ):
        for role, numbers in (("train", (1, 2)), ("test", (3,))):
            folder = tmp_path / "meshes" / name / role
            folder.mkdir(parents=True)
            for number in numbers:
                mesh.export(folder / f"{name}_{number:04d}.off")
    return tmp_path / "meshes"


def test_meshes_become_points_on_their_surface(meshes: Path) -> None:
    found = load_samples(str(meshes), split="file=train", arguments={"points": 500})
    assert found.class_names == ("ball", "box")
    assert found.names == ("ball_0001", "ball_0002", "box_0001", "box_0002")
    assert found.labels_S is not None
    assert found.labels_S.tolist() == [0, 0, 1, 1]
    assert found.points_SND.shape == (4, 500, 3)
    radius = np.linalg.norm(found.points_SND, axis=2)
    assert radius.max() == pytest.approx(1.0, abs=1e-5)
    assert radius[:2].min() > 0.85  # all of a ball is far from its middle
    sizes = np.ptp(found.points_SND[2], axis=0)
    assert sizes[0] / sizes[1] == pytest.approx(4, rel=0.05)


def test_points_are_spread_by_area_and_differ_between_files(meshes: Path) -> None:
    found = load_samples(str(meshes), split="file=test", arguments={"points": 4000})
    ball = found.points_SND[0]
    assert np.abs(ball.mean(axis=0)).max() < 1e-5
    assert (ball > 0).mean(axis=0) == pytest.approx([0.5] * 3, abs=0.05)
    two = load_samples(str(meshes), split="file=train").points_SND
    assert not np.array_equal(two[0], two[1])  # one mesh, two files: other points


def test_the_same_points_come_every_time_and_others_for_another_seed(meshes: Path) -> None:
    def digest(**arguments: int) -> str:
        return identify(load_samples(str(meshes), split="file=train", arguments=arguments)).digest

    assert digest(points=64) == digest(points=64)
    assert digest(points=64) != digest(points=64, seed=1)


def test_train_and_test_are_not_read_as_one_by_accident(meshes: Path) -> None:
    with pytest.raises(InvalidInputError, match="choose by a split: file=train or file=test"):
        load_samples(str(meshes))


def test_text_files_of_points_and_normals_are_read_with_their_lists(tmp_path: Path) -> None:
    drawn = np.random.Generator(np.random.PCG64(0))
    values = drawn.normal(size=(4, 10, 6)).astype(np.float32)
    names = ["bed_0001", "bed_0002", "cup_0001", "cup_0002"]
    for name, points in zip(names, values, strict=True):
        folder = tmp_path / name[:3]
        folder.mkdir(exist_ok=True)
        np.savetxt(folder / f"{name}.txt", points, delimiter=",", fmt="%.9g")
    (tmp_path / "modelnet40_train.txt").write_text("bed_0001\ncup_0001\n")
    (tmp_path / "modelnet40_test.txt").write_text("bed_0002\ncup_0002\n")
    found = load_samples(str(tmp_path), split="file=test", num_points=8)
    assert found.channels[3:] == ("normal_x", "normal_y", "normal_z")
    assert found.class_names == ("bed", "cup")
    np.testing.assert_array_equal(found.points_SND, values[[1, 3], :8])


@pytest.mark.parametrize("content", ["", "1,2\n", "1,2,x\n", "1,2,3\n4,5\n", "nan,0,0\n"])
def test_a_text_file_that_is_no_cloud_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "cup").mkdir()
    (tmp_path / "cup" / "cup_0001.txt").write_text(content)
    with pytest.raises(InvalidInputError, match=r"cup_0001|sample 0"):
        load_samples(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"OFF\n0 0 0\n", b"no mesh", b"\x00\xff" * 40])
def test_a_mesh_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cup").mkdir()
    (tmp_path / "cup" / "cup_0001.off").write_bytes(content)
    with pytest.raises(InvalidInputError, match="cup_0001"):
        load_samples(str(tmp_path))


def test_arguments_that_are_none_are_refused(meshes: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="meshes take the arguments points, seed"):
        load_samples(str(meshes), split="file=test", arguments={"count": 3})
    with pytest.raises(InvalidInputError, match="points must be at least 1"):
        load_samples(str(meshes), split="file=test", arguments={"points": 0})


def test_presets_name_the_classes_of_data_that_do_not() -> None:
    preset = find_preset("modelnet40")
    assert (len(preset.class_names), preset.num_points) == (40, 1024)
    assert len(PRESETS["scanobjectnn"].class_names) == 15
    points = np.zeros((2, 4, 3), dtype=np.float32)
    unnamed = SampleSet(points, ("x", "y", "z"), labels_S=np.array([0, 39]))
    assert name_classes(unnamed, preset).class_names == preset.class_names
    named = SampleSet(points, ("x", "y", "z"), np.array([0, 0]), class_names=("a",))
    assert name_classes(named, preset) is named
    with pytest.raises(InvalidInputError, match="label of sample 1 is 39; allowed are 0 to 14"):
        name_classes(unnamed, find_preset("scanobjectnn"))
    with pytest.raises(InvalidInputError, match="no preset 'modelnet10'; there are: modelnet40"):
        find_preset("modelnet10")
