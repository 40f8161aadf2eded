"""What a training reports: after each epoch, and at the end.

A report of an epoch follows from settings, recording and epoch alone, but for its times.
"""

import csv
import io

from pydantic import BaseModel, ConfigDict

from kdrec.student.batches import SourceDescription
from kdrec.student.settings import TrainSettings


class EpochReport(BaseModel):
    """One epoch.

    Attributes:
        epoch: From 0.
        loss: Mean over the samples.
        label_loss: Its cross-entropy, unweighted; None where the weight is 0.
        teacher_loss: Its loss from the teacher, unweighted; None where the weight is 0.
        reverse_loss: Its reverse KL, unweighted; None where the weight is 0.
        self_loss: Its divergence from the student's own logits, unweighted; None where the weight
            is 0.
        head_loss: Of the auxiliary head, where there is one.
        temperature: Mean of the one that is learned.
        train_accuracy: On the augmented points while training; None without labels.
        test_accuracy: None without test data.
        test_mean_class_accuracy: None without test data.
        learning_rate: Of the last step.
        seconds: Training and testing.
        wait_seconds: Of these, waiting for the next batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    loss: float
    label_loss: float | None
    teacher_loss: float | None
    reverse_loss: float | None = None
    self_loss: float | None = None
    head_loss: float | None = None
    temperature: float | None = None
    train_accuracy: float | None
    test_accuracy: float | None
    test_mean_class_accuracy: float | None
    learning_rate: float
    seconds: float
    wait_seconds: float


class TrainResult(BaseModel):
    """A training as it stands in `results.json`, rewritten after each epoch.

    Attributes:
        finished: Whether all epochs are done, or no better ones are waited for.
        settings: As given.
        recording: What it was trained from.
        num_parameters: Of the student.
        epochs: All so far.
        best: The one in `best.safetensors`: highest test accuracy, the earliest of equals; without
            test data the last.
        final: The last one.
        peak_memory_bytes: Most memory this process held, the greatest of all attempts.
        total_seconds: Of all epochs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    finished: bool
    settings: TrainSettings
    recording: SourceDescription
    num_parameters: int
    epochs: tuple[EpochReport, ...]
    best: EpochReport
    final: EpochReport
    peak_memory_bytes: int
    total_seconds: float


def find_best(epochs: tuple[EpochReport, ...]) -> EpochReport:
    """The epoch whose weights are kept as the best."""
    if epochs[-1].test_accuracy is None:
        return epochs[-1]
    return max(epochs, key=lambda report: (report.test_accuracy or 0.0, -report.epoch))


def as_table(epochs: tuple[EpochReport, ...]) -> str:
    """The epochs as CSV, one row each; what there is none of is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(EpochReport.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(report.model_dump() for report in epochs)
    return text.getvalue()


def is_finished(epochs: tuple[EpochReport, ...], settings: TrainSettings) -> bool:
    """Whether all epochs are done, or the patience has run out."""
    if not epochs or settings.patience is None:
        return len(epochs) == settings.epochs
    waited = epochs[-1].epoch - find_best(epochs).epoch
    return len(epochs) == settings.epochs or waited >= settings.patience
