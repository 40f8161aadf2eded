"""Where a token goes, and where it never goes: real servers that redirect."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kdrec.client import HttpTransport
from kdrec.errors import InvalidInputError, StorageError

TOKEN = "secret-token"


class Redirecting(ThreadingHTTPServer):
    """Answers `here`, or redirects; keeps what it was told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str | None]] = []
        self.targets: dict[str, str] = {}
        self.refusals: list[tuple[int, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Redirecting

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        target = self.server.targets.get(self.path)
        if self.server.refusals:
            status, pause = self.server.refusals.pop()
            self.send_response(status)
            self.send_header("Retry-After", pause)
        else:
            self.send_response(200 if target is None else 307)
        if target is not None:
            self.send_header("Location", target)
        body = b"here"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running() -> Iterator[Redirecting]:
    with Redirecting() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[Callable[[], Redirecting]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(running())


def over(url: str, **settings: object) -> HttpTransport:
    return HttpTransport(url, token=TOKEN, sleep=lambda _: None, **settings)  # type: ignore[arg-type]


def test_the_token_goes_along_within_one_server(server: Callable[[], Redirecting]) -> None:
    first = server()
    first.targets = {"/a/key": "/b/key", "/b/key": f"{first.url}/c"}
    assert over(f"{first.url}/a").get("key") == b"here"
    assert first.seen == [(path, f"Bearer {TOKEN}") for path in ("/a/key", "/b/key", "/c")]


def test_it_goes_to_no_other_port_or_host_and_not_back(server: Callable[[], Redirecting]) -> None:
    first, second = server(), server()
    first.targets = {"/key": f"{second.url}/asks"}
    second.targets = {"/asks": f"{second.url.replace('127.0.0.1', 'localhost')}/more"}
    second.targets["/more"] = f"{first.url}/back"
    assert over(first.url).get("key") == b"here"
    assert first.seen == [("/key", f"Bearer {TOKEN}"), ("/back", None)]
    assert second.seen == [("/asks", None), ("/more", None)]


def test_it_does_not_go_from_http_to_https(server: Callable[[], Redirecting]) -> None:
    """httpx would carry it on; the other port of the host may be somebody else's."""
    first = server()
    first.targets = {"/key": first.url.replace("http:", "https:") + "/secure"}
    with pytest.raises(StorageError):  # it speaks no TLS: what counts is what it heard
        over(first.url).get("key")
    assert {path for path, _ in first.seen} == {"/key"}


def test_redirects_in_a_circle_end(server: Callable[[], Redirecting]) -> None:
    first = server()
    first.targets = {"/key": "/key"}
    with pytest.raises(StorageError, match="redirects"):
        over(first.url).get("key")


def test_without_a_token_none_is_sent(
    server: Callable[[], Redirecting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KDREC_TOKEN", raising=False)
    first = server()
    assert HttpTransport(first.url).get("key") == b"here"
    assert first.seen == [("/key", None)]


@pytest.mark.parametrize(
    "url", ["http://user:pass@host/x", "http://user:pass@host/x?y", "https://token@host"]
)
def test_an_address_with_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInputError, match="must not hold a user or password") as refusal:
        HttpTransport(url)
    assert "pass@" not in str(refusal.value)


@pytest.mark.parametrize("url", ["http://host/mn?token=secret", "http://host/mn#secret"])
def test_an_address_with_a_query_is_refused_and_what_is_in_it_not_repeated(url: str) -> None:
    with pytest.raises(InvalidInputError, match="http://host/mn must be all of") as refusal:
        HttpTransport(url)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("status", "pause", "slept"), [(503, "7", 7), (429, "9999", 30), (503, "x", 0.25)]
)
def test_a_server_that_asks_for_a_pause_gets_it(
    server: Callable[[], Redirecting], status: int, pause: str, slept: float
) -> None:
    first = server()
    first.refusals = [(status, pause)]
    pauses: list[float] = []
    transport = HttpTransport(first.url, token=TOKEN, sleep=pauses.append, draw=lambda: 0.0)
    assert transport.get("key") == b"here"
    assert pauses == [slept]


def test_a_token_file_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KDREC_TOKEN", raising=False)
    monkeypatch.setenv("KDREC_TOKEN_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(InvalidInputError, match="nowhere, which cannot be read"):
        HttpTransport("http://host")
