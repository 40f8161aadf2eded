"""Recordings in a bucket of a real S3 server, served: the answers are those of a folder."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from kdrec.api import ServiceSettings
from kdrec.api.bucket import BucketShelf
from kdrec.client import fetch, open_recording
from kdrec.errors import InvalidInputError
from kdrec.store import LocalStorage, ObjectStorage
from tests.buckets import S3Server
from tests.programs import contents, serving

Serve = Callable[..., str]
Record = Callable[..., None]
SHARD = "logits/c/0/1/0"


def put(folder: Path, url: str) -> None:
    """Copy a recording, in the order in which it was written."""
    storage = ObjectStorage(url)
    files = LocalStorage(folder)
    for key in sorted(files.keys(), key=lambda key: (key == "seal.json", key)):
        storage.write(key, files.read(key))


@pytest.fixture
def filled(bucket: str, finished: Path) -> str:
    put(finished / "mn.zarr", f"{bucket}/lab/mn.zarr")
    return f"{bucket}/lab"


def comparable(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    told = {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id")}
    return answer.status_code, answer.content, told


def test_the_answers_are_those_of_a_folder(
    filled: str, finished: Path, finished_url: str, serve_folder: Serve
) -> None:
    url = serve_folder(filled)
    mn = "/v1/recordings/mn"
    tag = httpx.head(f"{finished_url}{mn}/zarr/{SHARD}").headers["etag"]
    identity = httpx.get(f"{finished_url}{mn}").json()["identity"]
    headers: list[dict[str, str]] = [
        {}, {"Range": "bytes=3-9"}, {"Range": "bytes=-5"}, {"Range": "bytes=99999999-"},
        {"If-None-Match": tag}, {"If-Match": '"x"'}, {"If-Range": tag, "Range": "bytes=1-2"},
        {"If-Range": '"x"', "Range": "bytes=1-2"},
    ]  # fmt: skip
    paths = [f"{mn}/zarr/{SHARD}", f"{mn}@{identity}/zarr/{SHARD}"]
    asked = [(method, path, told) for path in paths for told in headers
             for method in ("GET", "HEAD")]  # fmt: skip
    plain = ["/v1/recordings", mn, f"{mn}/ledger", f"{mn}/zarr/zarr.json", f"{mn}/zarr/seal.json",
             f"{mn}/zarr/ledger/header.json", f"{mn}@{'0' * 64}", f"{mn}/zarr/secret",
             f"{mn}/zarr/../mn.zarr/zarr.json", f"{mn}/records?view=3&stop=4", "/readyz",
             "/v1/recordings/other", f"{mn}/zarr/logits/c/9/9/0"]  # fmt: skip
    asked += [("GET", path, {}) for path in plain]
    for method, path, told in asked:
        ours, theirs = (
            comparable(httpx.request(method, base + path, headers=told))
            for base in (url, finished_url)
        )
        assert ours == theirs, (method, path, told)


def test_the_program_serves_a_bucket_and_a_fetched_copy_is_whole(
    filled: str, finished: Path, s3: S3Server, tmp_path: Path
) -> None:
    with serving(filled, env=s3.environment) as url:
        for _ in fetch(f"{url}/v1/recordings/mn", tmp_path / "copy.zarr"):
            pass
    assert contents(tmp_path / "copy.zarr") == contents(finished / "mn.zarr")


def test_a_bucket_may_be_one_recording(filled: str, serve_folder: Serve) -> None:
    url = serve_folder(f"{filled}/mn.zarr")
    (found,) = httpx.get(f"{url}/v1/recordings").json()["recordings"]
    assert found["name"] == "mn"
    assert httpx.get(f"{url}/v1/recordings/mn/zarr/{SHARD}").status_code == 200
    assert httpx.get(f"{url}/v1/recordings/other").status_code == 404


def test_a_growing_recording_is_followed(
    bucket: str, tmp_path: Path, record: Record, serve_folder: Serve
) -> None:
    record(tmp_path / "run.zarr", blocks=2)
    put(tmp_path / "run.zarr", f"{bucket}/run.zarr")
    ledger = f"{serve_folder(bucket)}/v1/recordings/run/ledger"
    first = httpx.get(ledger)
    assert len(first.json()["blocks"]) == 2
    with ThreadPoolExecutor(1) as pool:
        told = {"If-None-Match": first.headers["etag"]}
        waiting = pool.submit(httpx.get, f"{ledger}?wait=30", headers=told, timeout=40)
        record(tmp_path / "run.zarr")
        put(tmp_path / "run.zarr", f"{bucket}/run.zarr")
        assert len(waiting.result(40).json()["blocks"]) > 2
    for _ in range(100):
        if httpx.get(ledger).json()["identity"]:
            break
        time.sleep(0.1)
    remote = open_recording(ledger.removesuffix("/ledger"), cache=tmp_path / "cache")
    local = open_recording(tmp_path / "run.zarr")
    assert np.array_equal(remote.read(3)[1], local.read(3)[1])


def test_a_replaced_recording_never_mixes_with_the_old_one(
    filled: str, tmp_path: Path, record: Record, serve_folder: Serve
) -> None:
    url = f"{serve_folder(filled)}/v1/recordings/mn"
    old = httpx.get(url).json()["identity"]
    httpx.get(f"{url}@{old}/zarr/{SHARD}")
    record(tmp_path / "mn.zarr", seed=7)
    put(tmp_path / "mn.zarr", f"{filled}/mn.zarr")
    time.sleep(1.1)  # for so long a replaced file may be taken for the one it was
    assert httpx.get(url).json()["identity"] != old
    assert httpx.get(f"{url}@{old}/zarr/{SHARD}").status_code == 404
    assert httpx.get(f"{url}/zarr/{SHARD}").content == (tmp_path / "mn.zarr" / SHARD).read_bytes()


def test_an_object_replaced_while_it_is_known_is_an_error_and_never_other_bytes(
    filled: str, serve_folder: Serve
) -> None:
    url = f"{serve_folder(filled)}/v1/recordings/mn/zarr/{SHARD}"
    data = httpx.get(url).content
    ObjectStorage(f"{filled}/mn.zarr").write(SHARD, bytes(len(data)))
    answer = httpx.get(url)
    assert (answer.status_code, answer.json()["kind"]) == (503, "storage")


def test_what_is_missing_or_damaged_is_told_without_the_address(
    filled: str, serve_folder: Serve
) -> None:
    storage = ObjectStorage(f"{filled}/mn.zarr")
    storage.delete(SHARD)
    url = serve_folder(filled)
    missing = httpx.get(f"{url}/v1/recordings/mn/zarr/{SHARD}")
    assert (missing.status_code, missing.json()["kind"]) == (500, "integrity")
    storage.write("zarr.json", b"{}")
    time.sleep(1.1)
    damaged = httpx.get(f"{url}/v1/recordings/mn")
    assert (damaged.status_code, damaged.json()["kind"]) == (500, "integrity")
    assert "s3://" not in missing.text + damaged.text


def test_a_store_that_is_away_is_not_ready(bucket: str, serve_folder: Serve) -> None:
    url = serve_folder("s3://never-made/lab")
    for path in ("/readyz", "/v1/recordings", "/v1/recordings/mn"):
        answer = httpx.get(url + path, timeout=60)
        assert (answer.status_code, answer.json()["kind"]) == (503, "storage")
        assert "never-made" not in answer.text
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_made_up_names_are_forgotten(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdrec.api.bucket._MOST_KNOWN", 10)
    shelf = BucketShelf(filled)
    for number in range(30):
        assert shelf.find(f"name{number}") is None
    assert len(shelf._places) <= 10


def test_what_nginx_cannot_send_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nginx cannot send .*nginx-cache\.conf"):
        ServiceSettings(root="s3://bucket/lab", accel_prefix="/internal/")
    with pytest.raises(InvalidInputError, match="is no address of an object store"):
        ServiceSettings(root="lab")
