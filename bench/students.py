"""PointViG and PointNet of like size as students of one recorded teacher, over several seeds.

Records a teacher over split 0 of a data set, trains each student from the recording (labels and
logits), and scores it on split 1 after the last epoch: accuracy over the seeds, parameters, FLOPs,
clouds a second of training. Prints a table in Markdown, with --out into a file.

    python -m bench.students --data modelnet10_test908_1024.npz --weights pointnet_modelnet40.npz
        [--class-map modelnet40_index] [--seeds 5] [--epochs 60] [--num-points 1024] [--out FILE]
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdrec.augment import parse_augmentation
from kdrec.client import Recording, open_recording
from kdrec.models import PointNet, measure_cost
from kdrec.recorder import (
    ProbeReport,
    RecordProgress,
    RecordRequest,
    TeacherOptions,
    TeacherScore,
    load_teacher,
    read_class_map,
    record,
)
from kdrec.samples import SampleSet, load_samples
from kdrec.student import TrainResult, TrainSettings, train
from kdrec.student.networks import build_student


def pointnet_large(num_classes: int, num_channels: int) -> PointNet:
    """A PointNet of the size of `pointvig-s`."""
    return PointNet(num_classes, num_channels, head_widths=(960, 352))


def pointnet_small(num_classes: int, num_channels: int) -> PointNet:
    """A PointNet of the size of `pointvig-xxs`."""
    widths = (32, 32, 64, 128, 448)
    return PointNet(num_classes, num_channels, point_widths=widths, head_widths=(224, 112))


_STUDENTS = (
    "pointvig-s",
    "bench.students:pointnet_large",
    "pointvig-xxs",
    "bench.students:pointnet_small",
)


@dataclass(frozen=True, slots=True)
class _Row:
    student: str
    results: tuple[TrainResult, ...]


class _Silent:
    """Hears of the recording and says nothing."""

    def on_probe(self, report: ProbeReport, score: TeacherScore | None) -> None: ...

    def on_wait(self) -> None: ...

    def on_found(self, found: object) -> None: ...

    def on_progress(self, progress: RecordProgress) -> None: ...


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher", default="pointnet")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--class-map", default="modelnet40_index")
    parser.add_argument("--augment", default="scale=0.9:1.1,rotate_y=-15:15,normalize")
    parser.add_argument("--num-points", type=int, default=1024)
    parser.add_argument("--views", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--students", nargs="+", default=_STUDENTS)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    return parser


def _record(options: argparse.Namespace, out: Path) -> Recording:
    samples = load_samples(options.data, split="split=0", num_points=options.num_points)
    device = "cpu" if options.device == "auto" else options.device
    asked = TeacherOptions(factory=options.teacher, weights=options.weights, device=device)
    request = RecordRequest(
        out=out,
        teacher=asked,
        augmentation=parse_augmentation(options.augment),
        views=options.views,
        class_map=read_class_map(options.class_map, options.data),
    )
    record(request, load_teacher(asked), samples, _Silent())
    return open_recording(out)


def _train_all(
    options: argparse.Namespace, recording: Recording, test: SampleSet, folder: Path
) -> list[_Row]:
    results: dict[str, list[TrainResult]] = {student: [] for student in options.students}
    for seed in range(options.seeds):
        for place, student in enumerate(options.students):
            settings = TrainSettings(
                student=student, epochs=options.epochs, seed=seed, device=options.device
            )
            result = train(recording, settings, folder / f"{place}-{seed}", test=test)
            results[student].append(result)
            print(f"seed {seed}, {student}: {_accuracy(result):.1f} %", flush=True)
    return [_Row(student, tuple(found)) for student, found in results.items()]


def _accuracy(result: TrainResult) -> float:
    assert result.final.test_accuracy is not None
    return 100 * result.final.test_accuracy


def _table(rows: Sequence[_Row], recording: Recording, options: argparse.Namespace) -> str:
    num_clouds = recording.manifest.plan.data.num_samples
    lines = [
        (
            "| student | parameters | GFLOPs | accuracy, mean ± std % | least, most % "
            "| clouds/s in training |"
        ),
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        network = build_student(
            row.student,
            num_classes=len(recording.manifest.classes.data or ()),
            num_channels=3,
            arguments={},
        )
        cost = measure_cost(network, num_points=options.num_points)
        found = [_accuracy(result) for result in row.results]
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        seconds = [report.seconds for result in row.results for report in result.epochs]
        lines.append(
            f"| {row.student.rpartition(':')[2]} | {cost.parameters:,} | {cost.flops / 1e9:.2f} "
            f"| {statistics.mean(found):.1f} ± {spread:.1f} | {min(found):.1f}, {max(found):.1f} "
            f"| {num_clouds / statistics.median(seconds):.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Record, train, print."""
    options = _parser().parse_args()
    test = load_samples(options.data, split="split=1", num_points=options.num_points)
    with tempfile.TemporaryDirectory() as folder:
        recording = _record(options, Path(folder) / "teacher.zarr")
        rows = _train_all(options, recording, test, Path(folder))
        table = _table(rows, recording, options)
    print(f"\n{options.seeds} seeds, {options.epochs} epochs, {options.views} views under "
          f"{options.augment}, {options.num_points} points\n\n{table}")  # fmt: skip
    if options.out is not None:
        options.out.write_text(table)


if __name__ == "__main__":
    main()
