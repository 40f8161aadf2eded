"""Permissions given where a request is parsed: what the application would answer, or left to it."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from kdrec.api import TOKEN_BYTES, ServiceSettings, TokenEntry, TokenFile, make_token
from kdrec.api.hot_files import HotFiles
from kdrec.api.permissions import Fields, Permissions
from tests.api.services import numbers, serving

SHARD = "logits/c/0/1/0"
FILE = f"/v1/recordings/mn/zarr/{SHARD}"
TOKEN, OTHER = make_token(bytes(TOKEN_BYTES)), make_token(b"x" * TOKEN_BYTES)
MINE = {"Authorization": f"Bearer {TOKEN}"}
FAR_TOO_MANY = 100_000
Serve = Callable[..., str]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Fields]:
    """The answers that the application was not asked for; what was found stays found."""
    answer, seen = Permissions.answer, list[Fields]()

    def note(self: Permissions, method: bytes, target: bytes, fields: Fields) -> Fields | None:
        found = answer(self, method, target, fields)
        if found is not None:
            seen.append(found)
        return found

    monkeypatch.setattr(Permissions, "answer", note)
    monkeypatch.setattr(HotFiles.__init__, "__kwdefaults__", {"clock": lambda: 0.0})
    return seen


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    file = TokenFile(tmp_path / "tokens")
    file.add(TokenEntry.of(TOKEN, name="mine", patterns=["mn"]))
    file.add(TokenEntry.of(OTHER, name="other", patterns=["other"]))
    return file


@pytest.fixture
def url(
    root: Path, serve_folder: Serve, tokens: TokenFile, tmp_path: Path, given: list[Fields]
) -> str:
    return serve_folder(root, accel_prefix="/internal/", tokens=tmp_path / "tokens")


@pytest.fixture
def client(url: str, given: list[Fields]) -> Iterator[httpx.Client]:
    """One connection; the shard was asked for already."""
    with httpx.Client(base_url=url, headers=MINE) as client:
        assert client.get(FILE).status_code == 200
        assert not given
        yield client


def exchange(url: str, asked: str) -> bytes:
    """What comes on one connection until it ends."""
    address = urlsplit(url)
    with closing(socket.create_connection((address.hostname, address.port), timeout=20)) as asking:
        asking.sendall(asked.encode())
        return b"".join(iter(lambda: asking.recv(65536), b""))


def comparable(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    told = [(k, v) for k, v in answer.headers.multi_items() if k not in ("date", "x-request-id")]
    return answer.status_code, answer.content, sorted(told)


def test_it_is_what_the_application_answers(
    client: httpx.Client, given: list[Fields], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = client.get(FILE)
    assert len(given) == 1
    assert at_once.headers["x-accel-redirect"] == f"/internal/mn.zarr/{SHARD}"
    monkeypatch.setattr(Permissions, "answer", lambda *_: None)
    assert comparable(client.get(FILE)) == comparable(at_once)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (("HEAD", FILE, {}), 200),
        (("POST", FILE, {}), 405),
        (("GET", f"{FILE}?x=1", {}), 200),
        (("GET", FILE.replace("logits", "%6cogits"), {}), 200),
        (("GET", FILE.replace("mn", "mn@x"), {}), 404),
        (("GET", "/healthz", {}), 200),
        (("GET", FILE, {"If-None-Match": "*"}), 304),
        (("GET", FILE, {"If-Match": '"x"'}), 412),
        (("GET", FILE, {"Range": "bytes=0-3"}), 200),
        (("GET", FILE, {"Range": "bytes=99999999-"}), 416),
        (("GET", FILE, {"Content-Length": "1"}), 413),
        (("GET", FILE, {"Connection": "close"}), 200),
        (("GET", FILE, {"Authorization": ""}), 401),
        (("GET", FILE, {"Authorization": "Bearer kdrec_x"}), 401),
        (("GET", FILE, {"Authorization": f"Bearer {OTHER}"}), 403),
    ],
)
def test_everything_else_is_left_to_the_application(
    client: httpx.Client,
    given: list[Fields],
    request_: tuple[str, str, dict[str, str]],
    status: int,
) -> None:
    method, path, headers = request_
    content = b"x" if "Content-Length" in headers else None
    answer = client.request(method, path, headers=headers, content=content)
    assert answer.status_code == status
    assert not given


def test_a_file_that_is_gone_is_looked_for(
    client: httpx.Client, given: list[Fields], root: Path
) -> None:
    (root / "mn.zarr" / SHARD).unlink()
    assert client.get(FILE).status_code == 500
    assert not given


def test_a_token_that_is_revoked_is_refused_at_once(
    client: httpx.Client, given: list[Fields], tokens: TokenFile
) -> None:
    client.get(FILE)
    assert len(given) == 1
    tokens.remove("mine")
    assert client.get(FILE).status_code == 401
    assert len(given) == 1


def test_it_is_counted_and_has_an_id(root: Path, given: list[Fields]) -> None:
    settings = ServiceSettings(root=root, port=0, accel_prefix="/internal/", metrics_port=0)
    with serving(settings) as service, httpx.Client(base_url=service.url) as client:
        ids = {client.get(FILE).headers["x-request-id"] for _ in range(4)}
        told = client.get(FILE, headers={"X-Request-ID": "mine"}).headers["x-request-id"]
        counted = numbers(service.metrics_port)
    assert (len(ids), told, len(given)) == (4, "mine", 4)
    route = 'route="/v1/recordings/{name}/zarr/{key}"'
    assert counted[f'kdrec_requests_total{{method="GET",{route},status="200"}}'] == 5
    assert counted[f"kdrec_request_seconds_count{{{route}}}"] == 5
    assert counted["kdrec_requests_in_flight"] == 0


@pytest.mark.parametrize("keep_alive", [30, 0])
def test_answers_come_in_the_order_of_the_requests(
    root: Path,
    serve_folder: Serve,
    given: list[Fields],
    keep_alive: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that wait are not overtaken by those that need not, nor cut off for being idle."""
    monkeypatch.setattr("kdrec.api.workers._KEEP_ALIVE_SECONDS", keep_alive)
    url = serve_folder(root, accel_prefix="/internal/")
    with httpx.Client(base_url=url) as client:
        client.get(FILE)
    paths = [FILE, "/readyz", FILE, f"{FILE}/nothing", FILE, FILE, "/healthz"]
    head = "GET {} HTTP/1.1\r\nHost: kdrec\r\nX-Request-ID: {}\r\n{}\r\n"
    asked = "".join(
        head.format(path, number, "Connection: close\r\n" * (path == paths[-1]))
        for number, path in enumerate(paths)
    )
    answer = exchange(url, asked)
    assert re.findall(rb"x-request-id: (\d+)\r\n", answer) == [b"%d" % n for n in range(len(paths))]
    assert answer.count(b"x-accel-redirect") == paths.count(FILE)
    assert given


