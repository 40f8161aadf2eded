"""Attempts to read what is not a recording's, as raw requests that no client tidies up."""

import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from kdrec.store import HEADER_KEY, ROOT_KEY, FileDigest, LedgerEntry

Ask = Callable[..., httpx.Response]
SECRET = b"nobody may read this"


def send_raw(url: str, target: str) -> bytes:
    place = urlsplit(url)
    assert place.hostname is not None
    with socket.create_connection((place.hostname, place.port or 80), timeout=10) as connection:
        head = f"GET {target} HTTP/1.1\r\nHost: kdrec\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode("latin-1"))
        return b"".join(iter(lambda: connection.recv(65536), b""))


ATTEMPTS = [
    "/v1/recordings/../../secret.txt",
    "/v1/recordings/..%2f..%2fsecret.txt",
    "/v1/recordings/%2e%2e",
    "/v1/recordings/%2e%2e/zarr/secret.txt",
    "/v1/recordings/../zarr/secret.txt",
    "/v1/recordings/.hidden/zarr/zarr.json",
    "/v1/recordings/mn/zarr/../../secret.txt",
    "/v1/recordings/mn/zarr/%2e%2e/%2e%2e/secret.txt",
    "/v1/recordings/mn/zarr/..%2f..%2fsecret.txt",
    "/v1/recordings/mn/zarr/..%5c..%5csecret.txt",
    "/v1/recordings/mn/zarr/..\\..\\secret.txt",
    "/v1/recordings/mn/zarr/%252e%252e/secret.txt",
    "/v1/recordings/mn/zarr//etc/passwd",
    "/v1/recordings/mn/zarr/%2fetc%2fpasswd",
    "/v1/recordings/mn/zarr/logits/../../../secret.txt",
    "/v1/recordings/mn/zarr/ledger/../../../secret.txt",
    "/v1/recordings/mn/zarr/zarr.json%00.txt",
    "/v1/recordings/mn/zarr/.secret",
    "/v1/recordings/mn%00/zarr/zarr.json",
    "/v1/recordings/mn%2fledger/zarr/header.json",
    "/v1/recordings/mn.zarr/zarr/zarr.json",
    "/v1/recordings//zarr/zarr.json",
    "/v1/recordings/~root/zarr/zarr.json",
]


@pytest.fixture
def guarded(root: Path) -> Path:
    for place in (root.parent / "secret.txt", root / "secret.txt", root / "mn.zarr" / ".secret"):
        place.write_bytes(SECRET)
    return root


def test_nothing_outside_the_ledger_can_be_reached(
    guarded: Path, serve_folder: Callable[[Path], str]
) -> None:
    url = serve_folder(guarded)
    assert send_raw(url, "/v1/recordings/mn/zarr/zarr.json").startswith(b"HTTP/1.1 200")
    for target in ATTEMPTS:
        answer = send_raw(url, target)
        assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400")), (target, answer)
        assert SECRET not in answer
        assert b"root:" not in answer
        assert str(guarded.parent).encode() not in answer


@pytest.mark.parametrize(
    "key", ["logits/c/0/0/0", "ledger/g00000-p00000.json", "zarr.json", "seal.json"]
)
def test_a_file_that_is_a_link_out_of_the_folder_is_refused(
    guarded: Path, ask: Ask, key: str
) -> None:
    path = guarded / "mn.zarr" / key
    data = path.read_bytes()
    outside = guarded.parent / "outside"
    outside.write_bytes(data)
    path.unlink()
    path.symlink_to(outside)
    answer = ask(guarded, f"/v1/recordings/mn/zarr/{key}")
    assert answer.status_code == 500
    assert "leads out of the folder" in answer.json()["detail"]
    assert data not in answer.content


@pytest.mark.parametrize("listed", ["../../secret.txt", "/etc/passwd", "logits/../../secret.txt"])
def test_a_ledger_that_lists_a_file_elsewhere_is_refused(
    guarded: Path, ask: Ask, listed: str
) -> None:
    folder = guarded / "mn.zarr"
    (folder / "seal.json").unlink()
    files = {
        ROOT_KEY: FileDigest.of((folder / ROOT_KEY).read_bytes()),
        listed: FileDigest.of(SECRET),
    }
    (folder / HEADER_KEY).write_bytes(LedgerEntry(block="header", files=files).to_bytes())
    for key in (ROOT_KEY, listed):
        encoded = key.replace("..", "%2e%2e").replace("/", "%2f")
        answer = ask(guarded, f"/v1/recordings/mn/zarr/{encoded}")
        assert answer.status_code == 500
        assert "which is no key of a recording" in answer.json()["detail"]
        assert SECRET not in answer.content
