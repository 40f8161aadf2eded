"""A recording that grows while it is read: ledgers that wait, mirrors, students."""

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from kdrec.api import ServiceSettings
from kdrec.api.server import BoundService
from kdrec.api.waiting import SharedLooks
from kdrec.client import (
    HttpTransport,
    Recording,
    RemoteStorage,
    fetch,
    fetch_summary,
    open_recording,
)
from kdrec.client.following import LedgerWatch
from kdrec.client.transport import TaggedBytes
from kdrec.errors import (
    ConflictError,
    IncompleteError,
    InvalidInputError,
    NotFoundError,
    StorageError,
)
from kdrec.store import LocalStorage
from tests.programs import contents

Record = Callable[..., None]
Serve = Callable[..., str]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def tagged(url: str, tag: str, wait: float = 30) -> httpx.Response:
    return httpx.get(f"{url}?wait={wait}", headers={"If-None-Match": tag}, timeout=60)


@pytest.fixture
def ledger(tmp_path: Path, record: Record, serve_folder: Serve) -> str:
    record(tmp_path / "run.zarr", blocks=2)
    return f"{serve_folder(tmp_path)}/v1/recordings/run/ledger"


def test_a_ledger_answers_when_it_changes_from_any_worker(
    tmp_path: Path, record: Record, ledger: str, serve_folder: Serve, pool: ThreadPoolExecutor
) -> None:
    other = f"{serve_folder(tmp_path)}/v1/recordings/run/ledger"
    tag = httpx.get(ledger).headers["etag"]
    assert httpx.get(other).headers["etag"] == tag
    waiting = [pool.submit(tagged, url, tag) for url in (ledger, other, ledger)]
    record(tmp_path / "run.zarr", blocks=3)
    answers = [answer.result(30) for answer in waiting]
    assert {answer.status_code for answer in answers} == {200}
    assert {len(answer.json()["blocks"]) for answer in answers} == {3}
    assert len({answer.headers["etag"] for answer in answers} | {tag}) == 2


def test_what_has_changed_already_is_answered_at_once(ledger: str) -> None:
    assert httpx.get(f"{ledger}?wait=60").status_code == 200
    assert tagged(ledger, '"other"', wait=60).status_code == 200


def test_without_a_change_the_answer_comes_in_the_end(ledger: str) -> None:
    answer = tagged(ledger, httpx.get(ledger).headers["etag"], wait=0.1)
    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "x", ""])
def test_a_wait_that_cannot_be_is_refused(ledger: str, wait: str) -> None:
    answer = httpx.get(f"{ledger}?wait={wait}")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("wait: ")


def test_who_waits_is_told_that_the_recording_is_gone(
    tmp_path: Path, ledger: str, pool: ThreadPoolExecutor
) -> None:
    tag = httpx.get(ledger).headers["etag"]
    waiting = pool.submit(tagged, ledger, tag)
    (tmp_path / "run.zarr").rename(tmp_path / "gone")
    assert waiting.result(30).status_code == 404


def test_looks_at_the_same_thing_are_shared_and_errors_too() -> None:
    seen: list[str] = []

    def look() -> int:
        seen.append("look")
        return len(seen)

    def fail() -> int:
        raise StorageError("gone")

    async def ask() -> None:
        looks: SharedLooks[int] = SharedLooks(0.01)
        assert await asyncio.gather(*(looks.next("a", look) for _ in range(50))) == [1] * 50
        assert await looks.next("a", look) == 2
        failed = await asyncio.gather(
            *(looks.next("b", fail) for _ in range(3)), return_exceptions=True
        )
        assert [type(error) for error in failed] == [StorageError] * 3
        leaving = asyncio.create_task(looks.next("a", look))
        staying = asyncio.create_task(looks.next("a", look))
        await asyncio.sleep(0)
        leaving.cancel()
        assert await staying == 3

    asyncio.run(ask())


def test_a_mirror_follows_until_the_seal(
    tmp_path: Path, record: Record, serve_folder: Serve, pool: ThreadPoolExecutor
) -> None:
    folder, copy = tmp_path / "served" / "run.zarr", tmp_path / "copy.zarr"
    record(folder, blocks=1)
    url = f"{serve_folder(folder.parent)}/v1/recordings/run"
    first = threading.Event()

    def mirror() -> int:
        seen = []
        for progress in fetch(url, copy, follow=True):
            seen.append(progress)
            first.set()
        return seen[-1].done

    mirroring = pool.submit(mirror)
    assert first.wait(30)
    for blocks in (2, 4, 6):
        assert not mirroring.done()
        record(folder, blocks=blocks)
    assert mirroring.result(60) > 0
    assert contents(copy) == contents(folder)
    assert open_recording(copy).progress() == (6, 6)


def test_a_mirror_of_some_views_is_done_when_they_are_there(
    tmp_path: Path, record: Record, serve_folder: Serve
) -> None:
    folder = tmp_path / "served" / "run.zarr"
    record(folder, blocks=3)
    url = f"{serve_folder(folder.parent)}/v1/recordings/run"
    copy = tmp_path / "copy.zarr"
    *_, last = fetch(url, copy, views=range(2), follow=True)
    assert last.done == last.total
    assert open_recording(copy).read(1)[1].shape == (10, 5)


