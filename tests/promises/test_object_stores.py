"""Recording straight to a bucket, reading and fetching out of it, by the program itself."""

import functools
import http.server
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import obstore.store
import pytest
import zarr
import zarr.storage

from kdrec.client import fetch, open_recording, repair
from kdrec.errors import (
    ConflictError,
    IncompleteError,
    IntegrityError,
    NotFoundError,
    StorageError,
)
from kdrec.store import LeaseTimes, MemoryStorage, ObjectStorage
from kdrec.testing import flip_bit, make_recording
from tests.programs import contents, kdrec, options, start


def arguments(teachers: Path, pause: float) -> Sequence[str]:
    return options(
        {
            "teacher": f"{teachers}:PointsLast",
            "teacher-arg": f"pause={pause}",
            "data": "shapes",
            "data-arg": ["count=24", "num_points=32"],
            "views": 4,
            "group": 2,
            "batch-size": 4,
            "block-samples": 8,
            "augment": "scale=0.9:1.1",
            "threads": 1,
        }
    )


def objects(url: str) -> dict[str, bytes]:
    storage = ObjectStorage(url)
    return {key: storage.read(key) for key in storage.keys("")}


def has_block(url: str) -> bool:
    return any(key.startswith("ledger/g") for key in ObjectStorage(url).keys("ledger/"))


@pytest.fixture(params=["bucket", "container"])
def place(request: pytest.FixtureRequest) -> str:
    """An empty bucket of S3's, and one of Azure's."""
    return str(request.getfixturevalue(request.param))


def test_killed_while_it_records_to_a_bucket_another_takes_over_and_ends_in_the_same_bytes(
    place: str, tmp_path: Path, teachers: Path
) -> None:
    url, whole = f"{place}/r.zarr", tmp_path / "whole.zarr"
    lease = {"KDREC_LEASE_SECONDS": "3"}
    slow = arguments(teachers, pause=0.2)
    killed = start("record", url, *slow)
    while not has_block(url):
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    other = kdrec("record", url, *slow, "--seed", "7", env=lease)
    assert (other.code, "seed: 0 recorded, 7 now" in other.err) == (5, True), other.err
    second = kdrec("record", url, *slow, env=lease)
    assert second.code == 0, second.err
    assert "from a process that died or fell silent" in second.err  # took over its block
    assert "of 6 blocks are there" in second.err
    assert kdrec("record", whole, *slow).code == 0
    assert objects(url) == contents(whole)


@pytest.fixture
def recorded(bucket: str) -> str:
    return record_into(bucket)


def record_into(place: str) -> str:
    url = f"{place}/r.zarr"
    make_recording(Path("unused"), storage=ObjectStorage(url))
    return url


def test_a_bucket_is_read_inspected_and_fetched(recorded: str, tmp_path: Path) -> None:
    logits = make_recording(tmp_path / "whole.zarr")
    cache = tmp_path / "cache"
    shown = kdrec("inspect", recorded, "--json", "--cache", cache)
    assert shown.code == 0, shown.err
    assert shown.json["blocks"] == {"committed": 9, "total": 9}
    fetched = kdrec("fetch", recorded, tmp_path / "copy.zarr")
    assert fetched.code == 0, fetched.err
    assert contents(tmp_path / "copy.zarr") == contents(tmp_path / "whole.zarr")
    recording = open_recording(recorded, cache=cache)
    np.testing.assert_array_equal(recording.read(3, [5, 1])[1], logits[3, [5, 1]])
    recording.check(recording.samples())


def test_a_bucket_is_verified_and_repaired_from_a_folder_and_a_folder_from_a_bucket(
    place: str, tmp_path: Path
) -> None:
    recorded = record_into(place)
    path, storage = tmp_path / "r.zarr", ObjectStorage(recorded)
    make_recording(path)
    whole, key = contents(path), "logits/c/1/1/0"
    storage.write(key, whole[key][:-1])
    storage.delete("ledger/g00000-p00000.json")
    damaged = kdrec("verify", recorded, "--bytes")
    assert (damaged.code, key in damaged.err) == (4, True), damaged.err
    assert kdrec("repair", recorded, "--from", path).code == 0
    assert objects(recorded) == whole
    assert kdrec("verify", recorded, "--bytes").code == 0
    flip_bit(path / key, 1000)
    assert kdrec("repair", path, "--from", recorded, "--json").json["repaired"] == [key]
    assert contents(path) == whole
    assert kdrec("repair", path, "--from", f"{recorded}-nothing").code == 3
    assert kdrec("repair", f"{recorded}-nothing", "--from", path).code == 3


def test_a_recording_is_converted_into_a_bucket(recorded: str, tmp_path: Path) -> None:
    make_recording(tmp_path / "r.zarr")
    out, options = f"{recorded}-half", ("--encoding", "half", "--views", "1:3")
    cached = ("--cache", tmp_path / "cache")
    assert kdrec("convert", recorded, out, *options, *cached).code == 0
    assert kdrec("convert", tmp_path / "r.zarr", tmp_path / "half.zarr", *options).code == 0
    assert objects(out) == contents(tmp_path / "half.zarr")


