"""Numbers for Prometheus, on a port of their own."""

import threading
from collections.abc import Iterator
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from kdrec.api.catalog import Catalog
from kdrec.api.names import RecordingAddress
from kdrec.errors import InvalidInputError, KdrecError

_SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
_METHODS = frozenset({"GET", "HEAD"})
_MOST_LABELS = 1024  # whose counters are at hand; of made-up methods there are infinitely many
_LOOK_SECONDS = 5.0


class RequestMetrics:
    """What is counted of requests.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        labels = ("route", "method", "status")
        self._requests = Counter(
            "kdrec_requests", "Requests that were answered.", labels, registry=registry
        )
        self._bytes = Counter(
            "kdrec_response_bytes", "Bytes of bodies sent.", ("route",), registry=registry
        )
        self._seconds = Histogram(
            "kdrec_request_seconds", "From the request to the end of its answer.", ("route",),
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._errors = Counter("kdrec_errors", "Problems, by kind.", ("kind",), registry=registry)
        self.in_flight = Gauge(
            "kdrec_requests_in_flight", "Requests under way, open streams among them.",
            registry=registry, multiprocess_mode="livesum",
        )  # fmt: skip
        self._of = lru_cache(_MOST_LABELS)(self._labelled)

    def count(
        self, route: str, method: str, status: int, *, sent: int, seconds: float, kind: str
    ) -> None:
        """Count one request.

        Args:
            route: Its pattern.
            method: Of any name; other than GET and HEAD count together.
            status: Of the answer.
            sent: Bytes of the body.
            seconds: It took.
            kind: Of the problem it was answered with, if any.
        """
        requests, num_bytes, durations = self._of(route, method, status)
        requests.inc()
        num_bytes.inc(sent)
        durations.observe(seconds)
        if kind or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._errors.labels(kind or "service").inc()

    def _labelled(self, route: str, method: str, status: int) -> tuple[Counter, Counter, Histogram]:
        return (
            self._requests.labels(route, method if method in _METHODS else "other", str(status)),
            self._bytes.labels(route),
            self._seconds.labels(route),
        )


class RecordingMetrics(Collector):
    """How many recordings and blocks there are, looked up when somebody asks.

    Args:
        catalog: Of the recordings.
        patience: Seconds after which storage that does not answer counts as away.
    """

    def __init__(self, catalog: Catalog, *, patience: float = _LOOK_SECONDS) -> None:
        self._catalog = catalog
        self._patience = patience
        self._looking: threading.Thread | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found: list[tuple[int, int, int]] = []
        if self._looking is None or not self._looking.is_alive():
            # A thread that may be left hanging: on a mount that is away a look never ends.
            self._looking = threading.Thread(target=lambda: found.append(self._look()), daemon=True)
            self._looking.start()
            self._looking.join(self._patience)
        yield GaugeMetricFamily("kdrec_storage_up", "Whether it answers.", value=len(found))
        for recordings, committed, planned in found:
            yield GaugeMetricFamily("kdrec_recordings", "Sound recordings.", value=recordings)
            yield GaugeMetricFamily("kdrec_blocks_committed", "Blocks recorded.", value=committed)
            yield GaugeMetricFamily("kdrec_blocks_planned", "Blocks of all plans.", value=planned)

    def _look(self) -> tuple[int, int, int]:
        recordings = committed = planned = 0
        for name in self._catalog.names():
            try:
                recording = self._catalog.find(RecordingAddress.parse(name))
                committed += len(recording.committed())
            except KdrecError:
                continue  # the list of recordings tells what is wrong with it
            recordings, planned = recordings + 1, planned + len(recording.reader.grid)
        return recordings, committed, planned


class MetricsPort:
    """Serves metrics until it is closed.

    Args:
        registry: What is served.
        host: Address to listen on.
        port: 0 for any free one.

    Raises:
        InvalidInputError: The port cannot be had.
    """

    def __init__(self, registry: CollectorRegistry, *, host: str, port: int) -> None:
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise InvalidInputError(
                f"metrics port {port} of {host} cannot be used: {error.strerror}; give another"
            ) from error

    @property
    def port(self) -> int:
        """The one it has."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Give the port back."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def joint_registry(folder: Path, catalog: Catalog) -> CollectorRegistry:
    """The numbers of all workers, which keep them in files of a folder."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    registry.register(RecordingMetrics(catalog))
    return registry
