"""kdrec beside nginx, sending the same shards of the same recordings.

Three servers, asked in turn: nginx alone (docker/nginx/nginx-static.conf), `kdrec serve` alone, and
nginx that asks kdrec and sends the file itself (docker/nginx/nginx.conf). Warm: `wrk` asks for one
shard over and over. Cold: every shard once, after the page cache forgot it. The shipped limit of
requests is lifted, the rest of the configuration is as shipped; one process of kdrec, one worker of
nginx a core.

The servers have the first core of this machine to themselves and the clients the last one, so that
who needs more of the processor pays for it, and the client's work slows no server. Then the ways of
`bench.arrays`: kdrec's client, zarr-python's own, and with --xpublish that server.

    python -m bench.nginx [--seconds 2] [--runs 3] [--connections 8] [--sizes 25kB 1MB 16MB]
                          [--xpublish PYTHON]

wrk and nginx are Debian packages of these names.
"""

import argparse
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from bench import arrays
from bench.pairs import print_pairs
from kdrec.samples import make_shapes
from kdrec.testing import make_plan, make_recording
from tests.docker.nginx import running_nginx
from tests.programs import KDREC, running_service

_ACCEL = "/internal/recordings/"
_UNLIMITED = {"limit_req zone=requests burst=1000 delay=800;": ""}
_SAMPLES = 1024


@dataclass(frozen=True, slots=True)
class Case:
    """A recording whose shards of logits have about one size.

    Attributes:
        name: The size.
        classes: With `block_samples`, makes the size.
        views: With `block_samples`, makes the number of shards.
    """

    name: str
    classes: int
    block_samples: int
    views: int


@dataclass(frozen=True, slots=True)
class Server:
    """Something that sends shards.

    Attributes:
        name: For the table.
        below: Address of the recordings' files, with `{}` for a recording.
    """

    name: str
    below: str


CASES = (
    Case("25kB", classes=64, block_samples=108, views=40),
    Case("1MB", classes=286, block_samples=1024, views=64),
    Case("16MB", classes=4576, block_samples=1024, views=12),
)


@contextmanager
def only_on(core: int) -> Iterator[None]:
    """Keep what this thread does and starts on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running_servers(root: Path, folder: Path) -> Iterator[tuple[Server, Server, Server]]:
    """The web server alone, kdrec alone, and both, over the same folder."""
    with ExitStack() as stack:
        serve = [*KDREC, "serve", str(root), "--port", "0"]
        alone = stack.enter_context(running_service(serve))
        asked = stack.enter_context(running_service([*serve, "--accel-prefix", _ACCEL]))
        start_nginx = partial(running_nginx, recordings=root, changes=_UNLIMITED)
        static, both = folder / "static", folder / "both"
        static.mkdir()
        both.mkdir()
        plain = stack.enter_context(start_nginx(static, "nginx-static.conf"))
        front = stack.enter_context(start_nginx(both, services=[asked]))
        yield (
            Server("nginx alone", f"{plain.url}/recordings/{{}}.zarr"),
            Server("kdrec alone", f"{alone}/v1/recordings/{{}}/zarr"),
            Server("nginx + kdrec's permission", f"{front.recordings}/{{}}/zarr"),
        )


def warm_seconds(url: str, *, seconds: int, connections: int) -> float:
    """Seconds a request, of one shard over and over."""
    load = ["wrk", "--threads", "1", "--connections", f"{connections}", "--duration", f"{seconds}s"]
    done = subprocess.run([*load, url], capture_output=True, text=True, check=True)
    failed = re.search(r"Non-2xx.*|Socket errors.*", done.stdout)
    if failed:
        raise RuntimeError(f"{url}: {failed[0]}")
    found = re.search(r"Requests/sec:\s*([0-9.]+)", done.stdout)
    assert found is not None, done.stdout
    return 1 / float(found[1])


def cold_seconds(urls: Sequence[str], files: Sequence[Path], *, connections: int) -> float:
    """Seconds a request, of every shard once, none of them in the page cache."""
    _forget(files)
    shares = [urls[first::connections] for first in range(connections)]
    started = time.perf_counter()
    with ThreadPoolExecutor(connections) as clients:
        received = sum(clients.map(_receive, filter(None, shares)))
    elapsed = time.perf_counter() - started
    expected = sum(file.stat().st_size for file in files)
    if received < expected:
        raise RuntimeError(f"{urls[0]} ...: {received} bytes came, the files have {expected}")
    return elapsed / len(urls)


def _forget(files: Sequence[Path]) -> None:
    """Take files out of the page cache; they were flushed when they were recorded."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _receive(urls: Sequence[str]) -> int:
    """Ask for all over one connection, and count what comes; an HTTP client would be the brake."""
    address = urlsplit(urls[0])
    assert address.hostname is not None
    heads = [f"GET {urlsplit(url).path} HTTP/1.1\r\nHost: bench\r\n" for url in urls]
    heads[-1] += "Connection: close\r\n"
    buffer = bytearray(1 << 20)
    with socket.create_connection((address.hostname, address.port or 80)) as connection:
        connection.sendall("".join(f"{head}\r\n" for head in heads).encode())
        return sum(iter(partial(connection.recv_into, buffer), 0))


