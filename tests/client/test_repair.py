"""Repair from a copy: only what is damaged, only the bytes that were there, or nothing."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdrec.client import FileSource, RepairReport, open_copy, repair
from kdrec.errors import ConflictError, IntegrityError, NotFoundError, StorageError
from kdrec.samples import make_shapes
from kdrec.store import LocalStorage, MemoryStorage, RecordingReader, verify_bytes
from kdrec.testing import flip_bit, make_plan, make_recording, truncate
from tests.programs import contents

Files = dict[str, bytes]
DAMAGES = ("flip", "truncate", "delete", "empty")


def run(folder: Path, source: FileSource, *, only_damaged: bool = False) -> RepairReport:
    for report in repair(folder, source, only_damaged=only_damaged):  # noqa: B007 - the last one
        pass
    return report


def damage(path: Path, kind: str, position: int = 777) -> None:
    if kind == "flip":
        flip_bit(path, position)
    elif kind == "truncate":
        truncate(path)
    elif kind == "delete":
        path.unlink()
    else:
        path.write_bytes(b"")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("repair") / "original.zarr"
    make_recording(path)
    return path


@pytest.fixture(scope="module")
def files(original: Path) -> Files:
    return contents(original)


@pytest.fixture
def broken(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "broken.zarr"))


def write(folder: Path, files: Files) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for key, data in files.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_damage_is_undone_to_the_byte(
    tmp_path: Path, files: Files, data: st.DataObject
) -> None:
    folder = tmp_path / "r.zarr"
    write(folder, files)
    keys = data.draw(st.lists(st.sampled_from(sorted(files)), unique=True, max_size=8))
    # Of the seal or the header one must be left: else nothing says which recording it was.
    for key in keys:
        damage(folder / key, data.draw(st.sampled_from(DAMAGES)), data.draw(st.integers(0, 10**6)))
    report = run(folder, MemoryStorage(files))
    assert contents(folder) == files
    assert sorted(report.repaired) == sorted(keys)
    assert report.broken == []


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_source_never_makes_anything_worse(
    tmp_path: Path, files: Files, data: st.DataObject
) -> None:
    folder, other = tmp_path / "r.zarr", tmp_path / "other.zarr"
    some = st.lists(st.sampled_from(sorted(files)), unique=True, max_size=6)
    for path in (folder, other):
        write(path, files)
        for key in data.draw(some):
            damage(path / key, data.draw(st.sampled_from(DAMAGES)))
    before = contents(folder)
    try:
        report = run(folder, LocalStorage(other))
    except (IntegrityError, ConflictError):
        report = RepairReport(broken=["raised"])
    after = contents(folder)
    wrong = {key for key, good in files.items() if after.get(key) != good}
    assert all(after.get(key) == before.get(key) for key in wrong)
    assert after.keys() <= files.keys()
    assert bool(wrong) <= bool(report.broken)


def test_an_unfinished_recording_is_repaired_and_can_go_on(tmp_path: Path, original: Path) -> None:
    folder = tmp_path / "r.zarr"
    make_recording(folder, blocks=4)
    before = contents(folder)
    for key in ("ledger/g00000-p00001.json", "logits/c/0/2/0", "samples/points/c/0/0/0"):
        flip_bit(folder / key, 500)
    report = run(folder, open_copy(original), only_damaged=True)
    assert contents(folder) == before
    assert len(report.absent) == 5
    make_recording(folder)
    assert contents(folder) == contents(original)


def test_missing_blocks_are_completed_and_sealed_unless_only_damage_is_meant(
    tmp_path: Path, original: Path
) -> None:
    make_recording(tmp_path / "r.zarr", blocks=4)
    report = run(tmp_path / "r.zarr", open_copy(original))
    assert contents(tmp_path / "r.zarr") == contents(original)
    assert report.repaired[-1] == "seal.json"


def test_a_lost_seal_of_a_partial_copy_comes_from_the_source_or_not_at_all(
    broken: Path, original: Path
) -> None:
    for path in [*broken.glob("ledger/g00001*"), *broken.glob("*/c/1/*/0")]:
        path.unlink()
    flip_bit(broken / "seal.json", 400)
    alone = run(broken, MemoryStorage(), only_damaged=True)
    assert "seal.json is damaged, and nothing says what it was" in alone.broken[0]
    assert run(broken, open_copy(original), only_damaged=True).broken == []
    assert (broken / "seal.json").read_bytes() == (original / "seal.json").read_bytes()


def test_a_damaged_seal_is_written_again_from_what_it_sealed(broken: Path, files: Files) -> None:
    for position in (300, 8 * len(files["seal.json"]) - 200):  # in its list; in its digest
        flip_bit(broken / "seal.json", position)
        assert run(broken, MemoryStorage()).broken == []
        assert contents(broken) == files


def test_a_block_entry_in_the_place_of_the_header_is_no_header(
    tmp_path: Path, original: Path
) -> None:
    make_recording(tmp_path / "r.zarr", blocks=2)
    before = contents(tmp_path / "r.zarr")
    ledger = tmp_path / "r.zarr" / "ledger"
    shutil.copy(ledger / "g00000-p00000.json", ledger / "header.json")
    assert run(tmp_path / "r.zarr", open_copy(original), only_damaged=True).broken == []
    assert contents(tmp_path / "r.zarr") == before


def test_another_recording_is_refused_before_anything_is_written(
    tmp_path: Path, broken: Path
) -> None:
    samples = make_shapes(20, seed=0, num_points=32)
    make_recording(tmp_path / "other.zarr", samples, plan=make_plan(samples, seed=1))
    flip_bit(broken / "logits/c/0/0/0", 1)
    before = contents(broken)
    with pytest.raises(ConflictError, match="is another recording"):
        run(broken, open_copy(tmp_path / "other.zarr"))
    for lost in ({"ledger/header.json"}, {"ledger/header.json", "seal.json"}):
        for key in lost:
            (broken / key).unlink(missing_ok=True)
        with pytest.raises(ConflictError, match="the one offered is another recording's"):
            run(broken, open_copy(tmp_path / "other.zarr"))
    assert {**before, **contents(broken)} == before


def test_without_anything_that_says_which_it_was_nothing_is_taken(
    tmp_path: Path, original: Path
) -> None:
    write(tmp_path / "r.zarr", {"samples/label/zarr.json": b"{}"})
    with pytest.raises(ConflictError, match="cannot be told to be this one's"):
        run(tmp_path / "r.zarr", open_copy(original))
    with pytest.raises(NotFoundError, match="no recording at"):
        run(tmp_path / "nothing.zarr", open_copy(original))
    with pytest.raises(NotFoundError, match="give another copy"):
        open_copy(tmp_path / "nothing.zarr")


def test_a_header_without_a_seal_is_vouched_for_by_blocks_or_the_root(
    tmp_path: Path, original: Path
) -> None:
    for blocks in (2, 0):
        folder = tmp_path / f"{blocks}.zarr"
        make_recording(folder, blocks=blocks)
        before = contents(folder)
        flip_bit(folder / "ledger/header.json", 100)
        assert run(folder, open_copy(original), only_damaged=True).broken == []
        assert contents(folder) == before


class Unreachable:
    """A source that is lost after some reads."""

    def __init__(self, files: Files, reads: int) -> None:
        self._files, self._left = MemoryStorage(files), reads

    def read(self, key: str) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise StorageError(f"{key}: connection reset")
        return self._files.read(key)


def test_stopped_at_any_moment_it_goes_on(broken: Path, files: Files) -> None:
    for key in ("zarr.json", "logits/c/0/0/0", "ledger/g00001-p00000.json", "seal.json"):
        damage(broken / key, "truncate")
    for reads in range(20):
        try:
            run(broken, Unreachable(files, reads))
        except StorageError:
            continue
        break
    assert reads > 2
    assert contents(broken) == files


def test_a_recording_that_is_being_written_is_left_alone(broken: Path, original: Path) -> None:
    with (
        FileLock(broken.with_name(f".{broken.name}.lock")),
        pytest.raises(ConflictError, match="being written by another process; let it finish"),
    ):
        run(broken, open_copy(original))


def test_what_is_whole_is_not_touched(broken: Path, original: Path) -> None:
    def times() -> Iterator[int]:
        return (path.stat().st_mtime_ns for path in sorted(broken.rglob("*")))

    before = list(times())
    report = run(broken, open_copy(original))
    assert (report.repaired, report.broken, report.absent) == ([], [], [])
    assert list(times()) == before
    storage = LocalStorage(broken)
    reader = RecordingReader(storage, where="r.zarr")
    assert [found.damaged for found in verify_bytes(reader, storage)][-1] == []
