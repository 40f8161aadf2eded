"""Running the service: a port of one's own, a process in the foreground, an orderly stop."""

import errno
import ipaddress
import os
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import uvicorn

from kdrec.api.app import create_app
from kdrec.api.protocol import OrderlyProtocol
from kdrec.api.settings import ServiceSettings
from kdrec.errors import InvalidInputError, KdrecError, StorageError

OnReady = Callable[[str], None]
_BACKLOG = 2048
# Longer than clients keep idle connections (httpx: 5 s), else one closes as it is used again.
_KEEP_ALIVE_SECONDS = 30


def serve(settings: ServiceSettings, *, on_ready: OnReady | None = None) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; answers under way are finished.

    Args:
        settings: What, and where.
        on_ready: Called once with the address, when it answers.

    Raises:
        InvalidInputError: The port is taken, or the host is none, or not of this machine only.
        StorageError: The network refuses.
    """
    with closing(BoundService(settings, on_ready=on_ready)) as service, suppress(KeyboardInterrupt):
        service.run()


class BoundService:
    """A service that has its port already: the address is known, and nobody else can take it.

    Args:
        settings: What, and where.
        on_ready: Called once with the address, when it answers.

    Raises:
        InvalidInputError: As for `serve`.
        StorageError: As for `serve`.
    """

    def __init__(self, settings: ServiceSettings, *, on_ready: OnReady | None = None) -> None:
        self._socket = _listen(settings)
        self._server = _ReportingServer(
            uvicorn.Config(
                create_app(settings),
                access_log=False,
                log_config=None,  # logging is the program's, and its stdout is for results
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=settings.shutdown_seconds,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                http=OrderlyProtocol,
                loop="asyncio",
                ws="none",
            ),
            on_started=lambda: on_ready(self.url) if on_ready is not None else None,
        )
        self.url = _url(self._socket)

    def run(self) -> None:
        """Serve until `stop`, or a signal if this is the main thread."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Let `run` finish; from any thread."""
        self._server.should_exit = True

    def close(self) -> None:
        """Give the port back, if `run` has not done so."""
        self._socket.close()


class _ReportingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_started()


def _listen(settings: ServiceSettings) -> socket.socket:
    family, protocol, address = _resolve(settings)
    if not settings.public and settings.tokens is None:
        _check_loopback(settings.host, address[0])
    # The protocol by number: without it asyncio leaves Nagle's algorithm on, and the second answer
    # of a connection waits 40 ms for the client's acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)  # at once: until then another may bind the same port
    except OSError as error:
        listener.close()
        raise _refusal(settings, error) from error
    return listener


def _resolve(settings: ServiceSettings) -> tuple[socket.AddressFamily, int, Any]:
    try:
        found = socket.getaddrinfo(
            settings.host or None, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise InvalidInputError(
            f"host {settings.host!r} is unknown ({error}); give an address of this "
            "machine, such as 127.0.0.1"
        ) from error
    family, _, protocol, _, address = found[0]
    return family, protocol, address


def _check_loopback(host: str, address: str) -> None:
    if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        raise InvalidInputError(
            f"host {host!r} would offer the recordings to everyone who reaches this machine, and "
            "nobody is asked for a token; allowed is a loopback address such as 127.0.0.1: leave "
            "the host away, make tokens by `kdrec token` for --tokens, or say --public"
        )


def _refusal(settings: ServiceSettings, error: OSError) -> KdrecError:
    where = f"port {settings.port} of {settings.host}"
    if error.errno == errno.EADDRINUSE:
        return InvalidInputError(f"{where} is taken; give another, or --port 0 for a free one")
    if error.errno in (errno.EACCES, errno.EADDRNOTAVAIL):
        return InvalidInputError(
            f"{where} cannot be used: {error.strerror}; give an address of this machine and a port "
            "above 1023, or --port 0 for a free one"
        )
    return StorageError(f"{where} cannot be used: {error.strerror}; try again, or --port 0")


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return (
        f"http://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"http://{host}:{port}"
    )
