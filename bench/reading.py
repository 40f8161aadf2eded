"""Reading a shuffled epoch of logits: kdrec's reader against a float16 memory map.

The memory map is the least that anything could do: no parameters, no check, no damage found.

    python -m bench.reading [--samples 9840] [--classes 40] [--batch 256] [--runs 7]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.pairs import print_pairs
from kdrec.client import open_recording
from kdrec.samples import make_shapes
from kdrec.testing import make_plan, make_recording


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=9840)
    parser.add_argument("--classes", type=int, default=40)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    views = 8
    samples = make_shapes(options.samples, seed=0, num_points=32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.zarr"
        plan = make_plan(samples, views=views, group=views, block_samples=2048, encoding="half")
        logits = make_recording(path, samples, plan=plan, num_classes=options.classes)
        logits.astype(np.float16).tofile(Path(folder) / "logits.f16")
        mapped = np.memmap(Path(folder) / "logits.f16", np.float16, "r", shape=logits.shape)
        orders = np.random.Generator(np.random.PCG64(0)).permutation(
            np.tile(np.arange(options.samples), (views, 1)), axis=1
        )

        def batches(view: int) -> list[np.ndarray]:
            return np.array_split(orders[view], options.samples // options.batch)

        cold, warm = [], []
        for _ in range(options.runs):
            started = time.perf_counter()
            for view in range(views):
                for index in batches(view):
                    mapped[view, index].astype(np.float32)
            middle = time.perf_counter()
            recording = open_recording(path)
            for view in range(views):
                for index in batches(view):
                    recording.read(view, index)
            cold.append((middle - started, time.perf_counter() - middle))
            again = time.perf_counter()
            for view in range(views):
                for index in batches(view):
                    recording.read(view, index)
            warm.append((middle - started, time.perf_counter() - again))
    records = views * options.samples
    print(f"{views} views x {options.samples} samples x {options.classes} classes, "
          f"batches of {options.batch}, shuffled")  # fmt: skip
    print_pairs("kdrec: open, check, decode, gather", "memmap", cold, amount=records, unit="rec/s")
    print_pairs("kdrec: gather once decoded", "memmap", warm, amount=records, unit="rec/s")


if __name__ == "__main__":
    main()
