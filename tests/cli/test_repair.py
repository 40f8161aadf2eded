"""`kdrec repair`, as a user runs it: from a folder, from a server, from the teacher."""

import shutil
from pathlib import Path

import pytest

from kdrec.testing import flip_bit
from tests.programs import contents, kdrec, service
from tests.recorder.toy_teachers import record_toy, toy, write_toys


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repaired")
    record_toy(folder / "r.zarr", toy(write_toys(folder)))
    return folder


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    path = Path(shutil.copytree(folder / "r.zarr", tmp_path / "broken.zarr"))
    flip_bit(path / "logits/c/1/0/0", 50)
    (path / "ledger/g00000-p00001.json").unlink()
    assert kdrec("verify", path, "--bytes").code == 4
    return path


def test_from_a_server_and_from_a_folder(folder: Path, broken: Path, tmp_path: Path) -> None:
    second = Path(shutil.copytree(broken, tmp_path / "second.zarr"))
    with service(folder) as url:
        done = kdrec("repair", broken, "--from", f"{url}/r")
    assert done.code == 0, done.err
    assert "put back     2 files" in done.out
    found = kdrec("repair", second, "--from", folder / "r.zarr", "--json").json
    assert found["repaired"] == ["ledger/g00000-p00001.json", "logits/c/1/0/0"]
    assert contents(broken) == contents(second) == contents(folder / "r.zarr")


def test_by_recording_again(folder: Path, broken: Path) -> None:
    teacher = f"{folder / 'toys.py'}:Toy"
    done = kdrec("repair", broken, "--teacher", teacher)
    assert done.code == 0, done.err
    assert contents(broken) == contents(folder / "r.zarr")
    # Without its own samples, the data are named.
    flip_bit(broken / "samples/points/c/0/0/0", 50)
    assert kdrec("repair", broken, "--teacher", teacher).code == 4
    shapes = ("--data", "shapes", "--data-arg", "count=24", "--data-arg", "num_points=32")
    assert kdrec("repair", broken, "--teacher", teacher, *shapes).code == 0
    assert contents(broken) == contents(folder / "r.zarr")


def test_what_cannot_be_repaired_is_said_and_left_as_it_is(folder: Path, broken: Path) -> None:
    before = contents(broken)
    assert kdrec("repair", broken, "--from", broken).code == 4
    other = ("--teacher", f"{folder / 'toys.py'}:Toy", "--teacher-arg", "seed=1")
    assert kdrec("repair", broken, *other).code == 5
    assert kdrec("repair", broken).code == 2
    assert kdrec("repair", broken, "--from", folder / "nothing.zarr").code == 3
    assert contents(broken) == before
