"""`kdrec verify`, as a user runs it."""

import shutil
from pathlib import Path

import pytest

from kdrec.testing import flip_bit
from tests.programs import kdrec, service
from tests.recorder.toy_teachers import record_toy, toy, write_toys

SHAPES = ("--data-arg", "count=24", "--data-arg", "num_points=32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verified")
    toys = write_toys(folder)
    record_toy(folder / "r.zarr", toy(toys))
    record_toy(folder / "bare.zarr", toy(toys), with_samples=False)
    return folder


def test_the_recorded_teacher_passes_with_a_stated_confidence(folder: Path) -> None:
    shown = kdrec("verify", folder / "r.zarr", "--teacher", f"{folder / 'toys.py'}:Toy", "--bytes")
    assert shown.code == 0, shown.err
    assert "verdict        pass" in shown.out
    assert "teacher        same teacher: every answer is the recorded one to the bit" in shown.out
    assert "with 95 % confidence fewer than" in shown.out


def test_another_teacher_fails_and_machines_get_the_figures(folder: Path) -> None:
    asked = ("--teacher", f"{folder / 'toys.py'}:Toy", "--teacher-arg", "seed=1", "--json")
    done = kdrec("verify", folder / "r.zarr", *asked)
    assert done.code == 5
    found = done.json["teacher"]
    assert found["verdict"] == "another teacher"
    assert found["largest_difference"] > found["allowed"]
    assert 0 < found["unnoticed_share"] < 1


def test_replay_and_teacher_work_over_a_network_and_without_kept_samples(
    folder: Path, tmp_path: Path
) -> None:
    teacher = ("--teacher", f"{folder / 'toys.py'}:Toy", "--cache", tmp_path)
    with service(folder) as url:
        done = kdrec("verify", f"{url}/bare", *teacher, "--replay", "shapes", *SHAPES, "--json")
        assert done.code == 0, done.err
        assert done.json["replay"]["clouds"] == 24
        assert done.json["replay"]["confidence"] == 0.95
        assert done.json["teacher"]["verdict"] == "same teacher"
        without = kdrec("verify", f"{url}/bare", *teacher)
        assert without.code == 3
        assert "recorded without its samples; give the data" in without.err
        assert kdrec("verify", f"{url}/bare", "--bytes").code == 2


def test_other_data_fail_and_name_the_sample(folder: Path) -> None:
    other = (*SHAPES, "--data-arg", "seed=1")
    done = kdrec("verify", folder / "r.zarr", "--replay", "shapes", *other)
    assert done.code == 5
    assert "sample 0" in done.err


def test_damage_is_named_with_what_to_do_about_it(folder: Path, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(folder / "r.zarr", tmp_path / "r.zarr"))
    for key in ("logits/c/0/0/0", "seal.json"):  # one found on the way, one on opening
        flip_bit(broken / key, 5000)
        done = kdrec("verify", broken, "--bytes")
        assert (done.code, key in done.err) == (4, True), done.err
        assert f"run `kdrec repair {broken} --from COPY`" in done.err
        assert "kdrec verify" not in done.err


def test_a_recording_without_its_seal_does_not_pass(folder: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(folder / "r.zarr", tmp_path / "r.zarr"))
    (path / "seal.json").unlink()
    done = kdrec("verify", path, "--bytes")
    assert (done.code, "verdict        not sealed" in done.out) == (3, True), done.out
    assert "run the same kdrec record again, or `kdrec repair" in done.err
    assert kdrec("verify", path, "--bytes", "--json").json["sealed"] is False
    assert "state              recorded, but not sealed: run the same" in kdrec("inspect", path).out
    assert kdrec("repair", path, "--from", folder / "r.zarr").code == 0
    assert kdrec("verify", path, "--bytes").code == 0


def test_something_must_be_asked(folder: Path) -> None:
    done = kdrec("verify", folder / "r.zarr")
    assert done.code == 2
    assert "--bytes, --replay DATA, --teacher NAME" in done.err
