"""Promise 3: what is not recorded, not fetched or damaged raises, and names the block.

Zarr reads whatever it does not find as the fill value, silently; beside each refusal stands what
plain Zarr says of the same files.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from kdrec.client import Recording, RemoteStorage, Transport, open_recording
from kdrec.errors import IncompleteError, IntegrityError, KdrecError, NotFoundError
from kdrec.store import (
    HEADER_KEY,
    ROOT_KEY,
    SEAL_KEY,
    FileDigest,
    LedgerEntry,
    LocalStorage,
    RecordingReader,
)
from kdrec.testing import make_recording

# 20 samples in blocks of 8, 5 views in groups of 2: this one holds views 2..3, samples 8..15.
BLOCK = "block g00001-p00001 (views 2..3, samples 8..15)"
SHARD, ENTRY = "logits/c/1/1/0", "ledger/g00001-p00001.json"
AT = ([9, 12], slice(8, 16))


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("intact") / "r.zarr"
    make_recording(path)
    return path


@pytest.fixture
def path(intact: Path, tmp_path: Path) -> Path:
    """A copy of `intact` that a test may change."""
    return Path(shutil.copytree(intact, tmp_path / "r.zarr"))


def plain_zarr(path: Path, view: int) -> np.ndarray:
    """Logits of the block's samples, as a program that knows nothing of kdrec reads them."""
    logits = zarr.open_group(LocalStore(path, read_only=True), mode="r")["logits"]
    assert isinstance(logits, zarr.Array)
    return np.asarray(logits[view, 8:16])


def assert_refused(
    recording: Recording, kind: type[KdrecError], *said: str, views: tuple[int, ...] = (2, 3)
) -> None:
    """However it is asked for; other blocks are still read."""
    for view in views:
        for indices in (None, *AT):
            with pytest.raises(kind) as refusal:
                recording.read(view, indices)
            for words in (BLOCK, *said):
                assert words in str(refusal.value)
    with pytest.raises(kind):
        recording.read([0, 2], [0, 9])
    assert np.isfinite(recording.read(0)[1]).all()
    assert np.isfinite(recording.read(2, [0, 7])[1]).all()


def test_a_block_not_recorded_yet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "r.zarr"
    make_recording(path, blocks=4)
    assert np.isnan(plain_zarr(path, 2)).all()
    assert_refused(open_recording(path), IncompleteError, "not recorded yet", "4 of 9 blocks")


def test_a_block_that_was_not_fetched_is_named(path: Path) -> None:
    for key in (SHARD, SHARD.replace("logits", "params"), ENTRY):
        (path / key).unlink()
    assert np.isnan(plain_zarr(path, 2)).all()
    assert_refused(open_recording(path), IncompleteError, "not in this copy", "kdrec fetch")


@pytest.mark.parametrize("array", ["logits", "params"])
def test_a_deleted_shard_is_named(path: Path, array: str) -> None:
    shard = SHARD.replace("logits", array)
    (path / shard).unlink()
    if array == "logits":
        assert np.isnan(plain_zarr(path, 2)).all()
    assert_refused(open_recording(path), IntegrityError, shard, "missing")


@pytest.mark.parametrize("array", ["logits", "params"])
def test_a_shard_that_lacks_a_chunk_is_named_though_all_digests_agree(
    path: Path, array: str
) -> None:
    shard = SHARD.replace("logits", array)
    whole = zarr.open_group(LocalStore(path), mode="r+")[array]
    assert isinstance(whole, zarr.Array)
    kept = np.asarray(whole[2, 8:16])
    (path / shard).unlink()
    whole[2, 8:16] = kept  # view 2 of the block, and not view 3
    entry = LedgerEntry.from_bytes((path / ENTRY).read_bytes(), where=ENTRY, remedy="")
    files = entry.files | {shard: FileDigest.of((path / shard).read_bytes())}
    (path / ENTRY).write_bytes(entry.model_copy(update={"files": files}).to_bytes())
    (path / SEAL_KEY).unlink()
    if array == "logits":
        assert np.isfinite(plain_zarr(path, 2)).all()
        assert np.isnan(plain_zarr(path, 3)).all()
    assert_refused(open_recording(path), IntegrityError, shard, "lacks a chunk")


