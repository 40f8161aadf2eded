"""The cache: one fetch for all, under a limit, without a server, and never a mixture."""

import multiprocessing
import os
import subprocess
import sys
import threading
from collections import Counter
from multiprocessing.context import ForkContext, SpawnContext
from pathlib import Path

import numpy as np
import pytest

from kdrec.client import FilesTransport, Recording, RemoteStorage, Transport, open_recording
from kdrec.client.ahead import FetchAhead
from kdrec.client.cache import CacheRules
from kdrec.errors import InvalidInputError, StorageError
from kdrec.store import LocalStorage, RecordingReader, verify_bytes
from tests.promises.test_one_reader import everything, serving


class CountingTransport:
    """Counts what is asked for; a file takes a moment, so that others ask meanwhile."""

    def __init__(self, transport: Transport, *, pause: float = 0.0) -> None:
        self._transport = transport
        self._pause = threading.Event(), pause
        self.asked: Counter[str] = Counter()
        self.at_once = 0
        self.most_at_once = 0

    def get(self, path: str) -> bytes:
        self.asked[path] += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self._pause[0].wait(self._pause[1])
        self.at_once -= 1
        return self._transport.get(path)


def storage_over(
    transport: Transport, path: Path, cache: Path, limit: int | None = None
) -> RemoteStorage:
    header = RecordingReader(LocalStorage(path), where="r").header.digest
    rules = CacheRules(limit=limit, locks=cache / ".locks")
    return RemoteStorage(transport, LocalStorage(cache / "r"), header=header, rules=rules)


class FailingFolder(LocalStorage):
    """Fails once, where it is asked whether a file is there."""

    fails = True

    def has(self, key: str) -> bool:
        if self.fails and "/c/0/0" in key:
            self.fails = False
            raise StorageError("the disk is away")
        return super().has(key)


def files_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def shards(asked: Counter[str]) -> dict[str, int]:
    return {key: count for key, count in asked.items() if "/c/" in key and "samples" not in key}


def test_a_document_that_was_noted_in_part_is_noted_again(path: Path, tmp_path: Path) -> None:
    """After an error, as in a process that was forked in the middle of it."""
    local = RecordingReader(LocalStorage(path), where="r")
    transport = FilesTransport(LocalStorage(path), where="r")
    folder = FailingFolder(tmp_path / "r")
    storage = RemoteStorage(transport, folder, header=local.header.digest)
    with pytest.raises(StorageError, match="away"):
        RecordingReader(storage, where="r").read(0)
    assert (RecordingReader(storage, where="r").read(0)[1] == local.read(0)[1]).all()


