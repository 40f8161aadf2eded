"""Recordings in a bucket of a real S3 server: what a folder promises holds there."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kdrec.errors import (
    ConflictError,
    ErrorKind,
    IncompleteError,
    IntegrityError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from kdrec.store import (
    LeaseTimes,
    LocalStorage,
    ObjectStorage,
    RecordingReader,
    open_place,
    verify_bytes,
)
from kdrec.testing import FaultyStorage, ProcessKilled, make_recording
from tests.buckets import S3Server
from tests.programs import contents

SHARD, ENTRY = "logits/c/1/1/0", "ledger/g00001-p00001.json"
BLOCK = r"block g00001-p00001 \(views 2\.\.3, samples 8\.\.15\)"


@pytest.fixture
def storage(bucket: str) -> ObjectStorage:
    return ObjectStorage(f"{bucket}/team/r.zarr")


@pytest.fixture
def recorded(storage: ObjectStorage) -> ObjectStorage:
    make_recording(Path("unused"), storage=storage)
    return storage


def objects(storage: ObjectStorage) -> dict[str, bytes]:
    return {key: storage.read(key) for key in storage.keys("")}


def reader(storage: ObjectStorage) -> RecordingReader:
    return RecordingReader(storage, where=storage.url)


def test_a_recording_in_a_bucket_has_the_bytes_of_one_in_a_folder(
    recorded: ObjectStorage, tmp_path: Path
) -> None:
    logits = make_recording(tmp_path / "r.zarr")
    assert objects(recorded) == contents(tmp_path / "r.zarr")
    np.testing.assert_array_equal(reader(recorded).read(3)[1], logits[3])


@pytest.mark.parametrize("stop", [0, 1, 21, 30, 51, 52])
def test_killed_or_refused_at_a_write_it_ends_in_the_same_bytes(
    bucket: str, tmp_path: Path, stop: int
) -> None:
    make_recording(tmp_path / "r.zarr")
    storage = ObjectStorage(f"{bucket}/r.zarr")
    fault = {"kill_at": stop} if stop % 2 else {"fail_at": stop}
    with pytest.raises((ProcessKilled, StorageError)):
        make_recording(Path("unused"), storage=FaultyStorage(storage, **fault))
    make_recording(Path("unused"), storage=storage)
    assert objects(storage) == contents(tmp_path / "r.zarr")


def test_a_missing_shard_is_an_error_and_never_a_fill_value(recorded: ObjectStorage) -> None:
    recorded.delete(SHARD)
    with pytest.raises(IntegrityError, match=rf"{BLOCK}.*{SHARD} is missing"):
        reader(recorded).read(2)
    assert np.isfinite(reader(recorded).read(2, [0, 7])[1]).all()


def test_a_missing_block_is_named(recorded: ObjectStorage) -> None:
    recorded.delete(ENTRY)
    with pytest.raises(IncompleteError, match=BLOCK):
        reader(recorded).read(2)


def test_one_changed_byte_anywhere_is_found(recorded: ObjectStorage) -> None:
    *_, report = verify_bytes(reader(recorded), recorded)
    assert (report.damaged, report.absent, report.unlisted) == ([], [], [])
    for key in (SHARD, ENTRY, "samples/points/c/0/0/0", "logits/zarr.json"):
        intact = recorded.read(key)
        recorded.write(key, intact[:-2] + bytes([intact[-2] ^ 1]) + intact[-1:])
        *_, report = verify_bytes(reader(recorded), recorded)
        assert len(report.damaged) >= 1, key
        recorded.write(key, intact)


def test_an_unreachable_store_is_never_absence(
    recorded: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"team/r\.zarr/zarr\.json: .*check the address"):
        ObjectStorage(recorded.url).read("zarr.json")


def test_what_is_not_there_is_not_found(storage: ObjectStorage) -> None:
    with pytest.raises(NotFoundError, match=r"no object s3://.*/team/r\.zarr/nothing"):
        storage.read("nothing")
    with pytest.raises(NotFoundError):
        storage.size("nothing")
    storage.delete("nothing")
    assert list(storage.keys()) == []


def test_a_bucket_that_is_not_there_is_an_error_of_the_store(bucket: str) -> None:
    with pytest.raises(StorageError):
        list(ObjectStorage("s3://no-such-bucket-anywhere/r.zarr").keys())
    with pytest.raises(StorageError):
        ObjectStorage("s3://no-such-bucket-anywhere/r.zarr").write("a", b"1")


@pytest.mark.parametrize("key", ["../other.zarr/zarr.json", "a//b", "", "a/../../b", "a\\b", "."])
def test_a_key_that_leads_elsewhere_is_refused(storage: ObjectStorage, key: str) -> None:
    for use in (storage.read, storage.size, storage.delete):
        with pytest.raises(IntegrityError, match="no key of a recording"):
            use(key)
    with pytest.raises(IntegrityError):
        storage.write(key, b"1")


@pytest.mark.parametrize("url", ["s3://", "s3://bucket//r.zarr", "s3://bucket/../r.zarr"])
def test_an_address_that_is_none_says_what_one_is(url: str) -> None:
    with pytest.raises(InvalidInputError, match=r"give s3://BUCKET/NAME\.zarr"):
        ObjectStorage(url)


def test_a_store_that_lacks_its_settings_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(InvalidInputError, match=r"az://.*Account must be specified"):
        ObjectStorage("az://container/r.zarr")


def test_sizes_and_keys_below_a_folder(recorded: ObjectStorage) -> None:
    assert recorded.size(SHARD) == len(recorded.read(SHARD))
    assert [key for key in recorded.keys("ledger/") if key == ENTRY] == [ENTRY]
    assert all(key.startswith("ledger/") for key in recorded.keys("ledger/"))


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("obstore", "obstore.store", "obstore.exceptions"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InvalidInputError, match=r"pip install kdrec\[objects\]") as refusal:
        ObjectStorage("s3://bucket/r.zarr")
    assert refusal.value.kind == ErrorKind.MISSING_DEPENDENCY


def test_a_storage_can_be_sent_to_another_process(recorded: ObjectStorage) -> None:
    copy = pickle.loads(pickle.dumps(recorded))
    assert objects(copy) == objects(recorded)


FORKED = """
import os, sys
from kdrec.errors import StorageError
from kdrec.store import ObjectStorage, RecordingReader
storage = ObjectStorage(sys.argv[1])
before = RecordingReader(storage, where="here").read(1)[1]
child = os.fork()
if child == 0:
    same = (RecordingReader(storage, where="there").read(1)[1] == before).all()
    same &= (RecordingReader(ObjectStorage(sys.argv[1]), where="new").read(1)[1] == before).all()
    try:
        storage.write("x", b"1")
    except StorageError as error:
        same &= "spawn" in str(error)
    os._exit(0 if same else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_reads_on(recorded: ObjectStorage) -> None:
    """obstore's own calls would wait for ever there."""
    command = [sys.executable, "-W", "error", "-c", FORKED, recorded.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_one_recorder_at_a_time(bucket: str) -> None:
    times = LeaseTimes(poll=0.01)
    first, second = (ObjectStorage(f"{bucket}/r.zarr", times=times) for _ in range(2))

    def refuse() -> None:
        raise ConflictError("another records here")

    with first.lock(while_waiting=refuse) as holder:
        assert not holder.took_over
        first.write("a", b"1")
        with pytest.raises(ConflictError, match="another"), second.lock(while_waiting=refuse):
            pass
        assert list(first.keys()) == ["a"]  # the lock lies beside, not in it
    with second.lock(while_waiting=refuse) as holder:
        assert not holder.took_over
    assert list(ObjectStorage(bucket).keys()) == ["r.zarr/a"]


def test_a_dead_recorders_lock_is_taken_over(bucket: str) -> None:
    times = LeaseTimes(seconds=1, poll=0.05)
    ObjectStorage(bucket).write(".r.zarr.lock", b"of a process that was killed\n")
    with ObjectStorage(f"{bucket}/r.zarr", times=times).lock(while_waiting=lambda: None) as holder:
        assert holder.took_over


def write_on_and_on(storage: ObjectStorage) -> None:
    for number in range(10_000):
        storage.write(f"file{number}", b"1")


def test_a_recorder_that_lost_its_lock_writes_no_more(bucket: str) -> None:
    times = LeaseTimes(seconds=1, poll=0.05)
    storage = ObjectStorage(f"{bucket}/r.zarr", times=times)
    with storage.lock(while_waiting=lambda: None):
        ObjectStorage(bucket).write(".r.zarr.lock", b"another's\n")
        with pytest.raises(ConflictError, match="lost the lock"):
            write_on_and_on(storage)
    assert ObjectStorage(bucket).read(".r.zarr.lock") == b"another's\n"


def test_a_whole_bucket_is_no_name(bucket: str) -> None:
    with (
        pytest.raises(InvalidInputError, match="is a whole bucket"),
        ObjectStorage(bucket).lock(while_waiting=lambda: None),
    ):
        pass


def test_a_place_is_a_folder_or_a_bucket(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(open_place(f"{bucket}/r.zarr"), ObjectStorage)
    assert isinstance(open_place(tmp_path), LocalStorage)
    for address in ("http://host/v1/recordings/r", "file:///tmp/r.zarr"):
        with pytest.raises(InvalidInputError, match="nothing can be written there; give a folder"):
            open_place(address)
    monkeypatch.setenv("KDREC_LEASE_SECONDS", "soon")
    with pytest.raises(InvalidInputError, match="KDREC_LEASE_SECONDS must be seconds from 1"):
        open_place(f"{bucket}/r.zarr")


def test_the_server_leaves_no_environment_behind(s3: S3Server) -> None:
    assert os.environ.get("AWS_ENDPOINT") != s3.url
