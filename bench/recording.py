"""Records a second of `kdrec record` against a bare loop over the same teacher and batches.

The bare loop has the data in memory, applies the same augmentation, runs the teacher and keeps the
logits in a list: no probe, no proof, no encoding, no disk. Both run in turn, several times; printed
are the ratios of each pair, and where the time of kdrec goes. Each teacher is asked about as many
views as the bare loop does in --seconds, one at least.

    python -m bench.recording [--teachers pointnet-s pointnet dgcnn] [--samples 608]
        [--seconds 60] [--runs 3] [--device cpu]

Peak memory against the number of samples: python -m bench.many_samples
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bench.pairs import print_pairs
from kdrec.augment import parse_augmentation
from kdrec.models import build_model
from kdrec.recorder import (
    BlockReport,
    Failure,
    RecordProgress,
    RecordRequest,
    Teacher,
    TeacherOptions,
    load_teacher,
    record,
)
from kdrec.samples import SampleSet, make_shapes
from kdrec.store import Block

_CLASSES, _BATCH = 40, 32
_AUGMENTATION = parse_augmentation("scale=0.9:1.1,rotate_y=15,translate=0.05")


class _Watch:
    """Notes when the first batch is done, after probes and proof, and hears of every block."""

    def __init__(self) -> None:
        self.began = 0.0
        self.blocks: list[BlockReport] = []

    def on_probe(self, report: object, score: object) -> None: ...

    def on_wait(self) -> None: ...

    def on_found(self, found: object) -> None: ...

    def on_progress(self, progress: RecordProgress) -> None:
        if not self.began:
            self.began = time.perf_counter()
            self.before = progress.new

    def on_block(self, report: BlockReport) -> None:
        self.blocks.append(report)

    def on_failure(self, failure: Failure) -> None: ...

    def on_lost(self, block: Block) -> None: ...


@dataclass(frozen=True, slots=True)
class _Bare:
    """What a bare loop took: seconds by the clock, and of the processor."""

    clock: float
    processor: float


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What a recording took, in seconds.

    Attributes:
        whole: All of it.
        processor: Of the processor, by all threads.
        before: Until the first batch of the first block was done.
        teacher: In blocks: drawing, augmenting, asking.
        writing: Encoding and writing, in a thread beside the teacher.
        loop: From the first batch to the seal, stretched to all records.
    """

    whole: float
    processor: float
    before: float
    teacher: float
    writing: float
    loop: float


@torch.inference_mode()
def _bare(request: RecordRequest, teacher: Teacher, samples: SampleSet) -> _Bare:
    """What a script would do: draw, augment, ask the network, keep the logits."""
    started, processor = time.perf_counter(), time.process_time()
    kept = []
    for view in range(request.views):
        numbers = np.arange(len(samples))
        drawn = request.augmentation.draw(request.seed, views=view, samples_B=numbers)
        for start in range(0, len(samples), _BATCH):
            rows = slice(start, start + _BATCH)
            points = torch.from_numpy(samples.points_SND[rows]).to(teacher.device)
            inputs = request.augmentation.apply(points, drawn.rows(rows))
            kept.append(teacher.module(inputs).cpu().numpy())
    return _Bare(time.perf_counter() - started, time.process_time() - processor)


def _recorded(request: RecordRequest, teacher: Teacher, samples: SampleSet) -> _Recorded:
    watch, started, processor = _Watch(), time.perf_counter(), time.process_time()
    record(request, teacher, samples, watch, journal=watch)
    ended = time.perf_counter()
    records = request.views * len(samples)
    return _Recorded(
        whole=ended - started,
        processor=time.process_time() - processor,
        before=watch.began - started,
        teacher=sum(block.teacher_seconds for block in watch.blocks),
        writing=sum(block.write_seconds for block in watch.blocks),
        loop=(ended - watch.began) * records / (records - watch.before),
    )


def _compare(name: str, options: argparse.Namespace, samples: SampleSet, folder: Path) -> None:
    weights = folder / f"{name}.pt"
    torch.manual_seed(0)
    torch.save(build_model(name, num_classes=_CLASSES).state_dict(), weights)
    asked = TeacherOptions(factory=name, weights=weights, device=options.device)
    teacher = load_teacher(asked)
    request = RecordRequest(
        out=folder / f"{name}-warm.zarr",
        teacher=asked,
        augmentation=_AUGMENTATION,
        views=1,
        batch_size=_BATCH,
        class_map=tuple(range(len(samples.class_names or ()))),
    )
    few = samples.rows(np.arange(min(len(samples), 4 * _BATCH)))
    _bare(request, teacher, few)
    one_view = _bare(request, teacher, few).clock * len(samples) / len(few)
    _recorded(request, teacher, few)
    views = max(1, round(options.seconds / one_view))
    pairs = []
    for run in range(options.runs):
        again = replace(request, out=folder / f"{name}-{run}.zarr", views=views)
        pairs.append((_bare(again, teacher, samples), _recorded(again, teacher, samples)))
    _print(name, views, len(samples), pairs)


def _print(name: str, views: int, samples: int, pairs: list[tuple[_Bare, _Recorded]]) -> None:
    print(f"\n{name}, {samples} clouds x {views} views, {torch.get_num_threads()} threads")
    for what, seconds in {
        "all of it": [(bare.clock, ours.whole) for bare, ours in pairs],
        "after probes and proof": [(bare.clock, ours.loop) for bare, ours in pairs],
        "all of it, by CPU seconds": [(bare.processor, ours.processor) for bare, ours in pairs],
    }.items():
        print_pairs(
            f"kdrec record, {what}", "bare loop", seconds, amount=views * samples, unit="records/s"
        )
    shares = {
        "until the first batch: probes and proof": [s.before / s.whole for _, s in pairs],
        "the teacher's loop": [s.teacher / s.whole for _, s in pairs],
        "encoding and writing, beside the loop": [s.writing / s.whole for _, s in pairs],
    }
    for part, values in shares.items():
        print(f"  {part:46}{100 * statistics.median(values):6.2f} % of the time")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teachers", nargs="+", default=["pointnet-s", "pointnet", "dgcnn"])
    parser.add_argument("--samples", type=int, default=608)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    samples = make_shapes(options.samples, seed=0, num_points=1024)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.teachers:
            _compare(name, options, samples, Path(folder))


if __name__ == "__main__":
    main()
