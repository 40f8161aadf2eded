"""Files that the kernel sends: the same bytes, in the same order, to whatever client."""

import errno
import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from kdrec.api.byte_budget import ByteBudget
from kdrec.api.file_answers import FileAnswer
from kdrec.api.file_parts import FILE_PARTS
from kdrec.api.open_file import OpenFile
from kdrec.api.protocol import OrderlyProtocol
from kdrec.errors import StorageError

SIZE = 9 * 2**20 + 700_001  # the last piece waits for slow clients too
CUT = 2**16
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class OneFile:
    """Answers every request with the same file."""

    def __init__(self, path: Path) -> None:
        self.file = OpenFile(os.open(path, os.O_RDONLY), where="the file")
        self.budget = ByteBudget(2**22, patience=10)
        self.by_kernel = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Any) -> None:
            self.by_kernel += not isinstance(message.get("body", b""), bytes | bytearray)
            await send(message)

        assert FILE_PARTS in scope["extensions"]
        size = self.file.status().st_size
        answer = FileAnswer(
            self.file,
            range(SIZE),
            budget=self.budget,
            status=HTTPStatus.OK,
            headers={"ETag": str(size)},
        )
        await answer(scope, receive, counting)


@contextmanager
def served(app: "OneFile | OneDocument") -> Iterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, http=OrderlyProtocol, lifespan="off", log_config=None, ws="none", loop="asyncio"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(os.urandom(SIZE))
    return tmp_path / "file"


@pytest.fixture
def app(path: Path) -> OneFile:
    return OneFile(path)


def receive(address: tuple[str, int], *requests: bytes, pause: float = 0.0) -> bytes:
    """All that comes; with pauses, through a small window."""
    with socket.socket() as client:
        if pause:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.settimeout(30)
        client.connect(address)
        client.sendall(b"".join(requests))
        found = bytearray()
        while data := client.recv(2**18):
            found += data
            time.sleep(pause)
        return bytes(found)


