"""Memory of `kdrec record` against the number of samples, streamed from a data set.

Each size is recorded by a process of its own, over a data set that makes its clouds when asked and
a teacher that costs nothing. Samples beyond 16 MiB lie in a temporary file. Printed is the most
private memory (RssAnon, which the system cannot take back) beside what the points would take.

    python -m bench.many_samples [--samples 62500 250000 1000000] [--views 2]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

NUM_POINTS, _CLASSES, _MEBI = 64, 40, 2**20
_LOOK_SECONDS = 0.05


class SyntheticClouds:
    """A data set of any size: each cloud is cut from a fixed table of numbers, by its number.

    Args:
        count: N.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._table = np.random.Generator(np.random.PCG64(0)).normal(size=(4096, 3))

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, sample: int) -> tuple[npt.NDArray[np.float64], int]:
        start = sample * 31 % (len(self._table) - NUM_POINTS)
        return self._table[start : start + NUM_POINTS] * (1 + sample * 1e-6), sample % _CLASSES


class QuickTeacher(nn.Module):
    """Logits from the extent of a cloud."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.head = nn.Linear(3, _CLASSES)
        self.head.weight.data = torch.randn(_CLASSES, 3, generator=generator)
        self.head.bias.data.zero_()

    def forward(self, points_BN3: Tensor) -> Tensor:
        logits_BC: Tensor = self.head(points_BN3.amax(dim=1))
        return logits_BC


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[62_500, 250_000, 1_000_000])
    parser.add_argument("--views", type=int, default=2)
    options = parser.parse_args()
    print_memory(options.samples, views=options.views)


def print_memory(counts: Sequence[int], *, views: int) -> None:
    """Record so many samples, one number after the other, and print what it took."""
    print(f"{'samples':>12}{'points':>14}{'private memory':>18}{'seconds':>10}")
    for count in counts:
        started = time.monotonic()
        peak = record(count, views)
        points = count * NUM_POINTS * 3 * 4 / _MEBI
        seconds = time.monotonic() - started
        print(
            f"{count:12,}{points:10,.0f} MiB{peak / _MEBI:14,.0f} MiB{seconds:10,.0f}", flush=True
        )


def record(count: int, views: int) -> int:
    """Record so many samples in a process of its own; its most private memory, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "kdrec.cli", "record", str(Path(folder) / "many.zarr"),
            "--teacher", "bench.many_samples:QuickTeacher",
            "--data", "bench.many_samples:SyntheticClouds", "--data-arg", f"count={count}",
            "--views", str(views), "--augment", "scale=0.9:1.1", "--batch-size", "512",
            "--threads", "1", "--without-samples",
        ]  # fmt: skip
        env = os.environ | {"KDREC_SAMPLE_MEMORY": str(16 * _MEBI)}
        with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
            peak = Peak(process.pid)
            peak.start()
            code = process.wait()
        peak.join()
    if code:
        raise SystemExit(f"kdrec record ended with {code}")
    return peak.num_bytes


class Peak(threading.Thread):
    """Looks at the private memory of a process until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self.num_bytes = 0

    def run(self) -> None:
        while True:
            try:
                lines = self._status.read_text().splitlines()
            except OSError:
                return
            found = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
            if not found:
                return  # it ended
            self.num_bytes = max(self.num_bytes, 1024 * int(found[0]))
            time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    main()