def test_many_readers_of_a_cache_fetch_each_shard_once(path: Path, tmp_path: Path) -> None:
    transport = CountingTransport(FilesTransport(LocalStorage(path), where="r"), pause=0.01)
    recordings = [
        Recording(storage_over(transport, path, tmp_path), where="url") for _ in range(4)
    ]  # each as of a process of its own: nothing is shared but the folder
    expected = [open_recording(path).read(view)[1] for view in range(5)]
    wrong: list[int] = []

    def read_all(recording: Recording) -> None:
        wrong.extend(view for view in range(5) if (recording.read(view)[1] != expected[view]).any())

    threads = [threading.Thread(target=read_all, args=(recording,)) for recording in recordings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    fetched = shards(transport.asked)
    assert len(fetched) == 18
    assert set(fetched.values()) == {1}
    everything(recordings[0])
    everything_there = RecordingReader(LocalStorage(tmp_path / "r"), where="cache")
    assert len(everything_there.committed()) == 9  # though one fetched logits, another parameters


READ = """
import sys, kdrec
recording = kdrec.open_recording(sys.argv[1], cache=sys.argv[2])
print(sum(float(recording.read(view)[1].sum()) for view in range(5)))
"""


def test_processes_that_start_together_read_the_same(url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", READ, url, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    said = {process.communicate(timeout=120)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(said) == 1


def test_the_limit_holds_on_disk_and_reading_goes_on(path: Path, tmp_path: Path) -> None:
    transport = FilesTransport(LocalStorage(path), where="r")
    header = RecordingReader(LocalStorage(path), where="r").header
    limit = sum(file.size for file in header.files.values()) + 3 * 2**13
    assert limit < files_size(path) + 2**12
    recording = Recording(storage_over(transport, path, tmp_path, limit), where="url")
    recording.samples()
    whole = open_recording(path)
    for view in (0, 4, 2, 0, 3, 1, 4):
        fresh = Recording(storage_over(transport, path, tmp_path, limit), where="url")
        np.testing.assert_array_equal(fresh.read(view)[1], whole.read(view)[1])
        assert files_size(tmp_path / "r") <= limit
        assert_claims_only_what_it_has(tmp_path / "r")
    folders = [folder for folder in (tmp_path / "r").rglob("*") if folder.is_dir()]
    assert all(any(folder.iterdir()) for folder in folders)  # each look at the cache goes by them


def assert_claims_only_what_it_has(folder: Path) -> None:
    storage = LocalStorage(folder)
    if storage.has("zarr.json"):
        *_, report = verify_bytes(RecordingReader(storage, where="cache"), storage)
        assert report.damaged == []


def test_a_limit_below_one_block_says_how_much_is_needed(path: Path, tmp_path: Path) -> None:
    transport = FilesTransport(LocalStorage(path), where="r")
    recording = Recording(storage_over(transport, path, tmp_path, 20_000), where="url")
    with pytest.raises(InvalidInputError, match=r"cache_limit is 20000 bytes.*give at least"):
        everything(recording)


def test_a_cache_that_cannot_be_is_named(url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match=r"cannot be locked .*give another cache"):
        open_recording(url, cache=tmp_path / "file" / "cache")


def test_a_recording_that_was_read_opens_without_its_server(path: Path, tmp_path: Path) -> None:
    with serving(path.parent) as address:
        url = f"{address}/r"
        expected = open_recording(url, cache=tmp_path).read(0)[1]
    offline = open_recording(url, cache=tmp_path)
    np.testing.assert_array_equal(offline.read(0)[1], expected)
    assert offline.progress() == (3, 9)
    with pytest.raises(StorageError, match=r"cannot be reached"):
        offline.read(2)
    with pytest.raises(StorageError):
        open_recording(f"{address}/other", cache=tmp_path)


@pytest.mark.parametrize("left", [0, 17])
def test_shards_torn_by_a_power_cut_are_fetched_again_and_never_read(
    path: Path, url: str, tmp_path: Path, left: int
) -> None:
    """The cache does not wait for the disk: what is left of a shard may be anything."""
    expected = open_recording(url, cache=tmp_path).read(0)[1]
    shards = [file for file in tmp_path.rglob("*") if file.is_file() and "/c/" in file.as_posix()]
    assert shards
    for file in shards:
        os.truncate(file, left)
    np.testing.assert_array_equal(open_recording(url, cache=tmp_path).read(0)[1], expected)
    originals = {file.relative_to(path).as_posix(): file for file in path.rglob("*")}
    for file in shards:
        (original,) = [o for key, o in originals.items() if file.as_posix().endswith("/" + key)]
        assert file.read_bytes() == original.read_bytes()


def test_what_is_fetched_ahead_needs_no_server_later(path: Path, tmp_path: Path) -> None:
    transport = CountingTransport(FilesTransport(LocalStorage(path), where="r"), pause=0.02)
    storage = storage_over(transport, path, tmp_path)
    reader = RecordingReader(storage, where="url")
    ahead = FetchAhead(storage, reader)
    ahead.views([2, 3, 0])
    ahead.wait()
    assert 1 < transport.most_at_once <= 4
    before = shards(transport.asked)
    assert len(before) == 12
    expected = open_recording(path)
    for view in (0, 1, 2, 3):
        np.testing.assert_array_equal(reader.read(view)[1], expected.read(view)[1])
    assert shards(transport.asked) == before


def test_a_failure_while_fetching_ahead_is_an_error_of_the_read_that_needs_it(
    path: Path, tmp_path: Path
) -> None:
    class Broken:
        broken = False

        def get(self, path_: str) -> bytes:
            if self.broken:
                raise StorageError("connection reset")
            return served.get(path_)

    served = FilesTransport(LocalStorage(path), where="r")
    transport = Broken()
    storage = storage_over(transport, path, tmp_path)
    reader = RecordingReader(storage, where="url")
    transport.broken = True
    ahead = FetchAhead(storage, reader)
    ahead.views([0])
    ahead.wait()
    with pytest.raises(StorageError, match="connection reset"):
        reader.read(0)
    transport.broken = False
    ahead.views([0])
    ahead.wait()
    assert np.isfinite(reader.read(0)[1]).all()


def read_in_child(recording: Recording, answers: "multiprocessing.SimpleQueue[float]") -> None:
    answers.put(float(recording.read(3)[1].sum()))


@pytest.mark.parametrize(
    "context",
    [multiprocessing.get_context("fork"), multiprocessing.get_context("spawn")],
    ids=["fork", "spawn"],
)
def test_another_process_reads_on(
    url: str, path: Path, tmp_path: Path, context: ForkContext | SpawnContext
) -> None:
    recording = open_recording(url, cache=tmp_path)
    recording.fetch_ahead([0, 1])
    recording.read(0)
    answers = context.SimpleQueue()
    child = context.Process(target=read_in_child, args=(recording, answers))
    child.start()
    child.join(timeout=60)
    assert child.exitcode == 0
    assert answers.get() == float(open_recording(path).read(3)[1].sum())
    answers.close()


def test_a_program_ends_though_much_is_still_to_fetch(url: str, tmp_path: Path) -> None:
    code = (
        "import sys, kdrec; r = kdrec.open_recording(sys.argv[1], cache=sys.argv[2]);"
        "r.fetch_ahead(range(5))"
    )
    command = [sys.executable, "-W", "error", "-c", code, url, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ)
    assert (done.returncode, done.stderr) == (0, "")
    for folder in tmp_path.iterdir():
        if not folder.name.startswith("."):
            assert_claims_only_what_it_has(folder)