def bodies(answer: bytes, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        head, _, answer = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        found.append(answer[:SIZE])
        answer = answer[SIZE:]
    return [*found, answer]


@pytest.mark.parametrize("pause", [0.0, 0.0005])
def test_fast_and_slow_clients_get_every_byte(app: OneFile, path: Path, pause: float) -> None:
    with served(app) as address:
        assert bodies(receive(address, LAST, pause=pause), 1) == [path.read_bytes(), b""]
    assert app.by_kernel == 10


@pytest.mark.parametrize("more", [REQUEST * 200, b"no request\r\n\r\n"])
def test_a_refusal_never_stands_in_the_middle_of_an_answer(app: OneFile, more: bytes) -> None:
    with served(app) as address, socket.create_connection(address, timeout=30) as client:
        client.sendall(REQUEST)
        received = client.recv(100)
        client.sendall(REQUEST + more)
        with suppress(ConnectionResetError):
            while data := client.recv(2**18):
                received += data
    assert b"HTTP/1.1 400" not in received


def test_a_connection_is_closed_once_however_slowly_its_last_bytes_are_taken(
    app: OneFile, caplog: pytest.LogCaptureFixture
) -> None:
    with served(app) as address:
        for _ in range(6):
            assert len(receive(address, LAST, pause=0.0001)) > SIZE
    assert not [record for record in caplog.records if record.name == "asyncio"]


class OneDocument:
    """Answers every request with the same bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Response(self.data)(scope, receive, send)


@pytest.mark.parametrize("pause", [0.0, 0.0005])
def test_fast_and_slow_clients_get_every_byte_of_a_document(path: Path, pause: float) -> None:
    data = path.read_bytes()
    with served(OneDocument(data)) as address:
        answer = receive(address, REQUEST, LAST, pause=pause)
        assert bodies(answer, 2) == [data, data, b""]


def test_a_document_is_not_copied_for_clients_that_do_not_take_it(path: Path) -> None:
    document = OneDocument(path.read_bytes())
    with served(document) as address, ExitStack() as opened:
        tracemalloc.start()
        for _ in range(20):
            client = opened.enter_context(socket.create_connection(address, timeout=30))
            client.sendall(REQUEST)
            assert client.recv(1000)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 20 * SIZE / 4


def test_answers_asked_for_together_come_one_after_the_other(app: OneFile, path: Path) -> None:
    data = path.read_bytes()
    with served(app) as address:
        answer = receive(address, REQUEST, REQUEST, LAST, pause=0.0002)
        assert bodies(answer, 3) == [data, data, data, b""]


def test_a_refusal_does_not_get_into_the_answer_before_it(app: OneFile, path: Path) -> None:
    data = path.read_bytes()
    with served(app) as address, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.connect(address)
        client.sendall(REQUEST)
        found = client.recv(1000)
        client.sendall(b"\0nonsense\r\n\r\n")
        with suppress(ConnectionResetError):
            while piece := client.recv(2**18):
                found += piece
    _, _, body = found.partition(b"\r\n\r\n")
    assert len(body) < SIZE
    assert data.startswith(body)


def test_a_file_cut_off_in_its_place_ends_the_answer_early(app: OneFile, path: Path) -> None:
    data = path.read_bytes()
    with served(app) as address, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.connect(address)
        client.sendall(LAST)
        begun = client.recv(100)
        os.truncate(path, CUT)
        found = begun
        with suppress(ConnectionResetError):
            while piece := client.recv(2**18):
                found += piece
    _, _, body = found.partition(b"\r\n\r\n")
    assert len(body) < SIZE
    # What was on its way are pages of the kernel, which a cut fills with zeros: digests tell. kdrec
    # itself replaces files and cuts none.
    assert data.startswith(body[:CUT])
    assert all(sent in (0, there) for sent, there in zip(body[CUT:], data[CUT:], strict=False))


def test_a_client_that_leaves_takes_nothing_with_it(app: OneFile, path: Path) -> None:
    with served(app) as address:
        for _ in range(20):
            with socket.create_connection(address) as client:
                client.sendall(REQUEST)
                client.recv(1000)
        assert bodies(receive(address, LAST), 1) == [path.read_bytes(), b""]
    assert app.budget.lent == 0


@pytest.mark.parametrize("line", [b"X-Long: " + b"x" * 80_000, b"X: y\r\n" * 20_000])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_head_that_does_not_end_is_refused(
    finished: Path, serve_folder: Callable[..., str], line: bytes, at_once: bool
) -> None:
    url = serve_folder(finished, max_header_bytes=2048)
    host, _, port = url.removeprefix("http://").partition(":")
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + line
    with socket.create_connection((host, int(port)), timeout=20) as client:
        found = b""
        try:
            for start in range(0, len(head), len(head) if at_once else 500):
                client.sendall(head[start : start + (len(head) if at_once else 500)])
            found = client.recv(1000)
        except (BrokenPipeError, ConnectionResetError):
            return
    assert found.startswith(b"HTTP/1.1 400")


def test_a_head_within_its_limit_may_come_byte_by_byte(
    finished: Path, serve_folder: Callable[..., str]
) -> None:
    url = serve_folder(finished, max_header_bytes=2048)
    host, _, port = url.removeprefix("http://").partition(":")
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 1900 + b"\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as client:
        for start in range(0, len(head), 19):
            client.sendall(head[start : start + 19])
        assert client.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("drops", [True, False])
def test_a_file_that_is_shorter_than_it_was_is_noticed_before_it_is_sent(
    path: Path, monkeypatch: pytest.MonkeyPatch, drops: bool
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "not on this file system")

    if not drops:
        monkeypatch.setattr(os, "sendfile", refuse)
    file = OpenFile(os.open(path, os.O_RDONLY), where="the file")
    file.load(range(SIZE))
    with pytest.raises(StorageError, match="the file was cut off while it was sent; ask again"):
        file.load(range(SIZE - CUT, SIZE + CUT))
