"""Promise 9: of one plan, two recorders share or wait; of two plans, the second is refused."""

from pathlib import Path

from kdrec.store import LocalStorage, RecordingReader, verify_bytes
from tests.programs import kdrec, options, start


def test_two_recorders_of_one_plan_share_and_of_two_plans_the_second_is_refused(
    tmp_path: Path, teachers: Path
) -> None:
    path = tmp_path / "r.zarr"
    slow = options(
        {
            "teacher": f"{teachers}:PointsLast",
            "teacher-arg": "pause=0.5",
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