@pytest.mark.parametrize("array", ["samples/label", "samples/points", "proof/logits"])
def test_an_array_without_its_chunks_is_refused_though_all_digests_agree(
    path: Path, array: str
) -> None:
    """Integers have no NaN: a label that is absent would read as class 0."""
    header = LedgerEntry.from_bytes((path / HEADER_KEY).read_bytes(), where=HEADER_KEY, remedy="")
    chunks = {key for key in header.files if key.startswith(f"{array}/c/")}
    files = {key: digest for key, digest in header.files.items() if key not in chunks}
    (path / HEADER_KEY).write_bytes(header.model_copy(update={"files": files}).to_bytes())
    (path / SEAL_KEY).unlink()
    for key in chunks:
        (path / key).unlink()
    labels = zarr.open_group(LocalStore(path, read_only=True), mode="r")["samples/label"]
    if array == "samples/label":
        assert isinstance(labels, zarr.Array)
        assert (np.asarray(labels[:]) == 0).all()
    with pytest.raises(IntegrityError, match=array):
        RecordingReader(LocalStorage(path), where="r.zarr").array(array)


class FolderTransport:
    """A server without a network: answers from a folder as the service does.

    Args:
        folder: The recording it has.
        answers: What it says instead to some requests; None for "nothing there".
    """

    def __init__(self, folder: Path, answers: dict[str, bytes | None] | None = None) -> None:
        self._storage = LocalStorage(folder)
        self._reader = RecordingReader(self._storage, where="served")
        self._answers = answers or {}

    @property
    def header(self) -> str:
        return self._reader.header.digest

    def get(self, path: str) -> bytes:
        if path in self._answers:
            answer = self._answers[path]
            if answer is None:
                raise NotFoundError(f"{path}: nothing there")
            return answer
        if path == "ledger":
            return json.dumps({"blocks": [b.name for b in self._reader.committed()]}).encode()
        return self._storage.read(path.removeprefix("zarr/"))


def over(transport: FolderTransport, copy: Path) -> Recording:
    seam: Transport = transport
    return Recording(RemoteStorage(seam, LocalStorage(copy), header=transport.header), where="url")


def wrong_answers(path: Path) -> Iterator[tuple[str, bytes | None]]:
    shard = (path / SHARD).read_bytes()
    yield "nothing there", None
    yield "an empty file", b""
    yield "zeros", bytes(len(shard))
    yield "NaN", b"\xff" * len(shard)
    yield "half of it", shard[: len(shard) // 2]
    yield "another block's", (path / "logits/c/1/0/0").read_bytes()
    yield "a web page", b"<html>login</html>"


@pytest.mark.parametrize("array", ["logits", "params"])
def test_a_shard_the_server_lacks_is_named_and_never_claimed(
    path: Path, tmp_path: Path, array: str
) -> None:
    shard = SHARD.replace("logits", array)
    for number, (what, answer) in enumerate(wrong_answers(path)):
        copy = tmp_path / f"copy{number}"
        recording = over(FolderTransport(path, {f"zarr/{shard}": answer}), copy)
        with pytest.raises(IntegrityError) as refusal:
            recording.read(2)
        assert BLOCK in str(refusal.value), what
        assert shard in str(refusal.value), what
        assert not (copy / shard).exists(), what
        assert not (copy / ENTRY).exists(), what


@pytest.mark.parametrize(
    ("key", "kind"), [(ENTRY, IncompleteError), (HEADER_KEY, KdrecError), (ROOT_KEY, KdrecError)]
)
def test_a_document_the_server_lacks_is_an_error(
    path: Path, tmp_path: Path, key: str, kind: type[KdrecError]
) -> None:
    transport = FolderTransport(path, {f"zarr/{key}": None})
    if key == ENTRY:
        assert_refused(over(transport, tmp_path / "copy"), kind)
    else:
        with pytest.raises(kind):
            over(transport, tmp_path / "copy")


@pytest.mark.parametrize("read", [Recording.samples, Recording.sample_identity])
def test_samples_the_server_lacks_are_an_error(
    path: Path, tmp_path: Path, read: Callable[[Recording], object]
) -> None:
    lacking: dict[str, bytes | None] = {
        f"zarr/{key}": None
        for key in ("samples/points/c/0/0/0", "samples/digest/c/0/0", "samples/label/c/0")
    }
    recording = over(FolderTransport(path, lacking), tmp_path / "copy")
    with pytest.raises(IntegrityError, match="samples/"):
        read(recording)
