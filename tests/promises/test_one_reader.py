"""Promise 8: disk and HTTP give the same bytes to the same reader; a copy is a recording."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest

from kdrec.api import ServiceSettings
from kdrec.api.server import BoundService
from kdrec.client import (
    HttpTransport,
    Recording,
    RemoteStorage,
    Transport,
    fetch,
    fetch_summary,
    open_recording,
)
from kdrec.errors import IncompleteError, KdrecError, NotFoundError, StorageError
from kdrec.samples import make_shapes
from kdrec.store import HEADER_KEY, LocalStorage, RecordingReader, verify_bytes
from kdrec.testing import make_plan, make_recording
from tests.programs import contents


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A real service on a free port; gives the address of its recordings."""
    with closing(BoundService(ServiceSettings(root=folder, port=0))) as service:
        thread = threading.Thread(target=service.run)
        thread.start()
        try:
            yield f"{service.url}/v1/recordings"
        finally:
            service.stop()
            thread.join(timeout=30)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, samples = tmp_path_factory.mktemp("served") / "r.zarr", make_shapes(20, num_points=32)
    make_recording(path, samples, plan=make_plan(samples, views=3, block_samples=12))
    return path


@pytest.fixture(scope="module")
def url(path: Path) -> Iterator[str]:
    with serving(path.parent) as address:
        yield f"{address}/r"


class FailingTransport:
    """A connection that breaks at the n-th request, from 0, and stays broken; None: never."""

    def __init__(self, transport: Transport, *, fail_at: int | None = None) -> None:
        self._transport = transport
        self._fail_at = fail_at
        self.requested: list[str] = []

    def get(self, path: str) -> bytes:
        if len(self.requested) == self._fail_at:
            raise StorageError(f"{path} cannot be reached: connection reset")
        self.requested.append(path)
        return self._transport.get(path)


def everything(recording: Recording) -> dict[str, bytes]:
    """All that a student can ask for, as bytes."""
    found: dict[str, bytes] = {}
    for view in range(recording.num_views):
        parameters, logits = recording.read(view)
        found[f"parameters {view}"] = parameters.values_BP.tobytes()
        found[f"logits {view}"] = logits.tobytes()
    shuffled = np.random.Generator(np.random.PCG64(0)).permutation(20)
    parameters, logits = recording.read(shuffled % 3, shuffled)
    found["gathered"] = parameters.values_BP.tobytes() + logits.tobytes()
    samples, proof = recording.samples(), recording.reader.proof()
    assert samples.labels_S is not None
    found["samples"] = samples.points_SND.tobytes() + samples.labels_S.tobytes()
    found["names"] = repr((samples.names, samples.class_names)).encode()
    found["proof"] = proof.logits_MC.tobytes() + proof.fingerprints_MF.tobytes()
    found["identity"] = repr(recording.sample_identity().digest).encode()
    found["manifest"] = recording.manifest.model_dump_json().encode()
    found["seal"] = str(recording.identity).encode()
    recording.check(samples)
    return found


def test_disk_http_cache_and_copy_give_the_same_records(path: Path, tmp_path: Path) -> None:
    expected = everything(open_recording(path))
    with serving(path.parent) as address:
        remote = open_recording(f"{address}/r", cache=tmp_path / "cache")
        assert everything(remote) == expected
        assert everything(remote) == expected
        list(fetch(f"{address}/r", tmp_path / "copy.zarr"))
    assert everything(remote) == expected  # the server is gone: from the cache alone
    assert everything(open_recording(tmp_path / "copy.zarr")) == expected


def test_a_filled_cache_is_a_recording(path: Path, url: str, tmp_path: Path) -> None:
    remote = open_recording(url, cache=tmp_path)
    expected = everything(remote)
    cache = tmp_path / str(remote.identity)
    assert everything(open_recording(cache)) == expected


def test_a_copy_served_again_is_the_same_recording(path: Path, url: str, tmp_path: Path) -> None:
    list(fetch(url, tmp_path / "mirror" / "r.zarr"))
    with serving(tmp_path / "mirror") as address:
        mirrored = open_recording(f"{address}/r", cache=tmp_path / "cache")
        assert everything(mirrored) == everything(open_recording(path))


