"""Records a second of `kdrec record` against a bare loop over the same teacher and batches.

The bare loop has the data in memory, applies the same augmentation, runs the teacher and keeps the
logits in a list: no probe, no proof, no encoding, no disk. Both run in turn, several times; printed
are the ratios of each pair.

    python -m bench.recording [--samples 608] [--views 8] [--runs 5] [--teacher pointnet]
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bench.pairs import print_pairs
from kdrec.augment import parse_augmentation
from kdrec.models import build_model
from kdrec.recorder import RecordRequest, Teacher, TeacherOptions, load_teacher, record
from kdrec.recorder.passes import TeacherPass
from kdrec.samples import SampleSet, make_shapes


class _Silent:
    def on_probe(self, report: object, score: object) -> None: ...
    def on_wait(self) -> None: ...
    def on_progress(self, progress: object) -> None: ...


def _bare(request: RecordRequest, teacher: Teacher, samples: SampleSet) -> float:
    bare = TeacherPass(teacher, samples, request.augmentation, request.seed, request.batch_size)
    started = time.perf_counter()
    kept = []
    for view in range(request.views):
        numbers = np.arange(len(samples))
        kept.append(bare.logits(request.augmentation.draw(request.seed, views=view,
                                                          samples_B=numbers)))  # fmt: skip
    return time.perf_counter() - started


def _recorded(request: RecordRequest, teacher: Teacher, samples: SampleSet) -> float:
    started = time.perf_counter()
    record(request, teacher, samples, _Silent())
    return time.perf_counter() - started


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=608)
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--teacher", default="pointnet")
    options = parser.parse_args()
    samples = make_shapes(options.samples, seed=0, num_points=1024)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "teacher.pt"
        torch.save(build_model(options.teacher, num_classes=40).state_dict(), weights)
        asked = TeacherOptions(factory=options.teacher, weights=weights)
        teacher = load_teacher(asked)
        class_map = tuple(range(len(samples.class_names or ())))
        pairs = []
        for run in range(-1, options.runs):
            request = RecordRequest(
                out=Path(folder) / f"run{run}.zarr",
                teacher=asked,
                augmentation=parse_augmentation("scale=0.9:1.1,rotate_y=15,translate=0.05"),
                views=options.views,
                class_map=class_map,
            )
            pair = _bare(request, teacher, samples), _recorded(request, teacher, samples)
            if run >= 0:
                pairs.append(pair)
    records = options.samples * options.views
    print(f"{options.teacher}, {options.samples} clouds x {options.views} views, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    print_pairs("kdrec record, all of it", "bare loop", pairs, amount=records, unit="records/s")


if __name__ == "__main__":
    main()
