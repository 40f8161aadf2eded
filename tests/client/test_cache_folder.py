"""What becomes of a cache's folder: killed, sealed, replaced, without a server, of any encoding."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kdrec.client import FilesTransport, HttpTransport, Recording, RemoteStorage, open_recording
from kdrec.client.cache import CacheRules
from kdrec.errors import ConflictError, StorageError
from kdrec.samples import make_shapes
from kdrec.store import (
    BlockGrid,
    EncodingPlan,
    LocalStorage,
    RecordingReader,
    RecordingWriter,
)
from kdrec.testing import make_logits, make_plan, make_recording
from tests.client.test_cache import files_size
from tests.programs import contents
from tests.promises.test_one_reader import serving
from tests.proxy import between

BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "r.zarr"
    make_recording(path)
    return path


@pytest.fixture(scope="module")
def url(path: Path) -> Iterator[str]:
    with serving(path.parent) as address:
        yield f"{address}/r"


def test_what_killed_processes_left_half_written_goes_with_the_next_opening(
    url: str, tmp_path: Path
) -> None:
    identity = open_recording(url, cache=tmp_path).identity
    assert identity is not None
    left = [tmp_path / identity / folder / ".0.4711-12.tmp" for folder in ("logits/c/0/0", "")]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(100_000))
    expected = open_recording(url, cache=tmp_path).read(0)[1]
    assert not any(file.exists() for file in left)
    assert np.isfinite(expected).all()


def test_a_cache_that_cannot_be_is_a_storage_error(url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for cache in (tmp_path / "file", "/proc/kdrec"):
        with pytest.raises(StorageError, match=r"file|proc"):
            open_recording(url, cache=cache).read(0)


def test_behind_a_gateway_that_lost_its_server_a_filled_cache_opens(
    url: str, path: Path, tmp_path: Path
) -> None:
    gone = threading.Event()
    with between(url, lambda e: BAD_GATEWAY if gone.is_set() else e.answer) as address:
        expected = open_recording(address, cache=tmp_path).read(0)[1]
        gone.set()
        np.testing.assert_array_equal(open_recording(address, cache=tmp_path).read(0)[1], expected)


def test_what_was_fetched_while_it_was_recorded_is_not_fetched_again(tmp_path: Path) -> None:
    served, cache = tmp_path / "served" / "run.zarr", tmp_path / "cache"
    make_recording(served, blocks=6)
    with serving(served.parent) as address:
        running = open_recording(f"{address}/run", cache=cache)
        running.read(0)
        make_recording(served)
        sealed = open_recording(f"{address}/run", cache=cache)
        assert sealed.identity is not None
        kept = cache / sealed.identity / "logits" / "c" / "0"
        before = {file: file.stat().st_ino for file in kept.rglob("*") if file.is_file()}
        assert len(before) == 3
        assert not list(cache.glob("running-*"))
        whole = open_recording(served)
        for view in range(5):
            np.testing.assert_array_equal(sealed.read(view)[1], whole.read(view)[1])
        np.testing.assert_array_equal(running.read(3)[1], whole.read(3)[1])  # goes on elsewhere
        assert {file: file.stat().st_ino for file in before} == before


def record_otherwise(folder: Path) -> None:
    """The same plan on a device that rounds differently where no proof is kept."""
    make_recording(folder, blocks=0)
    writer = RecordingWriter(LocalStorage(folder), where=str(folder))
    manifest = writer.prepare()
    assert manifest is not None
    writer.resume(manifest)
    plan = manifest.plan
    logits_VSC = make_logits(plan, manifest.classes.num_teacher) + np.float32(0.25)
    for block in BlockGrid.of(plan):
        drawn = [plan.augmentation.draw(plan.seed, views=v, samples_B=block.samples)
                 for v in block.views]  # fmt: skip
        rows = np.ix_(block.views, block.samples)
        writer.commit(block, np.stack([d.values_BP for d in drawn]), logits_VSC[rows], correct=None)
    writer.seal()


def test_what_was_kept_of_another_recording_with_the_same_beginning_is_not_believed(
    tmp_path: Path,
) -> None:
    served, cache = tmp_path / "served" / "run.zarr", tmp_path / "cache"
    make_recording(served, blocks=6)
    with serving(served.parent) as address:
        open_recording(f"{address}/run", cache=cache).read(0)
    served.rename(tmp_path / "before")
    record_otherwise(served)
    with serving(served.parent) as address:
        sealed, whole = open_recording(f"{address}/run", cache=cache), open_recording(served)
        for view in range(5):
            np.testing.assert_array_equal(sealed.read(view)[1], whole.read(view)[1])
    folder, original = contents(cache / str(sealed.identity)), contents(served)
    assert folder.items() <= original.items()
    assert len([key for key in folder if key.startswith("ledger/g")]) == 9


def test_another_recording_of_the_same_plan_under_the_name_is_a_conflict(tmp_path: Path) -> None:
    served = tmp_path / "served" / "run.zarr"
    make_recording(served)
    with serving(served.parent) as address:
        recording = open_recording(f"{address}/run", cache=tmp_path / "cache")
        recording.read(0)
        served.rename(tmp_path / "before")
        record_otherwise(served)
        with pytest.raises(ConflictError, match="replaced under its name"):
            recording.read(4)


@pytest.mark.parametrize("over_http", [True, False])
def test_a_shard_of_a_recording_that_took_the_name_is_a_conflict(
    tmp_path: Path, over_http: bool
) -> None:
    served = tmp_path / "served" / "run.zarr"
    samples = make_shapes(20, seed=0, num_points=32)
    make_recording(served, samples)
    with serving(served.parent) as address:
        files = LocalStorage(served)
        transport = (
            HttpTransport(f"{address}/run") if over_http else FilesTransport(files, where="run")
        )
        header = RecordingReader(files, where="run").header.digest
        storage = RemoteStorage(transport, LocalStorage(tmp_path / "copy"), header=header)
        recording = Recording(storage, where="run")
        recording.read(0)
        for block in recording.reader.grid:
            recording.reader.entry(block)
        served.rename(tmp_path / "before")
        make_recording(served, samples, plan=make_plan(samples, seed=5))
        with pytest.raises(ConflictError, match="replaced under its name"):
            recording.read(4)


def test_all_arrays_of_a_sparse_recording_go_under_a_limit(tmp_path: Path) -> None:
    samples = make_shapes(20, seed=0, num_points=16)
    encoding = EncodingPlan(name="topk", max_error=0.05, kept=64)
    plan = make_plan(samples, views=9, group=1, block_samples=20, encoding=encoding)
    make_recording(tmp_path / "r.zarr", samples, plan=plan, num_classes=300)
    files = LocalStorage(tmp_path / "r.zarr")
    header = RecordingReader(files, where="r").header
    static = sum(file.size for file in header.files.values()) + files.size("seal.json")
    limit = static + (files_size(files.root) - static) * 4 // 9
    transport = FilesTransport(files, where="r")
    rules = CacheRules(limit=limit, locks=tmp_path / "locks")
    cache = LocalStorage(tmp_path / "cache")
    storage = RemoteStorage(transport, cache, header=header.digest, rules=rules)
    recording = Recording(storage, where="url")
    recording.check(recording.samples())  # reads all that is of no block
    whole = open_recording(tmp_path / "r.zarr")
    for view in range(9):
        np.testing.assert_array_equal(recording.read(view)[1], whole.read(view)[1])
        assert files_size(cache.root) <= limit