def test_a_mirror_does_not_go_on_with_another_recording(
    tmp_path: Path, record: Record, serve_folder: Serve, pool: ThreadPoolExecutor
) -> None:
    folder = tmp_path / "served" / "run.zarr"
    record(folder, blocks=1)
    url = f"{serve_folder(folder.parent)}/v1/recordings/run"
    first, copy = threading.Event(), tmp_path / "copy.zarr"

    def mirror() -> None:
        for progress in fetch(url, copy, follow=True):
            if progress.done == progress.total:
                first.set()

    mirroring = pool.submit(mirror)
    assert first.wait(30)
    record(tmp_path / "other.zarr", seed=5)
    folder.rename(tmp_path / "before")
    (tmp_path / "other.zarr").rename(folder)
    with pytest.raises((ConflictError, NotFoundError)):  # the latter between the two renames
        mirroring.result(60)
    before = contents(tmp_path / "before")
    assert contents(copy).items() <= before.items()
    assert open_recording(copy).progress() == (1, 6)


@pytest.mark.parametrize("key", ["seal.json", "ledger/g00001-p00000.json"])
def test_nothing_of_a_recording_that_took_the_name_gets_into_the_copy(
    tmp_path: Path, record: Record, serve_folder: Serve, key: str
) -> None:
    folder, copy = tmp_path / "served" / "run.zarr", tmp_path / "copy.zarr"
    record(folder, blocks=1)
    url = f"{serve_folder(folder.parent)}/v1/recordings/run"
    remote = HttpTransport(url)
    storage = RemoteStorage(remote, LocalStorage(copy), header=fetch_summary(remote).header)
    assert storage.read("ledger/header.json")
    shutil.rmtree(folder)
    record(folder, seed=5)
    with pytest.raises(ConflictError, match="another recording"):
        storage.read(key)
    assert not (copy / key).exists()


@pytest.mark.parametrize("remote", [True, False])
def test_a_student_reads_what_is_there_and_waits_for_the_rest(
    tmp_path: Path, record: Record, serve_folder: Serve, pool: ThreadPoolExecutor, remote: bool
) -> None:
    folder = tmp_path / "served" / "run.zarr"
    record(folder, blocks=3)
    url = f"{serve_folder(folder.parent)}/v1/recordings/run"
    where = url if remote else folder
    student = open_recording(where, cache=tmp_path / "cache", wait=60)
    assert student.read(0)[1].shape == (10, 5)
    waiting = pool.submit(student.read, [3, 3, 2], [4, 0, 9])
    record(folder)
    expected = open_recording(folder).read([3, 3, 2], [4, 0, 9])[1]
    np.testing.assert_array_equal(waiting.result(60)[1], expected)


def test_who_waits_too_long_is_told_what_is_missing(tmp_path: Path, record: Record) -> None:
    record(tmp_path / "run.zarr", blocks=3)
    student = open_recording(tmp_path / "run.zarr", wait=0.01)
    with pytest.raises(IncompleteError, match=r"g00001-p00000 .* is not recorded yet"):
        student.read(2)
    student.wait_for(1, timeout=0)
    with pytest.raises(InvalidInputError, match="view must be from 0 to 3, got 4"):
        student.wait_for(4)


def test_who_waits_for_a_server_waits_no_longer_than_was_said(
    tmp_path: Path, record: Record, serve_folder: Serve
) -> None:
    asked: list[str] = []

    class Noting(HttpTransport):
        def get_unless(self, path: str, *, tag: str) -> TaggedBytes | None:
            asked.append(path)
            return super().get_unless(path, tag=tag)

    record(tmp_path / "run.zarr", blocks=3)
    url = f"{serve_folder(tmp_path)}/v1/recordings/run"
    remote = Noting(url)
    storage = RemoteStorage(
        remote, LocalStorage(tmp_path / "cache"), header=fetch_summary(remote).header
    )
    student = Recording(storage, where=url, remote=True, watch=LedgerWatch(remote), wait=0.5)
    with pytest.raises(IncompleteError, match=r"g00001-p00000 .* is not recorded yet"):
        student.read(2)
    assert asked
    assert all(float(path.removeprefix("ledger?wait=")) <= 0.5 for path in asked)


def test_a_service_that_stops_does_not_keep_those_who_wait(
    tmp_path: Path, record: Record, serve_folder: Serve, pool: ThreadPoolExecutor
) -> None:
    record(tmp_path / "run.zarr", blocks=2)
    ready = threading.Event()
    service = BoundService(ServiceSettings(root=tmp_path, port=0), on_ready=lambda _: ready.set())
    running = pool.submit(service.run)
    assert ready.wait(30)
    url = f"{service.url}/v1/recordings/run/ledger"
    waiting = pool.submit(tagged, url, httpx.get(url).headers["etag"], 60)
    time.sleep(0.3)  # so that it waits; the test holds as well if it does not yet
    service.stop()
    assert waiting.result(10).status_code == 304
    running.result(10)
    service.close()


class Away:
    """A storage that cannot be reached for some calls."""

    def __init__(self, storage: LocalStorage) -> None:
        self._storage = storage
        self.calls = 0

    def read(self, key: str) -> bytes:
        return self._storage.read(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        self.calls -= 1
        if self.calls >= 0:
            raise StorageError("connection refused")
        return self._storage.keys(prefix)


def test_a_server_that_is_away_for_a_while_is_waited_for(tmp_path: Path, record: Record) -> None:
    record(tmp_path / "run.zarr", blocks=3)
    storage, said = Away(LocalStorage(tmp_path / "run.zarr")), list[str]()

    def on_wait(message: str) -> None:
        said.append(message)
        if "connection refused" in message:
            record(tmp_path / "run.zarr")

    student = Recording(storage, where="run", wait=60, on_wait=on_wait)
    storage.calls = 1
    student.await_views([2])
    assert said == ["connection refused; trying again for 60 seconds at most"]
    assert student.read(2)[1].shape == (10, 5)
    storage.calls = 1
    impatient = Recording(storage, where="run")
    with pytest.raises(StorageError, match="connection refused"):
        impatient.progress()