def measure(case: Case, root: Path, servers: Sequence[Server], options: argparse.Namespace) -> None:
    """Print the ratios of one size."""
    files = sorted((root / f"{case.name}.zarr" / "logits" / "c").rglob("0"))
    files = [file for file in files if file.is_file()]
    keys = [file.relative_to(root / f"{case.name}.zarr").as_posix() for file in files]
    size = sum(file.stat().st_size for file in files) / len(files)
    print(f"\n{case.name}: {len(files)} shards of {size / 1e3:,.0f} kB")

    def warm(server: Server) -> float:
        url = f"{server.below.format(case.name)}/{keys[0]}"
        return warm_seconds(url, seconds=options.seconds, connections=options.connections)

    def cold(server: Server) -> float:
        urls = [f"{server.below.format(case.name)}/{key}" for key in keys]
        return cold_seconds(urls, files, connections=options.connections)

    for state, way in (("warm", warm), ("cold", cold)):
        _compare(state, way, servers, size=size, runs=options.runs)


def _compare(
    state: str, way: Callable[[Server], float], servers: Sequence[Server], *, size: float, runs: int
) -> None:
    taken = [[way(server) for server in servers] for _ in range(runs)]
    amount, unit = (1.0, "requests/s") if size < 1e5 else (size / 1e9, "GB/s")
    for place, server in enumerate(servers[1:], start=1):
        pairs = [(run[0], run[place]) for run in taken]
        print_pairs(f"{server.name}, {state}", f"{servers[0].name}, {state}", pairs,
                    amount=amount, unit=unit)  # fmt: skip


def record(case: Case, root: Path) -> None:
    """Write the recording of a case."""
    samples = make_shapes(_SAMPLES, seed=0, num_points=8)
    plan = make_plan(
        samples, views=case.views, group=1, block_samples=case.block_samples, augment="normalize"
    )
    make_recording(root / f"{case.name}.zarr", samples, plan=plan, num_classes=case.classes)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--connections", type=int, default=8)
    names = [case.name for case in CASES]
    parser.add_argument("--xpublish", metavar="PYTHON")
    parser.add_argument("--sizes", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "recordings"
        cases = [case for case in CASES if case.name in options.sizes]
        for case in cases:
            record(case, root)
        cores = sorted(os.sched_getaffinity(0))
        with ExitStack() as stack:
            with only_on(cores[0]):
                servers = stack.enter_context(running_servers(root, Path(folder)))
            with only_on(cores[-1]):
                for case in cases:
                    measure(case, root, servers, options)
    print("\nA whole array over HTTP, by its clients; nothing is pinned")
    arrays.compare(arrays.Size(), runs=options.runs, xpublish=options.xpublish)


if __name__ == "__main__":
    main()
