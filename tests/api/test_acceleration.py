"""Answers that name a file for the web server in front to send."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest

SHARD = "logits/c/0/1/0"
FILE = f"/v1/recordings/mn/zarr/{SHARD}"


@pytest.fixture
def url(root: Path, serve_folder: Callable[..., str]) -> str:
    return serve_folder(root, accel_prefix="/internal/")


def named(answer: httpx.Response) -> str | None:
    found: str | None = answer.headers.get("x-accel-redirect")
    return found


def test_the_file_is_named_below_the_prefix_and_not_sent(url: str, root: Path) -> None:
    answer = httpx.get(url + FILE)
    tag = httpx.head(url + FILE).headers["etag"]
    assert (answer.status_code, answer.content) == (200, b"")
    assert named(answer) == f"/internal/mn.zarr/{SHARD}"
    assert (root / unquote(str(named(answer))).removeprefix("/internal/")).is_file()
    assert answer.headers["etag"] == tag
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"] == "application/octet-stream"


def test_one_range_is_left_to_the_one_in_front(url: str) -> None:
    answer = httpx.get(url + FILE, headers={"Range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert named(answer) is not None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Range": "bytes=0-3", "If-Range": "TAG"}, 206),
        ({"Range": "bytes=0-3", "If-Range": '"other"'}, 200),
        ({"If-None-Match": "TAG"}, 304),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": "TAG"}, 200),
        ({"Range": "bytes=99999999-"}, 416),
    ],
)
def test_what_needs_the_tag_is_answered_here(
    url: str, root: Path, headers: dict[str, str], status: int
) -> None:
    tag = httpx.head(url + FILE).headers["etag"]
    told = {name: value.replace("TAG", tag) for name, value in headers.items()}
    answer = httpx.get(url + FILE, headers=told)
    data = (root / "mn.zarr" / SHARD).read_bytes()
    assert answer.status_code == status
    assert named(answer) is None
    assert status not in (200, 206) or answer.content == (data if status == 200 else data[:4])


@pytest.mark.parametrize(
    "key", ["zarr.json", "logits/zarr.json", "seal.json", "ledger/header.json"]
)
def test_documents_are_sent_at_once(url: str, root: Path, key: str) -> None:
    answer = httpx.get(f"{url}/v1/recordings/mn/zarr/{key}")
    assert answer.content == (root / "mn.zarr" / key).read_bytes()
    assert named(answer) is None


def test_head_and_refusals_name_no_file(url: str) -> None:
    assert named(httpx.head(url + FILE)) is None
    assert int(httpx.head(url + FILE).headers["content-length"]) > 0
    missing = httpx.get(f"{url}/v1/recordings/mn/zarr/secret.txt")
    assert (missing.status_code, named(missing)) == (404, None)


def test_a_link_is_named_by_where_it_leads_and_never_outside(url: str, root: Path) -> None:
    (root / "latest.zarr").symlink_to("mn.zarr")
    answer = httpx.get(f"{url}/v1/recordings/latest/zarr/{SHARD}")
    assert named(answer) == f"/internal/mn.zarr/{SHARD}"
    shard = root / "mn.zarr" / SHARD
    outside = root.parent / "outside"
    shard.rename(outside)
    shard.symlink_to(outside)
    answer = httpx.get(url + FILE)
    assert (answer.status_code, named(answer)) == (500, None)
