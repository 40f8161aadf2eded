"""Records a second of `kdrec record` against a bare loop over the same teacher and batches.

For each teacher (a tiny one, PointNet, a graph network) and each way of computing, the bare loop
and the recorder run in turn, several times. The bare loop has the data in memory, on the GPU where
there is one, applies the same augmentation, runs the teacher and keeps the logits: no probe, no
proof, no encoding, no disk. Printed are the ratios of each pair, where the rest of the time goes,
on a GPU how long it was idle and what it computes of what it could, and at the end the most private
memory by the number of samples.

    python -m bench.recording [--teachers pointnet-s pointnet pointvig-s] [--seconds 10] [--runs 5]
    python -m bench.recording --device cuda --precisions float32 bf16 --batch-sizes 256 auto \
        --compiled no yes
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import many_samples
from bench.pairs import print_pairs
from kdrec.augment import parse_augmentation
from kdrec.cli.allocator import keep_freed_memory
from kdrec.models import build_model, measure_cost
from kdrec.recorder import (
    BlockReport,
    Precision,
    RecordProgress,
    RecordRequest,
    Teacher,
    TeacherOptions,
    TeacherPass,
    largest_batch_size,
    load_teacher,
    record,
)
from kdrec.recorder.precision import PRECISIONS, compute_precision
from kdrec.samples import SampleSet, make_shapes
from kdrec.store import Block

_CLASSES, _POINTS, _MEBI = 40, 1024, 2**20
_AUGMENTATION = parse_augmentation("scale=0.9:1.1,rotate_y=15,translate=0.05")
_MATRIX, _PRODUCTS = 8192, 20


@dataclass(frozen=True, slots=True)
class Way:
    """How a teacher computes."""

    teacher: str
    device: str
    precision: Precision
    batch_size: str
    compiled: bool

    def __str__(self) -> str:
        how = "compiled" if self.compiled else "eager"
        return f"{self.teacher}, {self.precision}, batch {self.batch_size}, {how}, {self.device}"


class Watch:
    """Notes when things happen in a recording, and what its blocks took."""

    def __init__(self) -> None:
        self.began = 0.0
        self.before = 0
        self.blocks: list[BlockReport] = []

    def on_probe(self, report: object, score: object) -> None: ...

    def on_wait(self) -> None: ...

    def on_found(self, found: object) -> None: ...

    def on_failure(self, failure: object) -> None: ...

    def on_lost(self, block: Block) -> None: ...

    def on_progress(self, progress: RecordProgress) -> None:
        if not self.began:
            self.began = time.perf_counter()
            self.before = progress.new

    def on_block(self, report: BlockReport) -> None:
        self.blocks.append(report)


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds of a recording.

    Attributes:
        whole: All of it.
        setup: Before the first batch came back: probes, score, proof.
        blocks: From then to the seal.
        teacher: At the teacher; on a GPU, that it took.
        write: Encoding and writing, beside the teacher.
        per_record: From the first batch to the seal.
    """

    whole: float
    setup: float
    blocks: float
    teacher: float
    write: float
    per_record: float


@torch.inference_mode()
def _bare(request: RecordRequest, teacher: Teacher, samples: SampleSet) -> float:
    """Seconds of what a script would do: draw, augment, ask the network, keep the logits."""
    assert isinstance(request.batch_size, int)
    network = teacher.module if teacher.compiled is None else teacher.compiled
    points_SND = torch.from_numpy(samples.points_SND).to(teacher.device)
    numbers = np.arange(len(samples))
    started = time.perf_counter()
    kept: list[Tensor] = []
    with compute_precision(teacher.options.precision, teacher.device):
        for view in range(request.views):
            drawn = request.augmentation.draw(request.seed, views=view, samples_B=numbers)
            for start in range(0, len(samples), request.batch_size):
                rows = slice(start, start + request.batch_size)
                inputs_BND = request.augmentation.apply(points_SND[rows], drawn.rows(rows))
                kept.append(network(inputs_BND).clone())
    torch.cat(kept).cpu()
    return time.perf_counter() - started


def _recorded(request: RecordRequest, teacher: Teacher, samples: SampleSet) -> Run:
    watch, started = Watch(), time.perf_counter()
    record(request, teacher, samples, watch, journal=watch)
    ended = time.perf_counter()
    records = request.views * len(samples) - watch.before
    return Run(
        whole=ended - started,
        setup=watch.began - started,
        blocks=ended - watch.began,
        teacher=sum(report.teacher_seconds for report in watch.blocks),
        write=sum(report.write_seconds for report in watch.blocks),
        per_record=(ended - watch.began) / records,
    )


