"""Real servers in threads, and the numbers that they tell."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx

from kdrec.api import ServiceSettings
from kdrec.api.server import BoundService


@contextmanager
def serving(settings: ServiceSettings) -> Iterator[BoundService]:
    """A server that answers."""
    ready = threading.Event()
    with closing(BoundService(settings, on_ready=lambda _: ready.set())) as service:
        thread = threading.Thread(target=service.run)
        thread.start()
        try:
            assert ready.wait(30)
            yield service
        finally:
            service.stop()
            thread.join(30)
    assert not thread.is_alive()


@contextmanager
def running(root: Path | str, **settings: Any) -> Iterator[str]:
    """The address of one, over a folder."""
    with serving(ServiceSettings(root=root, port=0, **settings)) as service:
        yield service.url


def numbers(port: int | None) -> dict[str, float]:
    """The metrics on a port."""
    lines = httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }
