import asyncio
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdrec.api.catalog import Catalog
from kdrec.api.names import RecordingAddress
from kdrec.api.recording import ListedFile, ServedRecording
from kdrec.errors import ErrorKind, IncompleteError, IntegrityError, NotFoundError, StorageError
from kdrec.store import LocalStorage, RecordingReader, Seal

Ask = Callable[..., httpx.Response]
Record = Callable[..., None]
SHARD = "logits/c/0/1/0"
URL = f"/v1/recordings/mn/zarr/{SHARD}"


@pytest.fixture
def shard(finished: Path) -> bytes:
    return (finished / "mn.zarr" / SHARD).read_bytes()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_every_file_of_the_recording_is_given_untouched(finished: Path, finished_url: str) -> None:
    storage = LocalStorage(finished / "mn.zarr")
    keys = list(storage.keys())
    assert len(keys) > 20
    with httpx.Client(base_url=f"{finished_url}/v1/recordings/mn/zarr/") as client:
        for key in keys:
            answer = client.get(key)
            assert answer.status_code == 200, key
            assert answer.content == storage.read(key), key
            assert answer.headers["etag"] == f'"{sha256(answer.content)}"', key
            assert answer.headers["accept-ranges"] == "bytes"
            assert answer.headers["cache-control"] == "no-cache"
            assert "content-encoding" not in answer.headers
            kind = "json" if key.endswith(".json") else "octet-stream"
            assert answer.headers["content-type"] == f"application/{kind}"


@pytest.mark.parametrize("key", [SHARD, "zarr.json", "ledger/g00000-p00000.json", "seal.json"])
def test_head_tells_everything_but_the_bytes(finished_url: str, key: str) -> None:
    url = f"{finished_url}/v1/recordings/mn/zarr/{key}"
    whole, head = httpx.get(url), httpx.head(url, headers={"Range": "bytes=0-1"})
    assert (head.status_code, head.content) == (200, b"")
    changing = {"date", "x-request-id"}
    assert {k: v for k, v in head.headers.items() if k not in changing} == {
        k: v for k, v in whole.headers.items() if k not in changing
    }
    assert int(head.headers["content-length"]) == len(whole.content)