def test_a_partial_copy_gives_its_views_and_is_completed(
    path: Path, url: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.zarr"
    list(fetch(url, copy, views=range(2, 3)))
    partial, whole = open_recording(copy), open_recording(path)
    assert partial.identity == whole.identity
    np.testing.assert_array_equal(partial.read(2)[1], whole.read(2)[1])
    with pytest.raises(IncompleteError, match=r"block g00000-p00000 .* not in this copy"):
        partial.read(0)
    list(fetch(url, copy))
    assert contents(copy) == contents(path)


def assert_claims_only_what_it_has(copy: Path, whole: Recording) -> None:
    """It opens or is not there yet; what its ledger lists is there, whole, and the recording's."""
    storage = LocalStorage(copy)
    try:
        recording = open_recording(copy)
    except NotFoundError:
        return
    *_, report = verify_bytes(RecordingReader(storage, where="copy"), storage)
    assert report.damaged == []
    reader = recording.reader
    for block in reader.grid:
        view, samples = block.views.start, np.asarray(block.samples)
        if block in reader.committed():
            np.testing.assert_array_equal(
                recording.read(view, samples)[1], whole.read(view, samples)[1]
            )
        else:
            with pytest.raises(IncompleteError, match=block.name):
                recording.read(view, samples)


def read_all(storage: RemoteStorage) -> None:
    """Every file, the header's first, then block after block."""
    reader = RecordingReader(storage, where="url")
    for key in reader.header.files:
        storage.read(key)
    for block in reader.committed():
        for key in reader.entry(block).files:
            storage.read(key)


@pytest.mark.parametrize("each", [5, 9])
def test_broken_off_every_few_requests_a_copy_claims_only_what_it_has_and_is_completed(
    path: Path, url: str, tmp_path: Path, each: int
) -> None:
    whole, copy = open_recording(path), tmp_path / "copy.zarr"
    header = fetch_summary(HttpTransport(url)).header
    for _ in range(40):
        transport = FailingTransport(HttpTransport(url), fail_at=each)
        try:
            read_all(RemoteStorage(transport, LocalStorage(copy), header=header))
            break
        except StorageError:
            assert_claims_only_what_it_has(copy, whole)
    assert contents(copy) == contents(path)


@pytest.fixture(scope="module")
def requests(url: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What an undisturbed fetch asks for, in order."""
    transport = FailingTransport(HttpTransport(url))
    header = fetch_summary(HttpTransport(url)).header
    read_all(RemoteStorage(transport, LocalStorage(tmp_path_factory.mktemp("copy")), header=header))
    return transport.requested


@pytest.mark.parametrize("last", ["zarr.json", "ledger/g00001-p00001.json", "params/c/1/1/0"])
def test_broken_off_at_this_request_a_fetch_completes_the_copy(
    path: Path, url: str, tmp_path: Path, requests: list[str], last: str
) -> None:
    header, copy = fetch_summary(HttpTransport(url)).header, tmp_path / "copy.zarr"
    place = len(requests) - 1 - requests[::-1].index(f"zarr/{last}")
    transport = FailingTransport(HttpTransport(url), fail_at=place)
    with pytest.raises(StorageError, match="connection reset"):
        read_all(RemoteStorage(transport, LocalStorage(copy), header=header))
    assert_claims_only_what_it_has(copy, open_recording(path))
    list(fetch(url, copy))
    assert contents(copy) == contents(path)


def test_a_fetch_stopped_after_any_file_goes_on_where_it_was(
    path: Path, url: str, tmp_path: Path
) -> None:
    whole, copy = open_recording(path), tmp_path / "copy.zarr"
    total = next(iter(fetch(url, copy))).total
    for stop in range(0, total, 9):
        for progress in fetch(url, copy):
            if progress.done > stop:
                break
        assert_claims_only_what_it_has(copy, whole)
    *_, last = fetch(url, copy)
    assert last.done == last.total == total
    assert contents(copy) == contents(path)


def test_a_damaged_copy_is_repaired_by_fetching_again(path: Path, url: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(path, tmp_path / "copy.zarr"))
    for key in ("logits/c/1/1/0", "samples/points/c/0/0/0", "params/c/0/0/0"):
        (copy / key).write_bytes(b"damaged")
    list(fetch(url, copy))
    assert contents(copy) == contents(path)


@pytest.mark.parametrize("key", [HEADER_KEY, "zarr.json", "seal.json", "ledger/g00001-p00001.json"])
def test_a_copy_that_lost_a_document_gets_it_back(
    path: Path, url: str, tmp_path: Path, key: str
) -> None:
    copy = Path(shutil.copytree(path, tmp_path / "copy.zarr"))
    (copy / key).unlink()
    list(fetch(url, copy))
    assert contents(copy) == contents(path)


def test_a_broken_connection_is_an_error_and_a_later_one_goes_on(
    path: Path, url: str, tmp_path: Path
) -> None:
    header = fetch_summary(HttpTransport(url)).header
    transport = FailingTransport(HttpTransport(url), fail_at=6)
    recording = Recording(
        RemoteStorage(transport, LocalStorage(tmp_path / "cache"), header=header), where="url"
    )
    with pytest.raises(KdrecError, match="connection reset"):
        everything(recording)
    again = RemoteStorage(HttpTransport(url), LocalStorage(tmp_path / "cache"), header=header)
    assert everything(Recording(again, where="url")) == everything(open_recording(path))
