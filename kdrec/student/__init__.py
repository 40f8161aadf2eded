"""The student: recorded views as a torch data set, losses, training, evaluation."""

from kdrec.student.batches import BatchSource, RecordedBatch, ShuffledBatches, SourceDescription
from kdrec.student.checkpoint import (
    BEST_NAME,
    LAST_NAME,
    Checkpoint,
    CheckpointInfo,
    TrainedStudent,
    load_student,
    read_checkpoint,
    write_checkpoint,
)
from kdrec.student.evaluation import EvaluationReport, evaluate
from kdrec.student.losses import DistillationObjective, LossTerms, distillation_loss
from kdrec.student.networks import build_student
from kdrec.student.results import EpochReport, TrainResult
from kdrec.student.run_folder import RESULTS_NAME
from kdrec.student.settings import TrainSettings
from kdrec.student.training import train
from kdrec.student.views import RecordedSample, RecordedViews

__all__ = [
    "BEST_NAME",
    "LAST_NAME",
    "RESULTS_NAME",
    "BatchSource",
    "Checkpoint",
    "CheckpointInfo",
    "DistillationObjective",
    "EpochReport",
    "EvaluationReport",
    "LossTerms",
    "RecordedBatch",
    "RecordedSample",
    "RecordedViews",
    "ShuffledBatches",
    "SourceDescription",
    "TrainResult",
    "TrainSettings",
    "TrainedStudent",
    "build_student",
    "distillation_loss",
    "evaluate",
    "load_student",
    "read_checkpoint",
    "train",
    "write_checkpoint",
]
