"""Records a second of `kdrec record` against a bare loop over the same teacher and batches.

The bare loop has the data in memory, applies the same augmentation, runs the teacher and keeps the
logits in a list: no probe, no proof, no encoding, no disk. Both run in turn, several times; printed
are the ratios of each pair.

    python -m bench.recording [--samples 608] [--views 16] [--runs 5] [--teacher pointnet]
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
from kdrec.recorder import (
    RecordProgress,
    RecordRequest,
    Teacher,
    TeacherOptions,
    load_teacher,
    record,
)
from kdrec.samples import SampleSet, make_shapes


class _Watch:
    """Notes when the first block begins, after probes and proof."""

    def __init__(self) -> None:
        self.began = 0.0

    def on_probe(self, report: object, score: object) -> None: ...

    def on_wait(self) -> None: ...

    def on_found(self, found: object) -> None: ...

    def on_progress(self, progress: RecordProgress) -> None:
        if not self.began:
            self.began = time.perf_counter()
            self.before = progress.new


@torch.inference_mode()
def _bare(request: RecordRequest, teacher: Teacher, samples: SampleSet) -> float:
    """Seconds of what a script would do: draw, augment, ask the network, keep the logits."""
    assert isinstance(request.batch_size, int)
    started = time.perf_counter()
    kept = []
    for view in range(request.views):
        numbers = np.arange(len(samples))
        drawn = request.augmentation.draw(request.seed, views=view, samples_B=numbers)
        for start in range(0, len(samples), request.batch_size):
            rows = slice(start, start + request.batch_size)
            points = torch.from_numpy(samples.points_SND[rows])
            inputs = request.augmentation.apply(points, drawn.rows(rows))
            kept.append(teacher.module(inputs).numpy())
    return time.perf_counter() - started


def _recorded(request: RecordRequest, teacher: Teacher, samples: SampleSet) -> tuple[float, float]:
    """Seconds for all of it, and seconds a record from the first batch to the seal."""
    watch, started = _Watch(), time.perf_counter()
    record(request, teacher, samples, watch)
    ended = time.perf_counter()
    records = request.views * len(samples)
    return ended - started, (ended - watch.began) / (records - watch.before)


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
        whole: list[tuple[float, float]] = []
        loop: list[tuple[float, float]] = []
        for run in range(-1, options.runs):
            request = RecordRequest(
                out=Path(folder) / f"run{run}.zarr",
                teacher=asked,
                augmentation=parse_augmentation("scale=0.9:1.1,rotate_y=15,translate=0.05"),
                views=options.views,
                class_map=class_map,
            )
            bare = _bare(request, teacher, samples)
            all_of_it, a_record = _recorded(request, teacher, samples)
            if run >= 0:  # the first pair warms up
                whole.append((bare, all_of_it))
                loop.append((bare, a_record * options.views * len(samples)))
    records = options.samples * options.views
    print(f"{options.teacher}, {options.samples} clouds x {options.views} views, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    print_pairs("kdrec record, all of it", "bare loop", whole, amount=records, unit="records/s")
    print_pairs("kdrec record, after the probes", "bare loop", loop, amount=records,
                unit="records/s")  # fmt: skip


if __name__ == "__main__":
    main()
