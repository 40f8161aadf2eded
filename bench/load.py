"""Many clients fetch the same recording at once: errors, throughput, p99, memory, open files.

The service runs as a process of its own, the clients are connections of one event loop beside it,
each fetching a random shard after the other. Memory and open files are those of the service:
before, while the clients fetch, and two seconds after they left.

    python -m bench.load [--clients 500] [--seconds 60] [--samples 4096] [--workers 1]
"""

import argparse
import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from kdrec.samples import make_shapes
from kdrec.testing import make_plan, make_recording

_MEBIBYTE = 2**20


@dataclass(slots=True)
class Tally:
    """What the clients saw."""

    seconds: list[float] = field(default_factory=list)
    num_bytes: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    def fail(self, what: str) -> None:
        """Count an error."""
        self.errors[what] = self.errors.get(what, 0) + 1


async def _fetch(
    port: int, paths: dict[str, int], until: float, tally: Tally, order: random.Random
) -> None:
    """One client: a connection, one request after the other, each answer counted to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while time.monotonic() < until:
            path = order.choice(list(paths))
            started = time.perf_counter()
            writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            body = await reader.readexactly(length)
            if not head.startswith("http/1.1 200 ") or len(body) != paths[path]:
                tally.fail(head.partition("\r\n")[0])
            tally.seconds.append(time.perf_counter() - started)
            tally.num_bytes += length
    except (OSError, asyncio.IncompleteReadError) as error:
        tally.fail(type(error).__name__)
    finally:
        writer.close()


async def fetch_all(port: int, paths: dict[str, int], clients: int, seconds: float) -> Tally:
    """Let many clients fetch for some seconds; paths with the sizes they must have."""
    tally, until = Tally(), time.monotonic() + seconds
    await asyncio.gather(
        *(_fetch(port, paths, until, tally, random.Random(n)) for n in range(clients))  # noqa: S311
    )
    return tally


class _Watched:
    """Memory and open files of the service and its workers."""

    def __init__(self, pid: int) -> None:
        parent = psutil.Process(pid)
        self._processes = [parent, *parent.children(recursive=True)]

    def look(self) -> tuple[float, int]:
        """Resident MiB and open files, summed."""
        memory = sum(process.memory_info().rss for process in self._processes) / _MEBIBYTE
        return memory, sum(process.num_fds() for process in self._processes)


async def _run(url: str, pid: int, clients: int, seconds: float) -> None:
    ledger = httpx.get(f"{url}/v1/recordings/bench/ledger").json()["blocks"]
    paths = {
        f"/v1/recordings/bench/zarr/{key}": digest["size"]
        for block in ledger.values()
        for key, digest in block["files"].items()
    }
    port = int(url.rpartition(":")[2])
    await fetch_all(port, paths, 8, 2)  # a service that has just started is no measure
    await asyncio.sleep(2.5)
    watched = _Watched(pid)
    before, seen = watched.look(), []
    fetching = asyncio.create_task(fetch_all(port, paths, clients, seconds))
    while not fetching.done():
        await asyncio.sleep(min(5.0, seconds / 4))
        seen.append(watched.look())
    tally = await fetching
    await asyncio.sleep(2.5)
    after = watched.look()
    took = statistics.quantiles(tally.seconds, n=100)
    sizes = sorted(paths.values())
    print(
        f"{clients} clients for {seconds:.0f} s, {len(paths)} shards of {sizes[0]} to {sizes[-1]} B"
    )
    failed = sum(tally.errors.values())
    print(f"answers   {len(tally.seconds):,}, errors {failed} {tally.errors or ''}")
    print(f"speed     {len(tally.seconds) / seconds:,.0f} requests/s, "
          f"{tally.num_bytes / seconds / _MEBIBYTE:,.0f} MiB/s")  # fmt: skip
    print(f"seconds   median {took[49]:.3f}, p99 {took[98]:.3f}, most {max(tally.seconds):.3f}")
    print(
        "memory    " + ", ".join(f"{memory:.0f}" for memory, _ in (before, *seen, after)) + " MiB"
    )
    print("files     " + ", ".join(str(files) for _, files in (before, *seen, after)))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--samples", type=int, default=4096)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = make_shapes(options.samples, seed=0, num_points=8)
        plan = make_plan(samples, views=16, group=2, block_samples=1024, with_samples=False)
        make_recording(Path(folder) / "bench.zarr", samples, plan=plan, num_classes=40)
        command = [sys.executable, "-m", "kdrec.cli", "serve", folder, "--port", "0",
                   "--no-access-log", "--workers", str(options.workers)]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
            try:
                assert service.stdout is not None
                url = service.stdout.readline().strip()
                asyncio.run(_run(url, service.pid, options.clients, options.seconds))
            finally:
                service.terminate()


if __name__ == "__main__":
    main()
