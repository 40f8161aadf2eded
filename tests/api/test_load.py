"""A small version of bench/load.py: many clients, no error, and nothing stays open."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from bench.load import fetch_all
from kdrec.store import LocalStorage


def test_many_clients_at_once_get_every_byte_and_leave_nothing_open(
    finished: Path, serve_folder: Callable[..., str]
) -> None:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not list open files")
    storage = LocalStorage(finished / "mn.zarr")
    sizes = {f"/v1/recordings/mn/zarr/{key}": storage.size(key) for key in storage.keys()}  # noqa: SIM118
    url = serve_folder(finished, max_bytes=20_000)

    def opened() -> int:
        folder = str(finished.resolve())
        links = Path("/proc/self/fd").iterdir()
        return sum(os.path.realpath(link).startswith(folder) for link in links)

    before = opened()  # by other tests in this process
    tally = asyncio.run(fetch_all(int(url.rpartition(":")[2]), sizes, 60, 1.5))
    assert tally.errors == {}
    assert len(tally.seconds) >= 60
    for _ in range(1200):  # a loaded machine takes its time
        if opened() <= before:
            break
        asyncio.run(asyncio.sleep(0.05))
    assert opened() <= before
    assert httpx.get(f"{url}/readyz").status_code == 200
