"""A recording that is asked for by its identity, or said to have one, is that one or refused."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from kdrec.client import fetch, open_recording
from kdrec.errors import ConflictError, IntegrityError
from tests.programs import contents
from tests.proxy import Exchange, between

OTHER = b"f" * 64


@pytest.fixture(scope="module")
def identity(path: Path) -> bytes:
    return str(open_recording(path).identity).encode()


def fetch_all(address: str, folder: Path) -> None:
    list(fetch(address, folder / "copy.zarr"))


def open_it(address: str, folder: Path) -> None:
    open_recording(address, cache=folder)


Use = Callable[[str, Path], None]
both_ways = pytest.mark.parametrize("use", [open_it, fetch_all])


@both_ways
def test_a_server_that_tells_another_identity_is_refused_and_spoils_no_cache(
    url: str, identity: bytes, tmp_path: Path, use: Use
) -> None:
    def lie(exchange: Exchange) -> bytes:
        return exchange.answer.replace(b'"identity":"' + identity, b'"identity":"' + OTHER)

    with between(url, lie) as address, pytest.raises(ConflictError, match="another recording"):
        use(address, tmp_path)
    assert not any(contents(tmp_path).values())  # but for the locks, which are empty
    use(url, tmp_path)


@both_ways
def test_a_finished_recording_without_its_seal_is_refused(
    url: str, tmp_path: Path, use: Use
) -> None:
    def hide(exchange: Exchange) -> bytes:
        if b"seal.json" not in exchange.request.partition(b"\r\n")[0]:
            return exchange.answer
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    with between(url, hide) as address, pytest.raises(IntegrityError, match="its seal is missing"):
        use(address, tmp_path)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@both_ways
def test_a_host_that_has_another_recording_at_the_cited_address_is_refused(
    path: Path, identity: bytes, tmp_path: Path, use: Use
) -> None:
    for name in (identity.decode(), OTHER.decode()):
        shutil.copytree(path, tmp_path / "hosted" / f"r@{name}")
    with ExitStack() as stack:
        handler = partial(Quiet, directory=str(tmp_path / "hosted"))
        host = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        thread = Thread(target=host.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        stack.callback(thread.join)
        stack.callback(host.shutdown)
        address = f"http://127.0.0.1:{host.server_address[1]}/r@"
        with pytest.raises(ConflictError, match="gives another recording"):
            use(address + OTHER.decode(), tmp_path)
        use(address + identity.decode(), tmp_path)
