"""A proxy between a real client and a real server, that does to the answers what a test wants."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Exchange:
    """What went through, head and body.

    Attributes:
        request: As the client sent it.
        answer: As the server did.
    """

    request: bytes
    answer: bytes


Change: TypeAlias = Callable[[Exchange], bytes | None]
"""What the client shall get; None for nothing until it leaves."""


class Proxy:
    """Takes one connection after the other, and hands on what `change` makes of each answer."""

    def __init__(self, target: str, change: Change) -> None:
        self._target = urlsplit(target)
        self._change = change
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{self._target.path}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, suppress(OSError):
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        client.settimeout(5)
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(65536)
        head = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
        place = (self._target.hostname or "", self._target.port or 0)
        with socket.create_connection(place) as server:
            server.sendall(head)
            answer = b"".join(iter(lambda: server.recv(65536), b""))
        changed = self._change(Exchange(request=request, answer=answer))
        if changed is None:
            client.recv(1)  # says nothing until the client leaves
            return
        client.sendall(changed)


@contextmanager
def between(target: str, change: Change) -> Iterator[str]:
    """A proxy before a server; gives its address."""
    proxy = Proxy(target, change)
    try:
        yield proxy.url
    finally:
        proxy.close()
