"""What lies in a folder is never removed, overwritten or resealed by a recorder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kdrec.client import open_recording
from tests.programs import contents, kdrec, options

SMALL = {
    "data": "shapes",
    "data-arg": ["count=24", "num_points=32"],
    "views": 4,
    "group": 2,
    "batch-size": 4,
    "block-samples": 8,
    "augment": "scale=0.9:1.1",
    "threads": 1,
}


@pytest.fixture
def command(teachers: Path) -> list[str]:
    return ["--teacher", f"{teachers}:PointsLast", *options(SMALL)]


@pytest.mark.parametrize("name", ["samples/a.txt", "notes.txt", "ledger/mine.csv", ".swap.tmp"])
def test_a_folder_of_somebody_else_is_left_as_it_was(
    tmp_path: Path, command: list[str], name: str
) -> None:
    folder = tmp_path / "mine"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("years of work")
    done = kdrec("record", folder, *command)
    assert done.code == 5, done.err
    assert Path(name).name in done.err
    assert contents(folder) == {name: b"years of work"}


def test_a_recording_that_lost_its_root_is_not_begun_anew(
    tmp_path: Path, command: list[str]
) -> None:
    path = tmp_path / "r.zarr"
    assert kdrec("record", path, *command).code == 0
    (path / "zarr.json").unlink()
    before = contents(path)
    done = kdrec("record", path, *command)
    assert done.code == 4
    assert "zarr.json is missing" in done.err
    assert contents(path) == before


@pytest.mark.parametrize("harm", [Path.unlink, lambda p: p.write_bytes(p.read_bytes()[:-1])])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_damaged_block_is_not_taken_for_done(
    tmp_path: Path, command: list[str], harm: Callable[[Path], None], sealed: bool
) -> None:
    path = tmp_path / "r.zarr"
    assert kdrec("record", path, *command).code == 0
    if not sealed:
        (path / "seal.json").unlink()
    whole = contents(path)
    harm(path / "logits/c/1/2/0")
    done = kdrec("record", path, *command)
    assert done.code == 4, done.err
    assert "block g00001-p00002" in done.err
    assert "delete ledger/g00001-p00002.json" in done.err
    (path / "ledger/g00001-p00002.json").unlink()
    assert kdrec("record", path, *command).code == 0
    assert contents(path) == whole | {"seal.json": (path / "seal.json").read_bytes()}


def test_another_teacher_under_the_same_name_is_found_on_resume(
    tmp_path: Path, command: list[str], teachers: Path
) -> None:
    path = tmp_path / "r.zarr"
    command = [*command, "--encoding", "exact"]  # another would round the last difference away
    assert kdrec("record", path, *command).code == 0
    identity = open_recording(path).identity
    for key in ("ledger/g00000-p00001.json", "ledger/g00001-p00001.json"):
        (path / key).unlink()
    source = teachers.read_text()
    teachers.write_text(source.replace("amax(dim=-1)", "amax(dim=-1) * 1.5"))
    done = kdrec("record", path, *command)
    assert done.code == 5, done.err
    assert "differ by" in done.err
    # Also where the difference is too small for the tolerance, a seal is never replaced.
    teachers.write_text(source.replace("amax(dim=-1)", "amax(dim=-1) * (1 + 1e-6)"))
    done = kdrec("record", path, *command)
    assert done.code == 5, done.err
    assert "comes out otherwise than it was sealed" in done.err
    teachers.write_text(source)
    assert kdrec("record", path, *command).code == 0
    assert open_recording(path).identity == identity


def test_a_recording_has_one_lock_by_any_name(tmp_path: Path) -> None:
    from kdrec.store import recording_lock

    class WaitedError(Exception):
        pass

    def refuse() -> None:
        raise WaitedError

    (tmp_path / "real.zarr").mkdir()
    (tmp_path / "link.zarr").symlink_to("real.zarr")
    with (
        recording_lock(tmp_path / "real.zarr", while_waiting=refuse),
        pytest.raises(WaitedError),
        recording_lock(tmp_path / "link.zarr", while_waiting=refuse),
    ):
        pass
