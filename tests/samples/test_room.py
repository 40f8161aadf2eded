"""Samples that outgrow memory: the same samples, in a file of which memory keeps what fits."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from kdrec.errors import InvalidInputError, StorageError
from kdrec.samples import identify, load_samples
from kdrec.samples.room import make_room

CLOUDS = np.random.Generator(np.random.PCG64(0)).normal(size=(50, 20, 3)).astype(np.float32)


class Clouds:
    """A data set of the user's."""

    def __len__(self) -> int:
        return len(CLOUDS)

    def __getitem__(self, sample: int) -> tuple[np.ndarray, int]:
        return CLOUDS[sample], sample % 3


@pytest.fixture(params=["dataset", "hdf5"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "dataset":
        return f"{__file__}:Clouds"
    for number in range(2):
        with h5py.File(tmp_path / f"part{number}.h5", "w") as file:
            file["data"] = CLOUDS[25 * number : 25 * number + 25]
            file["label"] = np.arange(25)[:, None] % 3
    return str(tmp_path)


@pytest.mark.parametrize("choice", ["first", "farthest"])
def test_samples_in_a_file_are_the_samples_in_memory(
    source: str, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"num_points": 8, "point_choice": choice, "split": "label=1"}
    here = load_samples(source, **asked)  # type: ignore[arg-type]
    monkeypatch.setenv("KDREC_SAMPLE_MEMORY", "100")
    there = load_samples(source, **asked)  # type: ignore[arg-type]
    assert there.points_SND.base is not None  # a mapping
    assert identify(there).digest == identify(here).digest
    np.testing.assert_array_equal(there.points_SND, here.points_SND)


def test_no_room_is_an_error_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match=r"need 4000000000000000 bytes in .*TMPDIR"):
        make_room((10**15,), np.float32, most=100)
    monkeypatch.setenv("KDREC_SAMPLE_MEMORY", "2 GB")
    with pytest.raises(InvalidInputError, match="must be a number of bytes, got '2 GB'"):
        make_room((1,), np.float32)
