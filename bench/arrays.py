"""All logits of a recording over HTTP into memory: kdrec's client, and zarr's own ways.

kdrec's client fetches from `kdrec serve` into an empty cache on disk and checks every file against
its digest. zarr-python reads the same address through fsspec and through obstore, keeps nothing and
checks the chunks' own checksums. With --xpublish, the interpreter of an environment that has
`xpublish`, `xpublish-zarr` and zarr 3, it also reads the same array from xpublish, which encodes it
anew.

    python -m bench.arrays [--samples 1024] [--views 64] [--classes 40] [--runs 5]
                           [--xpublish PYTHON]
"""

import argparse
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import zarr
import zarr.storage
from obstore.store import HTTPStore

from bench.pairs import print_pairs
from kdrec.client import open_recording
from kdrec.samples import make_shapes
from kdrec.testing import make_plan, make_recording
from tests.programs import KDREC, running_service

Logits = npt.NDArray[np.float32]
_SERVER = Path(__file__).with_name("xpublish_server.py")
_START_SECONDS = 60


@dataclass(frozen=True)  # without slots, so that its defaults can be read of the class
class Size:
    """Of the array: views x samples x classes."""

    samples: int = 1024
    views: int = 64
    classes: int = 40


def by_kdrec(url: str, caches: Iterator[Path]) -> Logits:
    """Through kdrec's client, with an empty cache; it is told ahead what it will read."""
    recording = open_recording(url, cache=next(caches))
    recording.fetch_ahead(range(recording.num_views))
    return np.stack([recording.read(view)[1] for view in range(recording.num_views)])


def by_fsspec(url: str) -> Logits:
    """Through zarr-python over fsspec."""
    return _logits(zarr.storage.FsspecStore.from_url(url, read_only=True))


def by_obstore(url: str) -> Logits:
    """Through zarr-python over obstore."""
    plain: Any = {"allow_http": True}
    return _logits(
        zarr.storage.ObjectStore(HTTPStore.from_url(url, client_options=plain), read_only=True)
    )


def _logits(store: Any) -> Logits:
    array = zarr.open_array(store, path="logits", mode="r")
    return np.asarray(array[:], dtype=np.float32)


@contextmanager
def running_xpublish(python: str, folder: Path) -> Iterator[str]:
    """The address of the array behind xpublish."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([python, str(_SERVER), str(folder), str(port)])
    url = f"http://127.0.0.1:{port}/datasets/recording/zarr"
    try:
        _wait(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(_START_SECONDS * 10):
        if process.poll() is not None:
            raise RuntimeError(f"xpublish ended with {process.returncode}")
        try:
            httpx.get(f"{url}/zarr.json").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("xpublish does not answer")


def _timed(read: Callable[[], Logits], expected: Logits) -> float:
    started = time.perf_counter()
    found = read()
    elapsed = time.perf_counter() - started
    if not np.array_equal(found, expected):
        raise RuntimeError("it read something else")
    return elapsed


def compare(size: Size, *, runs: int, xpublish: str | None) -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        recording = folder / "recordings" / "bench.zarr"
        samples = make_shapes(size.samples, seed=0, num_points=64)
        plan = make_plan(samples, views=size.views, group=8, block_samples=1024)
        expected = make_recording(recording, samples, plan=plan, num_classes=size.classes)
        serve = [*KDREC, "serve", str(recording.parent), "--port", "0"]
        url = f"{stack.enter_context(running_service(serve))}/v1/recordings/bench"
        caches = (folder / f"cache{number}" for number in count())
        ways: dict[str, Callable[[], Logits]] = {
            "zarr over fsspec": partial(by_fsspec, f"{url}/zarr"),
            "zarr over obstore": partial(by_obstore, f"{url}/zarr"),
        }
        if xpublish:
            published = stack.enter_context(running_xpublish(xpublish, recording))
            ways["xpublish, zarr over fsspec"] = partial(by_fsspec, published)
        print(f"{size.views} views x {size.samples} samples x {size.classes} classes")
        for other, read in ways.items():
            pairs = [
                (_timed(read, expected), _timed(partial(by_kdrec, url, caches), expected))
                for _ in range(runs)
            ]
            print_pairs("kdrec, cached and checked", other, pairs,
                        amount=expected.nbytes / 1e6, unit="MB/s")  # fmt: skip


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=Size.samples)
    parser.add_argument("--views", type=int, default=Size.views)
    parser.add_argument("--classes", type=int, default=Size.classes)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--xpublish", metavar="PYTHON")
    options = parser.parse_args()
    size = Size(samples=options.samples, views=options.views, classes=options.classes)
    compare(size, runs=options.runs, xpublish=options.xpublish)


if __name__ == "__main__":
    main()