def test_a_client_that_takes_nothing_has_no_more_answers_made_for_it(
    url: str, given: list[Fields]
) -> None:
    """Else a connection that asks and does not read would fill the memory."""
    with httpx.Client(base_url=url, headers=MINE) as client:
        client.get(FILE)
    asked = f"GET {FILE} HTTP/1.1\r\nHost: x\r\nAuthorization: {MINE['Authorization']}\r\n\r\n"
    address = urlsplit(url)
    with closing(socket.create_connection((address.hostname, address.port), timeout=0.5)) as asking:
        made, waited = 0, 0
        while waited < 25 and made < FAR_TOO_MANY:
            with suppress(TimeoutError, ConnectionError):
                asking.sendall(asked.encode() * (50 if len(given) > made else 1))
            made = len(given)
            time.sleep(0.02)
            waited = 0 if len(given) > made else waited + 1
        assert 0 < len(given) < FAR_TOO_MANY


def test_headers_that_come_twice_are_left_to_the_application(
    client: httpx.Client, given: list[Fields]
) -> None:
    assert client.get(FILE, headers=[("X-Any", "1"), ("X-Any", "2")]).status_code == 200
    assert not given


def test_where_kdrec_sends_files_itself_it_is_not_asked(
    root: Path, serve_folder: Serve, given: list[Fields]
) -> None:
    with httpx.Client(base_url=serve_folder(root)) as client:
        assert [len(client.get(FILE).content) > 0 for _ in range(3)] == [True] * 3
    assert not given