def _compare(way: Way, options: argparse.Namespace, folder: Path) -> None:
    """Print what a way of computing gives."""
    weights = folder / f"{way.teacher}.pt"
    torch.manual_seed(0)
    torch.save(build_model(way.teacher, num_classes=_CLASSES).state_dict(), weights)
    asked = TeacherOptions(
        factory=way.teacher,
        weights=weights,
        device=way.device,
        precision=way.precision,
        compiled=way.compiled,
    )
    teacher = load_teacher(asked)
    size = _batch_size(way, teacher)
    request = RecordRequest(
        out=folder,
        teacher=asked,
        augmentation=_AUGMENTATION,
        views=options.views,
        batch_size=size,
    )
    samples = _samples(request, teacher, seconds=options.seconds)
    request = replace(request, class_map=tuple(range(len(samples.class_names or ()))))
    pairs = list(_runs(request, teacher, samples, runs=options.runs, folder=folder))
    records = options.views * len(samples)
    print(f"\n{way} ({size}): {len(samples)} clouds x {options.views} views, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    whole = [(bare, run.whole) for bare, run in pairs]
    after = [(bare, run.per_record * records) for bare, run in pairs]
    print_pairs("kdrec record, all of it", "bare loop", whole, amount=records, unit="records/s")
    print_pairs(
        "kdrec record, after the probes", "bare loop", after, amount=records, unit="records/s"
    )
    _print_rest([run for _, run in pairs], records, way, teacher)


def _batch_size(way: Way, teacher: Teacher) -> int:
    if way.batch_size != "auto":
        return int(way.batch_size)
    some = make_shapes(4096, seed=0, num_points=_POINTS)
    return largest_batch_size(TeacherPass(teacher.uncompiled(), some, _AUGMENTATION, 0, 1))


def _samples(request: RecordRequest, teacher: Teacher, *, seconds: float) -> SampleSet:
    """As many whole batches as the bare loop asks in about this time."""
    assert isinstance(request.batch_size, int)
    few = make_shapes(request.batch_size, seed=0, num_points=_POINTS)
    _bare(replace(request, views=1), teacher, few)  # warms up and compiles
    a_batch = _bare(replace(request, views=2), teacher, few) / 2
    batches = max(1, round(seconds / (a_batch * request.views)))
    return make_shapes(batches * request.batch_size, seed=0, num_points=_POINTS)


def _runs(
    request: RecordRequest, teacher: Teacher, samples: SampleSet, *, runs: int, folder: Path
) -> Iterator[tuple[float, Run]]:
    for run in range(-1, runs):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            bare = _bare(request, teacher, samples)
            recorded = _recorded(replace(request, out=Path(place) / "r.zarr"), teacher, samples)
        if run >= 0:  # the first pair warms up
            yield bare, recorded


def _print_rest(runs: Sequence[Run], records: int, way: Way, teacher: Teacher) -> None:
    """Where the time goes that the teacher has not, by the median of the runs."""
    shares = {
        "before the first batch came back": [run.setup / run.whole for run in runs],
        "at the teacher, augmentation included": [run.teacher / run.whole for run in runs],
        "neither": [max(0.0, run.blocks - run.teacher) / run.whole for run in runs],
        "encoding and writing, beside the teacher": [run.write / run.whole for run in runs],
    }
    for name, values in shares.items():
        print(f"{name:48}{100 * statistics.median(values):13.1f} %")
    if teacher.device.type != "cuda":
        return
    idle = statistics.median(max(0.0, 1 - run.teacher / run.blocks) for run in runs)
    cost = measure_cost(teacher.module, num_points=_POINTS, device=teacher.device)
    reached = statistics.median(records / run.teacher for run in runs) * cost.flops
    limit = _most_flops(way.precision, teacher.device)
    print(f"{'GPU idle, after the probes':48}{100 * idle:13.1f} %")
    print(f"{'of the FLOP/s of a large product there':48}{100 * reached / limit:13.1f} %   "
          f"({reached / 1e12:.3g} of {limit / 1e12:.3g} T)")  # fmt: skip


@torch.inference_mode()
def _most_flops(precision: Precision, device: torch.device) -> float:
    """What the device does at most for this precision: a product of large matrices."""
    matrix = torch.rand(_MATRIX, _MATRIX, device=device)
    began, ended = (_timing_event() for _ in range(2))
    with compute_precision(precision, device):
        kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
        matrix = matrix if kind is None else matrix.to(kind)
        torch.mm(matrix, matrix)
        began.record()
        for _ in range(_PRODUCTS):
            torch.mm(matrix, matrix)
        ended.record()
    torch.cuda.synchronize(device)
    seconds = float(began.elapsed_time(ended)) / 1000
    return 2 * float(_MATRIX) ** 3 * _PRODUCTS / seconds


def _timing_event() -> Any:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teachers", nargs="+", default=["pointnet-s", "pointnet", "pointvig-s"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["float32"])
    parser.add_argument("--batch-sizes", nargs="+", default=["32"])
    parser.add_argument("--compiled", nargs="+", choices=("no", "yes"), default=["no"])
    parser.add_argument("--views", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10.0, help="of a run of the bare loop")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory", type=int, nargs="*", default=[20_000, 80_000],
                        help="numbers of samples; none to leave it out")  # fmt: skip
    options = parser.parse_args()
    keep_freed_memory()  # as the command does; the bare loop has it too
    if options.device != "cpu":
        print(torch.cuda.get_device_name(options.device))
    ways = itertools.product(
        options.teachers, options.precisions, options.batch_sizes, options.compiled
    )
    for teacher, precision, batch_size, compiled in ways:
        way = Way(teacher, options.device, precision, batch_size, compiled == "yes")
        with tempfile.TemporaryDirectory() as folder:
            _compare(way, options, Path(folder))
    if options.memory:
        print("\nmemory by the number of samples, 2 views (bench.many_samples)")
        many_samples.print_memory(options.memory, views=2)


if __name__ == "__main__":
    main()
