"""The processes that answer: this one, or several that share a port."""

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.supervisors import Multiprocess

from kdrec.api.app import create_app
from kdrec.api.catalog import Catalog
from kdrec.api.logs import logging_config
from kdrec.api.metrics import RecordingMetrics, joint_registry
from kdrec.api.protocol import OrderlyProtocol
from kdrec.api.settings import ServiceSettings
from kdrec.api.state import ServiceState

# Longer than clients keep idle connections (httpx: 5 s), else one closes as it is used again.
_KEEP_ALIVE_SECONDS = 30
_START_SECONDS = 60.0
# prometheus_client reads it when it is loaded, and has no other way to be told.
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


class Runner(Protocol):
    """Answers on a socket."""

    def registry(self) -> CollectorRegistry:
        """The numbers of all that answer."""

    def run(self) -> None:
        """Answer until `stop`, or a signal if this is the main thread."""

    def stop(self) -> None:
        """Let `run` finish; from any thread."""


class SingleWorker:
    """Answers in this process.

    Args:
        settings: Of the service.
        listener: Of the port.
        on_started: Called when it answers.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        listener: socket.socket,
        *,
        on_started: Callable[[], None],
    ) -> None:
        app = create_app(settings)
        self._server = _ReportingServer(_config(settings, app), on_started=on_started)
        self._state = app.state.service
        self._listener = listener

    def registry(self) -> CollectorRegistry:
        assert isinstance(self._state, ServiceState)
        self._state.registry.register(RecordingMetrics(self._state.catalog))
        return self._state.registry

    def run(self) -> None:
        self._server.run(sockets=[self._listener])

    def stop(self) -> None:
        self._server.should_exit = True


class ManyWorkers:
    """Answers in several processes; one that dies is replaced.

    Args:
        settings: Of the service.
        listener: Of the port.
        metrics: Folder in which the workers keep their numbers.
        on_started: Called when all answer.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        listener: socket.socket,
        *,
        metrics: Path,
        on_started: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        config = _config(settings, _WorkerApp(settings))
        self._supervisor = _Supervisor(config, listener, metrics=metrics, on_started=on_started)

    def registry(self) -> CollectorRegistry:
        return joint_registry(self._metrics, Catalog(self._settings.root))

    def run(self) -> None:
        os.environ[_METRICS_FOLDER] = str(self._metrics)  # for the workers, which inherit it
        try:
            self._supervisor.run()
        finally:
            del os.environ[_METRICS_FOLDER]

    def stop(self) -> None:
        self._supervisor.should_exit.set()


@dataclass(frozen=True, slots=True)
class _WorkerApp:
    """Makes the application in a worker, which gets the settings only."""

    settings: ServiceSettings

    def __call__(self) -> FastAPI:
        parent = multiprocessing.parent_process()
        if parent is not None:
            threading.Thread(target=_stop_with, args=(parent,), daemon=True).start()
        return create_app(self.settings)


def _stop_with(parent: "multiprocessing.process.BaseProcess") -> None:
    """A killed parent cannot stop its workers, which would hold the port for ever."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


class _ReportingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_started()


class _Supervisor(Multiprocess):
    def __init__(
        self,
        config: uvicorn.Config,
        listener: socket.socket,
        *,
        metrics: Path,
        on_started: Callable[[], None],
    ) -> None:
        super().__init__(config, [listener])
        self._metrics = metrics
        self._on_started = on_started

    def init_processes(self) -> None:
        super().init_processes()
        ready = [p.wait_until_ready(_START_SECONDS, self.should_exit) for p in self.processes]
        if all(ready):
            self._on_started()

    def keep_subprocess_alive(self) -> None:
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            mark_process_dead(pid, str(self._metrics))  # type: ignore[no-untyped-call]


def _config(settings: ServiceSettings, app: FastAPI | _WorkerApp) -> uvicorn.Config:
    log_config = None  # logging is the program's, and its stdout is for results
    if settings.log_format is not None:
        log_config = logging_config(settings.log_format, access=settings.access_log)
    return uvicorn.Config(
        app,
        factory=not isinstance(app, FastAPI),
        workers=settings.workers,
        access_log=False,
        log_config=log_config,
        lifespan="off",
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=settings.shutdown_seconds,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        h11_max_incomplete_event_size=settings.max_header_bytes,  # our protocol reads it there
        http=OrderlyProtocol,
        loop="asyncio",
        ws="none",
    )
