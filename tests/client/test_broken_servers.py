"""Servers that break off, stall, lie or refuse: right bytes or a clear error, never half a file."""

import itertools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from kdrec.client import HttpTransport, RemoteStorage, fetch_summary, open_recording
from kdrec.errors import KdrecError
from kdrec.store import LocalStorage, RecordingReader
from kdrec.testing import make_recording
from tests.programs import contents, service, start
from tests.proxy import Exchange, between

Fault = Callable[[bytes], bytes | None]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    path = tmp_path_factory.mktemp("served") / "r.zarr"
    make_recording(path)
    with service(path.parent) as url:
        yield path, f"{url}/r"


def status(code: int) -> Fault:
    return lambda _: b"HTTP/1.1 %d X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno" % code


def longer(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % (len(body) + 9)]) + b"\r\n\r\n" + body


def shorter(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    cut = body[: len(body) // 2]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(cut)]) + b"\r\n\r\n" + cut


FAULTS: dict[str, Fault] = {
    "breaks off": lambda answer: answer[: len(answer) * 2 // 3],
    "says nothing": lambda answer: None,
    "closes": lambda answer: b"",
    "is longer than it says": shorter,
    "is shorter than it says": longer,
    "changes a byte": lambda answer: answer[:-1] + bytes([answer[-1] ^ 1]),
    "404": status(404),
    "429": status(429),
    "500": status(500),
    "503": status(503),
    "speaks no HTTP": lambda answer: b"\0\1\2",
}


def copy_by(url: str, folder: Path) -> None:
    """As `fetch` does, with short pauses."""
    transport = HttpTransport(url, token="", timeout=0.3, sleep=lambda _: None)
    header = fetch_summary(transport).header
    storage = RemoteStorage(transport, LocalStorage(folder), header=header)
    reader = RecordingReader(storage, where=url)
    for key in sorted(reader.header.files):
        storage.read(key)
    for view in range(reader.grid.views):
        reader.read(view)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("every", [1, 7])
def test_a_fault_now_and_then_or_always_gives_the_right_bytes_or_a_clear_error(
    served: tuple[Path, str], tmp_path: Path, fault: str, every: int
) -> None:
    path, url = served
    original, copy = contents(path), tmp_path / "copy.zarr"
    numbers = itertools.count(1)

    def change(exchange: Exchange) -> bytes | None:
        return exchange.answer if next(numbers) % every else FAULTS[fault](exchange.answer)

    with between(url, change) as address:
        for _ in range(1 if every == 1 else 60):  # each goes on where the one before stopped
            with suppress(KdrecError):  # anything else that is raised fails the test
                copy_by(address, copy)
                break
            assert contents(copy).items() <= original.items()  # never half a file
    found = {} if every == 1 else original
    assert contents(copy) == found


def test_a_server_that_is_killed_and_started_again_in_the_middle_does_no_harm(
    tmp_path: Path,
) -> None:
    path = tmp_path / "served" / "r.zarr"
    make_recording(path)
    first = start("serve", path.parent, "--port", "0")
    assert first.stdout is not None
    address = first.stdout.readline().strip()
    second: subprocess.Popen[str] | None = None
    try:
        recording = open_recording(f"{address}/v1/recordings/r", cache=tmp_path / "cache")
        recording.read(0)
        first.kill()
        first.communicate(timeout=30)
        second = start("serve", path.parent, "--port", address.rpartition(":")[2])
        assert second.stdout is not None
        second.stdout.readline()
        expected = open_recording(path).read(4)[1]
        np.testing.assert_array_equal(recording.read(4)[1], expected)
    finally:
        for process in (first, second):
            if process is not None and process.poll() is None:
                process.terminate()
                process.communicate(timeout=30)
    shutil.rmtree(tmp_path / "cache")
