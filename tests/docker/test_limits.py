"""What the shipped nginx does with too many, too large and too slow requests."""

import socket
import time
from contextlib import ExitStack, suppress

import httpx
import pytest

from tests.docker.conftest import StartNginx

POINTS = "/v1/recordings/mn/zarr/samples/points/c/0/0/0"
SOON = {"client_header_timeout 10s": "client_header_timeout 1s",
        "send_timeout 30s": "send_timeout 1s"}  # fmt: skip


def test_more_connections_than_an_address_may_have_are_told_to_come_back(
    service: str, start_nginx: StartNginx
) -> None:
    with ExitStack() as opened, start_nginx(services=[service]) as nginx:
        # A request that goes on holds a connection: its head is whole, the body it tells of is not.
        head = b"GET /healthz HTTP/1.1\r\nHost: kdrec\r\nContent-Length: 100\r\n\r\n"
        for _ in range(256):
            opened.enter_context(nginx.connect()).sendall(head)
        for _ in range(100):  # until nginx has read all heads
            answer = httpx.get(f"{nginx.url}/healthz")
            if answer.status_code == 429:
                break
            time.sleep(0.02)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1"
    (refused,) = (line for line in nginx.requests() if line["status"] == 429)
    assert answer.json()["kind"] == "overloaded"
    assert answer.json()["instance"] == f"urn:kdrec:request:{refused['request_id']}"
    assert "wait a second" in answer.json()["detail"]


def test_a_flood_from_one_address_is_slowed_down_and_then_refused(start_nginx: StartNginx) -> None:
    few = {"rate=500r/s": "rate=1r/s"}
    asked = b"HEAD /recordings/mn.zarr/seal.json HTTP/1.1\r\nHost: kdrec\r\n\r\n"
    with start_nginx("nginx-static.conf", changes=few) as nginx, ExitStack() as opened:
        # server.conf lets 800 pass, which one connection uses up, and 200 wait, one in each.
        connections = [opened.enter_context(nginx.connect()) for _ in range(240)]
        connections[0].sendall(asked * 801)
        nginx.requests(at_least=800)
        for connection in connections[1:]:
            connection.sendall(asked)
        seen = [line["status"] for line in nginx.requests(at_least=820)]
    assert 800 <= seen.count(200) < 820
    assert set(seen) == {200, 429}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: kdrec\r\nX-Long: " + b"x" * 10_000_000, 431),
        (b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: kdrec\r\n", 414),
        (b"POST /healthz HTTP/1.1\r\nHost: kdrec\r\nContent-Length: 17000\r\n", 413),
        (b"GET /healthz HTTP/1.1\r\nHost: kdrec\r\nHost: other\r\n", 400),
    ],
    ids=["headers", "path", "body", "ambiguous"],
)
def test_a_request_that_is_too_large_never_reaches_kdrec(
    service: str, start_nginx: StartNginx, head: bytes, status: int
) -> None:
    with start_nginx(services=[service]) as nginx:
        with nginx.connect() as connection:
            # It does not wait for the end of what it refuses.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(head + b"\r\n\r\n")
            assert connection.recv(1 << 16).split(b" ")[1] == str(status).encode()
        (line,) = nginx.requests()
    assert (line["status"], line["upstream"]) == (status, "")


def test_a_client_that_sends_its_request_slowly_is_let_go(
    service: str, start_nginx: StartNginx
) -> None:
    with (
        start_nginx(services=[service], changes=SOON) as nginx,
        nginx.connect() as connection,
    ):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: kd")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        (line,) = nginx.requests()
    assert (line["status"], line["upstream"]) == (408, "")


def test_a_client_that_reads_slowly_keeps_nginx_waiting_and_not_kdrec(
    service: str, start_nginx: StartNginx
) -> None:
    with start_nginx(services=[service], changes=SOON) as nginx:
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", nginx.port))
            slow.sendall(f"GET {POINTS} HTTP/1.1\r\nHost: kdrec\r\n\r\n".encode())
            (line,) = nginx.requests()
        whole = httpx.get(nginx.url + POINTS)
    assert line["bytes"] < len(whole.content)
    # kdrec had long handed over what the client did not take.
    assert float(line["upstream_seconds"]) < line["seconds"] - 0.5
    assert line["seconds"] > 1


def test_no_service_at_all_is_said_as_kdrec_would(start_nginx: StartNginx) -> None:
    with start_nginx(services=[]) as nginx:
        answer = httpx.get(f'{nginx.recordings}/mn%22,"x')
    assert (answer.status_code, answer.json()["kind"]) == (503, "overloaded")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "2"


def test_one_of_two_services_that_dies_is_not_noticed(
    service: str, start_nginx: StartNginx
) -> None:
    with start_nginx(services=["http://127.0.0.1:1", service]) as nginx:
        answers = [httpx.get(f"{nginx.recordings}/mn").status_code for _ in range(4)]
    assert answers == [200] * 4
