"""A proxy before an HTTP server that is slow, answers 503, or resets connections, by chance."""

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_SLOW_SECONDS = 0.3
_HOP = ("connection", "transfer-encoding", "content-length", "date", "server", "content-encoding")


@dataclass(slots=True)
class Faults:
    """Which fault comes next, and how often each came.

    Attributes:
        chance: Of each of the three, 0 for none.
        seen: By name.
    """

    chance: float
    seen: dict[str, int] = field(default_factory=dict)
    _random: random.Random = field(default_factory=lambda: random.Random(7))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def draw(self) -> str:
        """`slow`, `503`, `reset before`, `reset after`, or `none`."""
        with self._lock:
            names = ("slow", "503", "reset before", "reset after")
            drawn = self._random.random() / self.chance if self.chance else len(names)
            name = names[int(drawn)] if drawn < len(names) else "none"
            self.seen[name] = self.seen.get(name, 0) + 1
            return name


class _Server(ThreadingHTTPServer):
    """Passes on to another server, as the faults allow."""

    def __init__(self, client: httpx.Client, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.client = client
        self.faults = faults


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.faults.draw()
        if fault == "reset before":
            self._reset()
        elif fault == "503":
            self._answer(503, {}, b"<Error><Code>SlowDown</Code></Error>")
        else:
            time.sleep(_SLOW_SECONDS if fault == "slow" else 0)
            kept = {n: v for n, v in self.headers.items() if n.lower() not in _HOP}
            found = self.server.client.request(self.command, self.path, content=body, headers=kept)
            if fault == "reset after":  # done, and nobody hears of it
                self._reset()
            else:
                self._answer(found.status_code, dict(found.headers), found.content)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        is_head = self.command == "HEAD"
        length = headers.get("content-length", "0") if is_head else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if not is_head:
            self.wfile.write(body)

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)  # closing sends RST instead of FIN
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Nothing."""


@contextmanager
def unreliable_proxy(target: str, *, chance: float) -> Iterator[tuple[str, Faults]]:
    """Its address, and what it does; ends with the block."""
    faults = Faults(chance)
    with httpx.Client(base_url=target, timeout=30) as client, _Server(client, faults) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", faults
        finally:
            server.shutdown()
            thread.join()
