"""An epoch of points, parameters and logits over HTTP: the first one fetches, later ones do not.

A real server on a free port of this machine, one client with an empty cache, `RecordedViews` in
batches; beside it the same epochs from the local folder.

    python -m bench.serving [--samples 2048] [--points 1024] [--batch 256] [--runs 5]
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from bench.pairs import print_pairs
from kdrec.api import ServiceSettings
from kdrec.api.server import BoundService
from kdrec.client import open_recording
from kdrec.samples import make_shapes
from kdrec.student import RecordedViews
from kdrec.testing import make_plan, make_recording


def _epoch(views: RecordedViews, epoch: int, batch: int) -> float:
    started = time.perf_counter()
    views.set_epoch(epoch)
    for index in np.array_split(np.arange(len(views)), max(1, len(views) // batch)):
        views.batch(index)
    return time.perf_counter() - started


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    samples = make_shapes(options.samples, seed=0, num_points=options.points)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.zarr"
        plan = make_plan(samples, views=8, group=8, block_samples=1024, encoding="half")
        make_recording(path, samples, plan=plan, num_classes=40)
        service = BoundService(ServiceSettings(root=Path(folder), port=0))
        thread = threading.Thread(target=service.run)
        thread.start()
        first, later = [], []
        try:
            url = f"{service.url}/v1/recordings/bench"
            for run in range(options.runs):
                started = time.perf_counter()
                local = RecordedViews(open_recording(path))
                local_first = time.perf_counter() - started + _epoch(local, 0, options.batch)
                started = time.perf_counter()
                remote = RecordedViews(open_recording(url, cache=Path(folder) / f"cache{run}"))
                remote_first = time.perf_counter() - started + _epoch(remote, 0, options.batch)
                first.append((local_first, remote_first))
                later.append((_epoch(local, 1, options.batch), _epoch(remote, 1, options.batch)))
        finally:
            service.stop()
            thread.join()
            service.close()
    print(f"{options.samples} clouds of {options.points} points, batches of {options.batch}")
    print_pairs("HTTP, first epoch with opening", "local, the same", first,
                amount=options.samples, unit="samples/s")  # fmt: skip
    print_pairs("HTTP, later epochs", "local, the same", later,
                amount=options.samples, unit="samples/s")  # fmt: skip


if __name__ == "__main__":
    main()
