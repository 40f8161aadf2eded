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
from tests.programs import service

Logits = npt.NDArray[np.float32]
_SERVER = Path(__file__).with_name("xpublish_server.py")
_START_SECONDS = 60


def by_kdrec(url: str, caches: Iterator[Path]) -> Logits:
    """Through kdrec's client, with an empty cache."""
    recording = open_recording(url, cache=next(caches))
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


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--views", type=int, default=64)
    parser.add_argument("--classes", type=int, default=40)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--xpublish", metavar="PYTHON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        recording = folder / "recordings" / "bench.zarr"
        samples = make_shapes(options.samples, seed=0, num_points=64)
        plan = make_plan(samples, views=options.views, group=8, block_samples=1024)
        expected = make_recording(recording, samples, plan=plan, num_classes=options.classes)
        url = f"{stack.enter_context(service(recording.parent))}/bench"
        caches = (folder / f"cache{number}" for number in count())
        ways: dict[str, Callable[[], Logits]] = {
            "zarr over fsspec": partial(by_fsspec, f"{url}/zarr"),
            "zarr over obstore": partial(by_obstore, f"{url}/zarr"),
        }
        if options.xpublish:
            published = stack.enter_context(running_xpublish(options.xpublish, recording))
            ways["xpublish, zarr over fsspec"] = partial(by_fsspec, published)
        print(f"{options.views} views x {options.samples} samples x {options.classes} classes")
        for other, read in ways.items():
            pairs = [
                (_timed(read, expected), _timed(partial(by_kdrec, url, caches), expected))
                for _ in range(options.runs)
            ]
            print_pairs("kdrec, cached and checked", other, pairs,
                        amount=expected.nbytes / 1e6, unit="MB/s")  # fmt: skip


if __name__ == "__main__":
    main()