def test_a_dead_repairers_bucket_is_taken_over_and_a_living_ones_is_left_alone(
    recorded: str,
) -> None:
    place = ObjectStorage(recorded, times=LeaseTimes(seconds=1, poll=0.05))
    whole = MemoryStorage(objects(recorded))
    place.delete("logits/c/0/0/0")
    with (
        ObjectStorage(recorded, times=LeaseTimes(seconds=1, poll=0.05)).lock(
            while_waiting=lambda: None
        ),
        pytest.raises(ConflictError, match="being written by another process"),
    ):
        list(repair(recorded, whole, place=place))
    parent, _, name = recorded.rpartition("/")
    ObjectStorage(parent).write(f".{name}.lock", b"dead 7\n")
    (*_, report) = repair(recorded, whole, place=place)
    assert report.repaired == ["logits/c/0/0/0"]


def test_a_shard_that_a_bucket_lacks_is_an_error_and_never_nan(
    recorded: str, tmp_path: Path
) -> None:
    ObjectStorage(recorded).delete("logits/c/1/1/0")
    recording = open_recording(recorded, cache=tmp_path)
    with pytest.raises(IntegrityError, match=r"block g00001-p00001 .*logits/c/1/1/0"):
        recording.read(2)
    assert np.isfinite(recording.read(2, [0])[1]).all()


def test_plain_zarr_opens_it_in_the_bucket_and_reads_what_is_missing_as_nan(
    recorded: str, tmp_path: Path
) -> None:
    """Through Zarr's own object store; it is why only kdrec's reader keeps the promise."""
    expected = make_recording(tmp_path / "r.zarr")
    objects = obstore.store.from_url(recorded, client_options={"allow_http": True})
    store = zarr.storage.ObjectStore(objects, read_only=True)
    logits = zarr.open_group(store, mode="r")["logits"]
    assert isinstance(logits, zarr.Array)
    np.testing.assert_array_equal(logits[2], expected[2])
    ObjectStorage(recorded).delete("logits/c/1/1/0")
    assert np.isnan(np.asarray(logits[2, 8:16])).all()


def test_an_unfinished_recording_in_a_bucket_is_read_as_far_as_it_is(
    bucket: str, tmp_path: Path
) -> None:
    storage = ObjectStorage(f"{bucket}/r.zarr")
    make_recording(Path("unused"), storage=storage, blocks=3)
    recording = open_recording(storage.url, cache=tmp_path)
    assert recording.progress() == (3, 9)
    with pytest.raises(IncompleteError):
        recording.read(2)
    make_recording(Path("unused"), storage=storage)
    recording = open_recording(storage.url, cache=tmp_path)
    assert recording.progress() == (9, 9)
    assert np.isfinite(recording.read(2)[1]).all()


def test_nothing_in_a_bucket_is_said_so(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no recording at s3://"):
        open_recording(f"{bucket}/nothing.zarr", cache=tmp_path)
    assert kdrec("inspect", f"{bucket}/nothing.zarr", "--cache", tmp_path).code == 3


class SilentHandler(http.server.SimpleHTTPRequestHandler):
    """A plain web host."""

    def log_request(self, code: object = "-", size: object = "-") -> None: ...
    def log_error(self, *args: object) -> None: ...


@contextmanager
def web_host(folder: Path) -> Iterator[str]:
    handler = functools.partial(SilentHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_sealed_recording_on_a_plain_web_host_is_read_and_fetched(tmp_path: Path) -> None:
    logits = make_recording(tmp_path / "served" / "r.zarr")
    with web_host(tmp_path / "served") as url:
        recording = open_recording(f"{url}/r.zarr", cache=tmp_path / "cache")
        np.testing.assert_array_equal(recording.read(1)[1], logits[1])
        assert recording.progress() == (9, 9)
        list(fetch(f"{url}/r.zarr", tmp_path / "copy.zarr"))
        with pytest.raises(NotFoundError):
            open_recording(f"{url}/nothing.zarr", cache=tmp_path / "cache")
        flip_bit(tmp_path / "copy.zarr" / "logits/c/0/0/0", 1)
        assert kdrec("repair", tmp_path / "copy.zarr", "--from", f"{url}/r.zarr").code == 0
    assert contents(tmp_path / "copy.zarr") == contents(tmp_path / "served" / "r.zarr")


def test_an_unfinished_recording_on_a_plain_web_host_cannot_be_listed(tmp_path: Path) -> None:
    logits = make_recording(tmp_path / "served" / "r.zarr", blocks=3)
    with web_host(tmp_path / "served") as url:
        recording = open_recording(f"{url}/r.zarr", cache=tmp_path / "cache")
        np.testing.assert_array_equal(recording.read(1)[1], logits[1])
        with pytest.raises(StorageError, match="cannot tell which blocks"):
            recording.progress()


TRAINING = """
import sys, torch, kdrec
from torch.utils.data import DataLoader
views = kdrec.RecordedViews(kdrec.open_recording(sys.argv[1], cache=sys.argv[2]))
how = {"num_workers": 2, "persistent_workers": True, "multiprocessing_context": sys.argv[3]}
loader = DataLoader(views, batch_size=4, **how)
total = 0.0
for epoch in range(5):
    views.set_epoch(epoch)
    total += sum(float(batch.teacher_logits.double().sum()) for batch in loader)
print(total)
"""


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_loaders_workers_read_from_a_bucket(recorded: str, tmp_path: Path, context: str) -> None:
    """Its parent uses the store while it forks, and goes on fetching ahead."""
    command = [sys.executable, "-c", TRAINING, recorded, str(tmp_path / "cache"), context]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    logits = make_recording(tmp_path / "r.zarr")
    assert float(done.stdout) == pytest.approx(float(logits.astype(np.float64).sum()))
