"""What is asked of a source: splits, channels, points; and sources that others add."""

from pathlib import Path

import numpy as np
import pytest

from kdrec.errors import InvalidInputError
from kdrec.samples import (
    Arguments,
    Contents,
    SampleSet,
    Source,
    Split,
    load_field,
    load_samples,
    parse_split,
    register_source,
    select_points,
)
from tests.samples.clouds import make_samples, random_points


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "clouds.npz"
    np.savez(
        path,
        xyz=random_points(6, 40, 6),
        label=np.array([0, 1, 0, 1, 0, 2], np.uint8),
        fold=np.array([0.1, 0.2, 0.1, 0.25, 0.25, 0.1], np.float32),
        part=np.array(["train", "test", "train", "test", "train", "val"]),
        byte_part=np.array([b"train", b"test", b"train", b"test", b"train", b"val"]),
        public=np.array([True, False, True, True, True, True]),
        weights=np.arange(4),
        class_names=np.array(["ball", "cube", "disc"]),
    )
    return str(path)


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ("label=0", [0, 2, 4]),
        ("label=0.0", [0, 2, 4]),
        ("fold=0.1", [0, 2, 5]),
        ("fold=.25", [3, 4]),
        ("part=test", [1, 3]),
        ("byte_part=val", [5]),
        ("public=false", [1]),
        ("public=1", [0, 2, 3, 4, 5]),
        (" label = 2 ", [5]),
    ],
)
def test_a_split_keeps_the_samples_of_a_value(source: str, split: str, rows: list[int]) -> None:
    samples = load_samples(source, split=split)
    np.testing.assert_array_equal(samples.points_SND, random_points(6, 40, 6)[rows])
    np.testing.assert_array_equal(samples.labels_S, load_field(source, "label")[rows])


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("part=dev", "split part=dev: no sample has this part; the values are test, train, val"),
        ("label=ball", "no sample has this label; the values are 0, 1, 2"),
        ("label=300", "no sample has this label"),
        (
            "other=1",
            "'other' is no field with one value a sample; such fields are byte_part, fold, label, ",
        ),
        ("weights=1", "'weights' is no field with one value a sample"),
        ("label", "write FIELD=VALUE"),
        ("=1", "write FIELD=VALUE"),
        ("label=", "write FIELD=VALUE"),
    ],
)
def test_a_split_that_keeps_nothing_says_what_there_is(
    source: str, split: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_samples(source, split=split)


def test_only_so_many_values_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "clouds.npz"
    np.savez(path, xyz=random_points(60, 4), number=np.arange(60))
    with pytest.raises(InvalidInputError, match=r"18, 19, \.\.\. \(60 values\)"):
        load_samples(str(path), split="number=99")


def test_a_split_is_written_as_it_is_read() -> None:
    assert parse_split("split=0") == Split("split", "0")
    assert str(parse_split(" a = b=c ")) == "a=b=c"


def test_points_are_chosen_after_the_split(source: str) -> None:
    samples = load_samples(source, split="label=1", num_points=5, point_choice="farthest")
    expected = select_points(random_points(6, 40, 6)[[1, 3]], 5, "farthest")
    np.testing.assert_array_equal(samples.points_SND, expected)


def test_channels_choose_columns_by_name(source: str) -> None:
    samples = load_samples(source, channels=("x", "y", "z"))
    np.testing.assert_array_equal(samples.points_SND, random_points(6, 40, 6)[..., :3])
    assert samples.channels == ("x", "y", "z")
    assert samples.points_SND.flags.c_contiguous


def test_channels_name_columns_anew(source: str) -> None:
    samples = load_samples(source, channels=["x", "y", "z", "red", "green", "blue"])
    np.testing.assert_array_equal(samples.points_SND, random_points(6, 40, 6))
    assert samples.channels[3:] == ("red", "green", "blue")


def test_channels_that_do_not_go_are_refused(source: str) -> None:
    with pytest.raises(InvalidInputError, match="do not go with the source's 6: x, y, z, normal_x"):
        load_samples(source, channels=["x", "y", "z", "red"])
    with pytest.raises(InvalidInputError, match="must begin with x, y, z"):
        load_samples(source, channels=["x", "z", "y"])


@pytest.mark.parametrize("text", ["clouds.txt", "", "no/such/folder", "https://host/clouds"])
def test_an_unknown_source_says_what_is_allowed(text: str) -> None:
    with pytest.raises(InvalidInputError, match=r"no data source .*shapes.*FILE\.npz.*FILE\.h5"):
        load_samples(text)


class MemorySource:
    """A kind of source that this test adds."""

    usage = "memory (of this test)"

    def accepts(self, source: str) -> bool:
        return source == "memory"

    def open(self, source: str, arguments: Arguments, split: Split | None) -> Contents:
        samples: SampleSet = make_samples()
        return Contents(lambda: samples, {"label": lambda: np.asarray(samples.labels_S)})


def test_others_can_add_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdrec.samples.sources._SOURCES", [])
    added: Source = MemorySource()
    register_source(added)
    assert len(load_samples("memory", split="label=2")) == 2
    with pytest.raises(InvalidInputError, match=r"allowed are: memory \(of this test\)"):
        load_samples("shapes")
