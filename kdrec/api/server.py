"""Running the service: a port of one's own, a process in the foreground, an orderly stop."""

import errno
import ipaddress
import os
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prometheus_client import CollectorRegistry

from kdrec.api.metrics import MetricsPort
from kdrec.api.settings import ServiceSettings
from kdrec.api.workers import ManyWorkers, Runner, SingleWorker
from kdrec.errors import InvalidInputError, KdrecError, StorageError

OnReady = Callable[[str], None]
_BACKLOG = 2048
_OPEN_FILES = 2**16


def serve(settings: ServiceSettings, *, on_ready: OnReady | None = None) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; answers under way are finished.

    Args:
        settings: What, and where.
        on_ready: Called once with the address, when it answers.

    Raises:
        InvalidInputError: A port is taken, or the host is none, or not of this machine only.
        StorageError: The network refuses.
    """
    _allow_open_files()
    with closing(BoundService(settings, on_ready=on_ready)) as service, suppress(KeyboardInterrupt):
        service.run()


class BoundService:
    """A service that has its ports already: the address is known, and nobody else can take it.

    Args:
        settings: What, and where.
        on_ready: Called once with the address, when it answers.

    Raises:
        InvalidInputError: As for `serve`.
        StorageError: As for `serve`.
    """

    def __init__(self, settings: ServiceSettings, *, on_ready: OnReady | None = None) -> None:
        self._socket = _listen(settings)
        self.url = _url(self._socket)
        with ExitStack() as stack:
            stack.callback(self._socket.close)
            self._runner = self._make_runner(settings, on_ready or (lambda _: None), stack)
            self.metrics_port = _offer_metrics(settings, self._runner.registry(), stack)
            self._closing = stack.pop_all()

    def _make_runner(
        self, settings: ServiceSettings, on_ready: OnReady, stack: ExitStack
    ) -> Runner:
        if settings.workers == 1:
            return SingleWorker(settings, self._socket, on_started=lambda: on_ready(self.url))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="kdrec-metrics-")))
        return ManyWorkers(
            settings, self._socket, metrics=folder, on_started=lambda: on_ready(self.url)
        )

    def run(self) -> None:
        """Serve until `stop`, or a signal if this is the main thread."""
        self._runner.run()

    def stop(self) -> None:
        """Let `run` finish; from any thread."""
        self._runner.stop()

    def close(self) -> None:
        """Give the ports back, if `run` has not done so."""
        self._closing.close()


def _allow_open_files() -> None:
    """Every client and every file that is being sent is an open file; many systems begin with 1024.

    For this process and the workers it starts.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems have a bound that they do not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _offer_metrics(
    settings: ServiceSettings, registry: CollectorRegistry, stack: ExitStack
) -> int | None:
    if settings.metrics_port is None:
        return None
    port = MetricsPort(registry, host=settings.metrics_host, port=settings.metrics_port)
    stack.callback(port.close)
    return port.port


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
