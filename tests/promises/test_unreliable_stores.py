"""Straight to a bucket over a network that is slow, refuses and breaks off: the right bytes."""

import json
import uuid
from pathlib import Path

import pytest

from kdrec.store import ObjectStorage
from tests import fleet
from tests.buckets import S3Server
from tests.programs import contents, options
from tests.unreliable_network import unreliable_proxy


@pytest.fixture
def arguments(teachers: Path) -> list[str]:
    return list(
        options(
            {
                "teacher": f"{teachers}:PointsLast",
                "teacher-arg": "pause=0.05",
                "data": "shapes",
                "data-arg": ["count=24", "num_points=16"],
                "views": 4,
                "group": 2,
                "batch-size": 8,
                "block-samples": 8,
                "augment": "scale=0.9:1.1",
                "threads": 1,
            }
        )
    )


def test_over_an_unreliable_network_it_ends_in_the_right_bytes_also_when_killed(
    tmp_path: Path, s3: S3Server, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fleet.start(["record", tmp_path / "whole.zarr", *arguments], output=tmp_path / "w")
    bucket = s3.make_bucket(f"bucket-{uuid.uuid4().hex}")
    url, log = f"{bucket}/team/r.zarr", tmp_path / "log.jsonl"
    with unreliable_proxy(s3.url, chance=0.05) as (proxy, faults):
        env = {**s3.environment, "AWS_ENDPOINT": proxy, "KDREC_LEASE_SECONDS": "2"}
        command = ["record", url, *arguments, "--log", str(log)]
        first = fleet.start(command, output=tmp_path / "out", env=env)
        while not (log.exists() and log.read_text().count('"block"')):
            first.join(0.05)
            assert first.is_alive(), (tmp_path / "out").read_text()
        assert fleet.kill(first)
        both = [
            fleet.start([*command, "--part", part], output=tmp_path / "out", env=env)
            for part in ("1/2", "2/2")
        ]
        codes = [fleet.finish(process) for process in both]
        assert codes == [0, 0], (tmp_path / "out").read_text()
    assert fleet.finish(whole) == 0
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    storage = ObjectStorage(url)
    assert {key: storage.read(key) for key in storage.keys("")} == contents(tmp_path / "whole.zarr")
    keys = list(ObjectStorage(f"{bucket}/team").keys())
    assert not [key for key in keys if not key.startswith("r.zarr/")]  # no lock, no claim is left
    assert set(faults.seen) == {"slow", "503", "reset before", "reset after", "none"}
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events.count("end") == 2
