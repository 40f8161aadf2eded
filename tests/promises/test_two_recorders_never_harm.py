"""Promise 9: of one plan, two recorders share or wait; of two plans, the second is refused."""

from pathlib import Path

from kdrec.store import LocalStorage, RecordingReader, verify_bytes
from tests.programs import contents, kdrec, options, start


def test_two_recorders_of_one_plan_share_and_of_two_plans_the_second_is_refused(
    tmp_path: Path, teachers: Path
) -> None:
    path = tmp_path / "r.zarr"
    slow = options(
        {
            "teacher": f"{teachers}:PointsLast",
            "teacher-arg": "pause=0.2",
            "data": "shapes",
            "data-arg": ["count=24", "num_points=32"],
            "views": 8,
            "batch-size": 8,
            "augment": "scale=0.9:1.1",
            "threads": 1,
        }
    )
    first = start("record", path, *slow)
    while not (path / "zarr.json").exists():
        assert first.poll() is None
    other = kdrec("record", path, *slow, "--seed", "7")
    assert first.poll() is None, "the first was to be still at work"
    assert other.code == 5
    assert "seed: 0 recorded, 7 now" in other.err
    second = kdrec("record", path, *slow)
    first.communicate(timeout=60)
    assert (first.returncode, second.code) == (0, 0), second.err
    assert "another process records here" in second.err or "0 now" in second.out
    storage = LocalStorage(path)
    *_, report = verify_bytes(RecordingReader(storage, where="r.zarr"), storage)
    assert (report.damaged, report.absent, report.unlisted) == ([], [], [])


def test_what_a_dead_recorder_left_is_taken_over_and_said_so(
    tmp_path: Path, teachers: Path
) -> None:
    path = tmp_path / "r.zarr"
    quick = options(
        {
            "teacher": f"{teachers}:PointsLast",
            "data": "shapes",
            "data-arg": ["count=8", "num_points=8"],
            "views": 2,
            "group": 1,
            "batch-size": 8,
            "augment": "scale=0.9:1.1",
            "threads": 1,
        }
    )
    assert kdrec("record", path, *quick).code == 0
    whole = contents(path)
    for key in ("seal.json", "ledger/g00001-p00000.json", "logits/c/1/0/0"):
        (path / key).unlink()
    (path / "logits/c/1/0/.0.4711-140000000000.tmp").write_bytes(b"half of a shard")
    again = kdrec("record", path, *quick)
    assert again.code == 0, again.err
    assert "removed 1 half-written files of a recorder that was killed" in again.err
    assert "continuing: 1 of 2 blocks are there" in again.err
    assert contents(path) == whole
