"""Pictures of a training and of a score: PNG files, drawn without a display.

matplotlib is loaded when something is drawn, and no state of it is left behind.

Shape letters: K classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdrec.samples import SampleSet
from kdrec.student.checkpoint import BEST_NAME, load_student
from kdrec.student.evaluation import EvaluationReport, evaluate
from kdrec.student.results import EpochReport, TrainResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES_NAME, CONFUSION_NAME = "curves.png", "confusion.png"
_MOST_NUMBERED = 20


def draw_training(
    out: Path, result: TrainResult, test: SampleSet | None, *, student: str | None = None
) -> list[Path]:
    """Draw the curves of a training and, with test data, what its best student takes for what.

    Args:
        out: Folder of the training.
        result: Of the training.
        test: What it was tested on.
        student: Its name or factory; a checkpoint alone never makes code run.

    Returns:
        The files.
    """
    paths = [out / CURVES_NAME]
    draw_curves(result.epochs, paths[0])
    if test is not None:
        model = load_student(out / BEST_NAME, student=student or result.settings.student).model
        report = evaluate(
            model,
            test,
            normalize=result.recording.normalized,
            class_columns=result.recording.class_columns,
        )
        paths.append(out / CONFUSION_NAME)
        draw_confusion(report, paths[1], class_names=test.class_names)
    return paths


def draw_curves(epochs: Sequence[EpochReport], path: Path) -> None:
    """Loss with its parts, and accuracy, over the epochs."""
    figure = _figure(width=9.0, height=3.5)
    losses, accuracies = figure.subplots(1, 2)
    _plot(losses, epochs, ["loss", "label_loss", "teacher_loss", "reverse_loss", "self_loss"])
    _plot(accuracies, epochs, ["train_accuracy", "test_accuracy", "test_mean_class_accuracy"])
    accuracies.set_ylim(0, 1)
    figure.savefig(path, dpi=120)


def draw_confusion(
    report: EvaluationReport, path: Path, *, class_names: Sequence[str] | None = None
) -> None:
    """For each class, the share of its samples that was taken for each."""
    counts_KK = np.array(report.confusion)
    shares_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    num_classes = len(counts_KK)
    names = class_names or [str(number) for number in range(num_classes)]
    side = max(4.0, 0.35 * num_classes)
    figure = _figure(width=side + 1.5, height=side)
    axes = figure.add_subplot()
    image = axes.imshow(shares_KK, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(num_classes), names, rotation=90)
    axes.set_yticks(range(num_classes), names)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    axes.set_title(f"{100 * report.accuracy:.1f} % of {report.count}")
    figure.colorbar(image)
    if num_classes <= _MOST_NUMBERED:
        _number(axes, counts_KK.tolist(), shares_KK.tolist())
    figure.savefig(path, dpi=120)


def _number(axes: "Axes", counts: list[list[int]], shares: list[list[float]]) -> None:
    for row, (numbers, parts) in enumerate(zip(counts, shares, strict=True)):
        for column, (number, part) in enumerate(zip(numbers, parts, strict=True)):
            if number:
                colour = "white" if part > 0.5 else "black"
                axes.text(column, row, str(number), ha="center", va="center", color=colour,
                          fontsize=7)  # fmt: skip


def _plot(axes: "Axes", epochs: Sequence[EpochReport], names: Sequence[str]) -> None:
    for name in names:
        points = [
            (report.epoch, value)
            for report in epochs
            for value in [getattr(report, name)]
            if value is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), label=name.replace("_", " "))
    axes.set_xlabel("epoch")
    if axes.lines:
        axes.legend()


def _figure(*, width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    # Not through pyplot, which would keep every figure and choose a window system.
    return Figure(figsize=(width, height), layout="constrained")
