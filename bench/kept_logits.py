"""Finding the largest logits of a record and the mass of the rest, by numpy and by torch.

What `topk` keeps is found where the logits lie: on the host by numpy, on a GPU by torch, with the
same result (docs/design/006-logits-that-stay.md). Each block goes through it twice, to be written
and to be checked.

    python -m bench.kept_logits [--device cpu] [--classes 40 1000 21841] [--kept 32] [--runs 5]
"""

import argparse
import time

import numpy as np
import torch

from bench.pairs import print_pairs
from kdrec.augment import Array
from kdrec.store import SparseLogits

_VALUES = 2**22


def _seconds(logits_BC: Array, kept: int) -> float:
    """Of one run; what is found has come to the host at its end."""
    started = time.perf_counter()
    SparseLogits.of(logits_BC, kept)
    return time.perf_counter() - started


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", help="of torch's")
    parser.add_argument("--classes", type=int, nargs="+", default=[40, 1000, 21841])
    parser.add_argument("--kept", type=int, default=32)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    for num_classes in options.classes:
        records = max(1, _VALUES // num_classes)
        here_BC = np.random.default_rng(0).normal(size=(records, num_classes)).astype(np.float32)
        there_BC = torch.from_numpy(here_BC).to(options.device)
        pairs = [
            (_seconds(here_BC, options.kept), _seconds(there_BC, options.kept))
            for _ in range(-1, options.runs)
        ]
        print(f"\n{num_classes} classes, {options.kept} kept, {records} records")
        print_pairs(f"torch, {options.device}", "numpy", pairs[1:], amount=records,
                    unit="records/s")  # fmt: skip


if __name__ == "__main__":
    main()