@pytest.mark.parametrize("key", [SHARD, "zarr.json", "ledger/header.json", "seal.json"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_client_has_is_not_sent_again(
    finished: Path, ask: Ask, key: str, method: str
) -> None:
    url = f"/v1/recordings/mn/zarr/{key}"
    tag = ask(finished, url).headers["etag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = ask(finished, url, method=method, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
        assert answer.headers["cache-control"] == "no-cache"
    answer = ask(finished, url, method=method, headers={"If-None-Match": '"x"'})
    assert answer.status_code == 200


def test_a_tag_that_must_match_and_does_not_is_refused(finished: Path, ask: Ask) -> None:
    tag = ask(finished, URL).headers["etag"]
    for wanted, status in ((tag, 200), ("*", 200), ('"x"', 412), (f"W/{tag}", 412)):
        assert ask(finished, URL, headers={"If-Match": wanted}).status_code == status


@pytest.mark.parametrize(
    ("header", "cut"),
    [
        ("bytes=0-9", slice(0, 10)),
        ("bytes=7-", slice(7, None)),
        ("bytes=-20", slice(-20, None)),
        ("bytes=3-99999999", slice(3, None)),
    ],
)
def test_a_range_gives_those_bytes(
    finished_url: str, shard: bytes, header: str, cut: slice
) -> None:
    answer = httpx.get(f"{finished_url}{URL}", headers={"Range": header})
    first, last, _ = cut.indices(len(shard))
    assert answer.status_code == 206
    assert answer.content == shard[cut]
    assert answer.headers["content-range"] == f"bytes {first}-{last - 1}/{len(shard)}"
    assert int(answer.headers["content-length"]) == last - first
    assert answer.headers["etag"] == f'"{sha256(shard)}"'


@pytest.mark.parametrize("key", ["ledger/header.json", "seal.json", "zarr.json"])
def test_documents_have_ranges_too(finished: Path, ask: Ask, key: str) -> None:
    data = (finished / "mn.zarr" / key).read_bytes()
    answer = ask(finished, f"/v1/recordings/mn/zarr/{key}", headers={"Range": "bytes=2-8"})
    assert (answer.status_code, answer.content) == (206, data[2:9])


@pytest.mark.parametrize("header", ["bytes=0-1,4-5", "bytes=5-4", "rows=0-1", "bytes=x"])
def test_ranges_that_may_be_ignored_are(
    finished: Path, ask: Ask, shard: bytes, header: str
) -> None:
    answer = ask(finished, URL, headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, shard)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize("header", ["bytes=99999999-", "bytes=-0"])
def test_a_range_beyond_the_end_cannot_be_satisfied(
    finished_url: str, shard: bytes, header: str
) -> None:
    answer = httpx.get(f"{finished_url}{URL}", headers={"Range": header})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(shard)}"
    assert answer.json()["kind"] == ErrorKind.INVALID_INPUT
    assert f"0 to {len(shard) - 1}" in answer.json()["detail"]


def test_if_range_gives_the_whole_when_the_bytes_are_others(
    finished: Path, ask: Ask, shard: bytes
) -> None:
    tag = f'"{sha256(shard)}"'
    for condition, status in (
        (tag, 206),
        ('"x"', 200),
        (f"W/{tag}", 200),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 200),
    ):
        headers = {"Range": "bytes=0-3", "If-Range": condition}
        answer = ask(finished, URL, headers=headers)
        assert (answer.status_code, answer.content) == (
            status,
            shard[:4] if status == 206 else shard,
        )


def test_not_modified_comes_before_a_range(finished: Path, ask: Ask, shard: bytes) -> None:
    headers = {"Range": "bytes=99999999-", "If-None-Match": f'"{sha256(shard)}"'}
    assert ask(finished, URL, headers=headers).status_code == 304


def test_under_its_identity_a_file_may_be_kept_for_ever(finished: Path, ask: Ask) -> None:
    data = (finished / "mn.zarr" / "seal.json").read_bytes()
    identity = Seal.from_bytes(data, where="", remedy="").digest
    for key in (SHARD, "zarr.json", "seal.json"):
        answer = ask(finished, f"/v1/recordings/mn@{identity}/zarr/{key}")
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.content == (finished / "mn.zarr" / key).read_bytes()
    missing = ask(finished, f"/v1/recordings/mn@{identity}/zarr/nothing")
    assert missing.headers["cache-control"] == "no-store"
    other = ask(finished, f"/v1/recordings/mn@{'0' * 64}/zarr/{SHARD}")
    assert other.status_code == 404
    assert identity in other.json()["detail"]
    assert "0" * 64 in other.json()["detail"]


@pytest.mark.parametrize(
    "key",
    [
        "", "nothing", "logits", "logits/", "/zarr.json", "zarr.json/", "ledger", "ledger/",
        "logits/c/0/0", "logits/c/9/0/0", "logits/c/0/9/0", "logits/c/00/0/0", "logits/c/-1/0/0",
        "logits/c/0/0/1", "others/c/0/0/0", "samples/c/0/0/0", "ledger/g00009-p00000.json",
        "ledger/g0-p0.json", "ledger/g000000-p00000.json", "ledger/.header.json.1-1.tmp",
        "logits/c/\u0663/0/0", "logits/c/99999999999999999999/0/0", "ZARR.JSON", "stray.txt",
    ],
)  # fmt: skip
def test_only_keys_that_the_ledger_knows_are_found(root: Path, ask: Ask, key: str) -> None:
    (root / "mn.zarr" / "stray.txt").write_text("not listed")
    answer = ask(root, f"/v1/recordings/mn/zarr/{key}")
    assert (answer.status_code, answer.json()["kind"]) == (404, ErrorKind.NOT_FOUND)


@pytest.fixture(scope="session")
def known(finished: Path) -> tuple[ServedRecording, set[str]]:
    recording = Catalog(finished).find(RecordingAddress("mn"))
    return recording, set(LocalStorage(finished / "mn.zarr").keys())


_parts = st.sampled_from(["logits", "c", "0", "1", "2", "..", ".", "", "zarr.json", "ledger", "/"])


@given(st.one_of(st.text(max_size=20), st.lists(_parts, max_size=5).map("/".join)))
def test_no_key_finds_what_is_not_listed(known: tuple[ServedRecording, set[str]], key: str) -> None:
    recording, keys = known
    if key in keys:
        assert recording.file(key).digest.size > 0
    else:
        with pytest.raises((NotFoundError, IncompleteError)):
            recording.file(key)


def test_what_is_not_recorded_yet_is_incomplete(tmp_path: Path, record: Record, ask: Ask) -> None:
    record(tmp_path / "run.zarr", blocks=2)
    for key, kind in (
        (SHARD, None),
        ("logits/c/1/1/0", ErrorKind.INCOMPLETE),
        ("ledger/g00001-p00001.json", ErrorKind.NOT_FOUND),
        ("seal.json", ErrorKind.NOT_FOUND),
    ):
        answer = ask(tmp_path, f"/v1/recordings/run/zarr/{key}")
        assert answer.status_code == (200 if kind is None else 404)
        assert kind is None or answer.json()["kind"] == kind


def test_shards_without_their_entry_are_not_served(
    tmp_path: Path, record: Record, ask: Ask
) -> None:
    record(tmp_path / "run.zarr", blocks=2)
    (tmp_path / "run.zarr" / "ledger" / "g00000-p00001.json").unlink()
    assert (tmp_path / "run.zarr" / SHARD).is_file()
    answer = ask(tmp_path, f"/v1/recordings/run/zarr/{SHARD}")
    assert (answer.status_code, answer.json()["kind"]) == (404, ErrorKind.INCOMPLETE)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("key", [SHARD, "logits/zarr.json"])
def test_a_listed_file_that_is_missing_is_damage(
    root: Path, ask: Ask, key: str, method: str
) -> None:
    (root / "mn.zarr" / key).unlink()
    answer = ask(root, f"/v1/recordings/mn/zarr/{key}", method=method)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    if method == "GET":
        assert answer.json()["kind"] == ErrorKind.INTEGRITY
        assert f"{key} of mn is missing" in answer.json()["detail"]
        assert "kdrec verify" in answer.json()["detail"]


@pytest.mark.parametrize("change", [b"", b"one more"])
def test_a_shard_of_another_size_is_damage(
    root: Path, ask: Ask, shard: bytes, change: bytes
) -> None:
    (root / "mn.zarr" / SHARD).write_bytes(shard + change if change else shard[:-1])
    answer = ask(root, URL)
    assert (answer.status_code, answer.json()["kind"]) == (500, ErrorKind.INTEGRITY)
    assert f"its ledger says {len(shard)}" in answer.json()["detail"]


def test_a_file_that_is_cut_off_before_it_is_opened_is_damage(root: Path) -> None:
    recording = Catalog(root).find(RecordingAddress("mn"))
    file = recording.file(SHARD)
    assert isinstance(file, ListedFile)
    (root / "mn.zarr" / SHARD).write_bytes(b"short")
    with pytest.raises(IntegrityError, match=f"{SHARD} of mn has 5 bytes"):
        recording.open(file)


def test_a_file_that_is_cut_off_while_it_is_sent_is_never_sent_short(root: Path) -> None:
    recording = Catalog(root).find(RecordingAddress("mn"))
    file = recording.file(SHARD)
    assert isinstance(file, ListedFile)
    opened = recording.open(file)
    (root / "mn.zarr" / SHARD).write_bytes(b"short")
    with pytest.raises(StorageError, match=f"{SHARD} of mn was cut off while it was sent"):
        asyncio.run(opened.read(range(file.digest.size)))


def test_a_pipe_in_the_place_of_a_file_is_refused_and_waits_for_nobody(root: Path) -> None:
    recording = Catalog(root).find(RecordingAddress("mn"))
    file = recording.file(SHARD)
    assert isinstance(file, ListedFile)
    (root / "mn.zarr" / SHARD).unlink()
    os.mkfifo(root / "mn.zarr" / SHARD)
    with pytest.raises(IntegrityError, match="is no plain file"):
        recording.open(file)


@pytest.mark.parametrize("key", ["zarr.json", "seal.json", "ledger/g00000-p00000.json"])
def test_a_pipe_in_the_place_of_a_document_keeps_no_thread(root: Path, ask: Ask, key: str) -> None:
    (root / "mn.zarr" / key).unlink()
    os.mkfifo(root / "mn.zarr" / key)
    answer = ask(root, f"/v1/recordings/mn/zarr/{key}")
    assert (answer.status_code, answer.json()["kind"]) == (500, ErrorKind.INTEGRITY)
    assert f"{key} of mn is no plain file" in answer.json()["detail"]


def test_a_file_that_cannot_be_read_is_no_absent_one(root: Path, ask: Ask) -> None:
    path = root / "mn.zarr" / "ledger" / "header.json"
    data = path.read_bytes()
    path.unlink()
    path.symlink_to(path)  # too many links, says the system
    answer = ask(root, "/v1/recordings/mn/zarr/zarr.json")
    assert (answer.status_code, answer.json()["kind"]) == (503, ErrorKind.STORAGE)
    assert str(root) not in answer.json()["detail"]
    path.unlink()
    path.write_bytes(data)
    assert ask(root, "/v1/recordings/mn/zarr/zarr.json").status_code == 200


def test_the_records_are_those_of_the_files(finished: Path) -> None:
    """The fixture itself: what the other tests compare with can be read."""
    reader = RecordingReader(LocalStorage(finished / "mn.zarr"), where="mn")
    _, logits = reader.read(3)
    assert logits.shape == (10, 5)
