"""A transfer that breaks off goes on where it broke, or begins again where that cannot be known."""

import gzip
import pickle
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kdrec.client import HttpTransport
from kdrec.errors import ServiceError, StorageError

MIB = 2**20
OLD, NEW = bytes(range(250)) * 40, bytes(range(1, 251)) * 40


class Breaking(ThreadingHTTPServer):
    """Serves a file, and closes the connection after so many bytes of each answer.

    Attributes:
        files: What it has at each request, the last from then on.
        breaks: After how many bytes each answer ends, the last from then on; None for not.
        asked: The range of each request.
    """

    daemon_threads = True

    def __init__(self, files: list[bytes], breaks: list[int | None]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files, self.breaks = files, breaks
        self.asked: list[str | None] = []
        self.tag = '"{}"'
        self.honest = True
        self.coding = ""
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def next(self, values: list[Any]) -> Any:
        return values[min(len(self.asked), len(values) - 1)]


class Answer(BaseHTTPRequestHandler):
    """RFC 9110: a range under If-Range, else all."""

    server: Breaking

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        data, end = self.server.next(self.server.files), self.server.next(self.server.breaks)
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        tag = self.server.tag.format(hash(data))
        start = 0
        if wanted is not None and self.headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        place = start if self.server.honest else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {place}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", tag)
        if self.server.coding:
            self.send_header("Content-Encoding", self.server.coding)
        self.send_header("Content-Length", str(len(data) - place))
        self.end_headers()
        self.wfile.write(data[place:][:end])
        self.close_connection = True


@contextmanager
def breaking(files: list[bytes], breaks: list[int | None]) -> Iterator[Breaking]:
    with Breaking(files, breaks) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def over(server: Breaking, pauses: list[float] | None = None) -> HttpTransport:
    kept: list[float] = [] if pauses is None else pauses
    return HttpTransport(server.url, token="", sleep=kept.append, draw=lambda: 0.5)


def test_only_what_is_missing_is_asked_for() -> None:
    with breaking([OLD], [100, 200, None]) as server:
        assert over(server).get("key") == OLD
        assert server.asked == [None, "bytes=100-", "bytes=300-"]


def test_a_file_that_changed_meanwhile_comes_whole_and_unmixed() -> None:
    with breaking([OLD, NEW], [100, None]) as server:
        assert over(server).get("key") == NEW
        assert server.asked == [None, "bytes=100-"]


def test_under_a_weak_tag_a_transfer_begins_again() -> None:
    with breaking([OLD], [100, None]) as server:
        server.tag = 'W/"{}"'
        assert over(server).get("key") == OLD
        assert server.asked == [None, None]


def test_a_server_that_gives_another_part_than_was_asked_for_is_asked_for_all() -> None:
    with breaking([OLD], [100, None]) as server:
        server.honest = False
        assert over(server).get("key") == OLD
        assert server.asked == [None, "bytes=100-", None]


def test_a_large_file_comes_over_a_line_that_breaks_more_often_than_a_file_is_tried() -> None:
    data = bytes(12 * MIB)
    with breaking([data], [MIB]) as server:
        assert over(server).get("key") == data
        assert len(server.asked) == 12


def test_what_comes_compressed_is_not_unpacked() -> None:
    with breaking([gzip.compress(bytes(50 * MIB))], [None]) as server:
        server.coding = "gzip"
        tracemalloc.start()
        with pytest.raises(ServiceError, match=r"comes compressed \(gzip\)"):
            over(server).get("key")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < 5 * MIB
    assert len(server.asked) == 1


def test_without_progress_five_tries_are_all_and_each_pause_is_longer() -> None:
    pauses: list[float] = []
    with breaking([OLD], [0]) as server, pytest.raises(StorageError, match="cannot be reached"):
        over(server, pauses).get("key")
    assert len(server.asked) == 5
    assert pauses == [0.375, 0.75, 1.5, 3.0]


def test_pauses_differ_from_one_student_to_the_next_and_a_transport_can_be_sent() -> None:
    pauses: list[float] = []
    with breaking([OLD], [0, None]) as server:
        for _ in range(2):
            server.asked.clear()
            transport = HttpTransport(server.url, token="", sleep=pauses.append)
            assert transport.get("key") == OLD
    assert all(0.25 <= pause <= 0.5 for pause in pauses)
    assert pauses[0] != pauses[1]
    assert pickle.loads(pickle.dumps(HttpTransport("http://host", token=""))).url == "http://host"
