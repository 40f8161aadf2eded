"""A recording that takes the name of another in the moment between two looks at the disk."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from kdrec.api.bucket import ServedObjects
from kdrec.api.catalog import Catalog
from kdrec.api.names import RecordingAddress
from kdrec.api.recording import ListedFile, ServedRecording
from kdrec.errors import IntegrityError, StorageError
from kdrec.store import LocalStorage, ObjectStorage

Record = Callable[..., None]
Serve = Callable[..., str]
SHARD, ENTRY = "logits/c/0/1/0", "ledger/g00000-p00001.json"


@pytest.fixture
def other(root: Path, record: Record) -> Path:
    """Another recording, in which a shard has the size that it has in `mn`."""
    folder = root.parent / "other.zarr"
    record(folder, seed=5)
    (folder / SHARD).write_bytes(bytes((root / "mn.zarr" / SHARD).stat().st_size))
    return folder


def replace(root: Path, other: Path) -> None:
    (root / "mn.zarr").rename(root / "before")
    other.rename(root / "mn.zarr")


@pytest.fixture
def asked(root: Path) -> ServedRecording:
    """As a request holds it that has just found it."""
    return Catalog(root).find(RecordingAddress("mn"))


def test_its_shard_is_not_sent_under_the_tag_of_the_old_one(
    root: Path, other: Path, asked: ServedRecording
) -> None:
    file = asked.file(SHARD)
    assert isinstance(file, ListedFile)
    replace(root, other)
    for way in (asked.open, asked.place, asked.check):
        with pytest.raises(StorageError, match="mn was replaced while it was asked for"):
            way(file)


@pytest.mark.parametrize("options", [{}, {"accel_prefix": "/internal/"}])
@pytest.mark.parametrize("known", [True, False])
def test_nor_is_it_said_to_be_unchanged(
    root: Path, other: Path, serve_folder: Serve, options: dict[str, str], known: bool
) -> None:
    """Nothing but this shard is asked for, before and after: nobody looks at the rest."""
    url = f"{serve_folder(root, **options)}/v1/recordings/mn/zarr/{SHARD}"
    before = httpx.get(url).headers["etag"]
    replace(root, other)
    time.sleep(1.1)  # for a second a file that was found may be sent without a look
    answer = httpx.get(url, headers={"If-None-Match": before} if known else {})
    assert answer.status_code == 200
    assert answer.headers["etag"] != before


@pytest.mark.parametrize("key", [ENTRY, "seal.json", "ledger/header.json"])
def test_nor_is_a_document_given_for_one_of_the_old_one(
    root: Path, other: Path, asked: ServedRecording, key: str
) -> None:
    replace(root, other)
    with pytest.raises(StorageError, match="mn was replaced while it was asked for"):
        asked.file(key)


def test_that_a_recording_is_sealed_replaces_nothing(tmp_path: Path, record: Record) -> None:
    record(tmp_path / "mn.zarr", blocks=5)
    asked = Catalog(tmp_path).find(RecordingAddress("mn"))
    file = asked.file(SHARD)
    assert isinstance(file, ListedFile)
    record(tmp_path / "mn.zarr")
    assert (tmp_path / "mn.zarr" / "seal.json").exists()
    asked.open(file)


def test_an_entry_that_is_not_the_sealed_one_is_damage_and_not_given(
    root: Path, asked: ServedRecording
) -> None:
    """Under the identity a cache would keep it for ever."""
    path = root / "mn.zarr" / ENTRY
    path.write_bytes(path.read_bytes().replace(b'"size":', b'"size" '))
    with pytest.raises(IntegrityError, match=f"{ENTRY} of mn does not match its digest"):
        asked.file(ENTRY)


def test_in_a_bucket_too_though_what_was_seen_is_known_for_a_second(
    bucket: str, root: Path, other: Path
) -> None:
    storage = ObjectStorage(bucket)
    upload(root / "mn.zarr", storage)
    asked = ServedRecording(ServedObjects(storage, "", name="mn", clock=lambda: 0.0))
    assert asked.file(ENTRY)
    upload(other, storage)
    with pytest.raises(StorageError, match="mn was replaced while it was asked for"):
        asked.file(ENTRY)


def upload(folder: Path, storage: ObjectStorage) -> None:
    files = LocalStorage(folder)
    for key in files.keys():  # noqa: SIM118 - a storage is no mapping
        storage.write(key, files.read(key))
