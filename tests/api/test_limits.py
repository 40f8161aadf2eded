"""What the service refuses so that it keeps serving: sizes, numbers, clients that take nothing."""

import asyncio
import shutil
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import Response

from kdrec.api import ServiceSettings
from kdrec.api.admission import MAX_PATH_BYTES, MAX_QUERY_BYTES, Admission
from kdrec.api.protocol import OrderlyProtocol
from kdrec.errors import ErrorKind, InvalidInputError

Serve = Callable[..., str]
HangingDisk = Callable[[Path], AbstractContextManager[threading.Event]]
FILE = "/v1/recordings/mn/zarr/logits/c/0/1/0"


def connect(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname or "", place.port or 0), timeout=20)


def send(url: str, data: bytes) -> bytes:
    with connect(url) as connection:
        try:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except (BrokenPipeError, ConnectionResetError):
            return b"closed"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/" + "x" * MAX_PATH_BYTES, 414),
        ("/" + "x" * (MAX_PATH_BYTES - 1), 404),
        (f"{FILE}?" + "x" * (MAX_QUERY_BYTES + 1), 414),
        (f"{FILE}?" + "x" * MAX_QUERY_BYTES, 200),
    ],
)
def test_an_address_has_a_length(finished_url: str, path: str, status: int) -> None:
    answer = httpx.get(finished_url + path)
    assert answer.status_code == status
    if status == 414:
        assert "allowed are" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers", [b"Content-Length: 1", b"Transfer-Encoding: chunked", b"Content-Length: 99999999999"]
)
def test_nobody_may_send_a_body(finished_url: str, headers: bytes) -> None:
    head = b"GET " + FILE.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    answer = send(finished_url, head + headers + b"\r\n\r\n1\r\nx\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"kind":"invalid_input"' in answer


def test_what_follows_a_body_is_not_read(finished_url: str) -> None:
    """The parser would keep a field behind a chunked body, however long it is."""
    head = f"GET {FILE} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: "
    with connect(finished_url) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(b"x" * 2**26)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_few_requests_of_a_connection_wait_for_their_answers(finished_url: str, path: str) -> None:
    asked = f"GET {path} HTTP/1.1\r\nHost: x\r\n".encode()
    last = asked + b"Connection: close\r\n\r\n"
    answer = send(finished_url, (asked + b"\r\n") * 99 + last)
    assert answer.count(b"HTTP/1.1 200") == 100
    answer = send(finished_url, (asked + b"\r\n") * 500 + last)
    assert answer.count(b"HTTP/1.1 200") < 129


def test_nothing_is_read_while_requests_wait(
    finished: Path, serve_folder: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, read = list[int](), OrderlyProtocol.data_received

    def note(protocol: OrderlyProtocol, data: bytes) -> None:
        waiting.append(len(protocol.pipeline))
        read(protocol, data)

    monkeypatch.setattr(OrderlyProtocol, "data_received", note)
    asked = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"
    answered = 0
    with connect(serve_folder(finished)) as connection:
        for _ in range(5):
            connection.sendall(asked * 20)
            time.sleep(0.002)
        while answered < 100:
            answered += connection.recv(65536).count(b"HTTP/1.1 200")
    assert len(waiting) > 1
    assert set(waiting) == {0}


def test_ten_megabytes_of_headers_are_cut_off(finished_url: str) -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"x" * 1000) for n in range(10_000))
    answer = send(finished_url, b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")
    assert answer == b"closed" or answer.startswith(b"HTTP/1.1 400")
    assert httpx.get(f"{finished_url}/healthz").status_code == 200


@pytest.mark.parametrize("header", ["bytes=" + "9" * 20_000 + "-", "bytes=0-" + "9" * 20_000])
def test_absurd_ranges_do_no_harm(finished_url: str, header: str) -> None:
    answer = httpx.get(finished_url + FILE, headers={"Range": header})
    assert answer.status_code in (206, 416)


def test_garbage_is_answered_and_forgotten(finished_url: str) -> None:
    for data in (b"\0" * 100, b"\x16\x03\x01" * 50, b"GET\r\n\r\n"):
        assert send(finished_url, data + b"\r\n\r\n").startswith((b"HTTP/1.1 400", b"closed"))
    assert httpx.get(f"{finished_url}/healthz").status_code == 200


def test_too_many_at_once_are_told_to_come_again() -> None:
    async def run() -> None:
        leave = asyncio.Event()

        async def wait(scope: object, receive: object, send: Callable[..., Any]) -> None:
            if scope["path"] == "/wait":  # type: ignore[index]
                await leave.wait()
            await Response("served")(scope, receive, send)  # type: ignore[arg-type]

        transport = httpx.ASGITransport(Admission(wait, max_requests=2))
        async with httpx.AsyncClient(transport=transport, base_url="http://kdrec") as client:
            waiting = [asyncio.create_task(client.get("/wait")) for _ in range(2)]
            await asyncio.sleep(0.01)
            answer = await client.get("/other")
            assert (answer.status_code, answer.json()["kind"]) == (503, ErrorKind.OVERLOADED)
            assert int(answer.headers["retry-after"]) > 0
            assert (await client.get("/healthz")).status_code == 200
            leave.set()
            assert {(await request).status_code for request in waiting} == {200}
            assert (await client.get("/other")).status_code == 200

    asyncio.run(run())


def test_a_request_that_fails_gives_its_place_back() -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    async def run() -> None:
        admission = Admission(fail, max_requests=1)
        scope = {"type": "http", "path": "/", "query_string": b"", "headers": [], "method": "GET"}
        for _ in range(3):
            with pytest.raises(RuntimeError, match="a bug"):
                await admission(scope, None, None)  # type: ignore[arg-type]

    asyncio.run(run())


class HastyProtocol(OrderlyProtocol):
    stall_seconds = 0.2


def test_a_client_that_takes_nothing_is_cut_off_and_keeps_nothing(tmp_path: Path) -> None:
    """A server of our protocol whose answer never ends, and a client that does not read it."""
    import uvicorn

    ended = threading.Event()

    async def endless(scope: object, receive: object, send: Callable[..., object]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[misc]
        try:
            for _ in range(400):
                await send({"type": "http.response.body", "body": bytes(2**20), "more_body": True})  # type: ignore[misc]
                await asyncio.sleep(0)
        finally:
            ended.set()

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(endless, http=HastyProtocol, lifespan="off", log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert ended.wait(20)
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", 0), ("workers", 257), ("max_requests", 0), ("max_bytes", 0),
        ("max_header_bytes", 100), ("metrics_port", 70_000), ("shutdown_seconds", -1),
        ("trusted_proxies", ("nonsense",)), ("trusted_proxies", ("10.0.0.1/8",)),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=str(value)[:5].strip("(',)")):
        ServiceSettings(root=tmp_path, **{name: value})  # type: ignore[arg-type]


def test_slow_requests_do_not_keep_the_fast_ones(
    root: Path, serve_folder: Serve, hanging_disk: HangingDisk
) -> None:
    """The disk of one recording hangs."""
    shutil.copytree(root / "mn.zarr", root / "sick.zarr")
    url = serve_folder(root, shutdown_seconds=0)
    assert httpx.get(url + FILE).status_code == 200
    with ThreadPoolExecutor(4) as pool:
        with hanging_disk(root / "sick.zarr" / "seal.json"):
            hanging = [
                pool.submit(httpx.get, f"{url}/v1/recordings/sick", timeout=30) for _ in range(4)
            ]
            time.sleep(0.2)
            for _ in range(20):
                assert httpx.get(url + FILE).status_code == 200
            assert not any(request.done() for request in hanging)
        assert {request.result(30).status_code for request in hanging} == {200}
