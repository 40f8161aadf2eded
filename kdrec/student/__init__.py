"""The student: recorded views as a torch data set, losses, training, evaluation."""

from kdrec.student.batches import (
    BatchSource,
    RecordedBatch,
    ShuffledBatches,
    SourceDescription,
    TwoViewSource,
)
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
from kdrec.student.loss_settings import LossSettings
from kdrec.student.losses import distillation_loss
from kdrec.student.networks import build_student
from kdrec.student.objective import DistillationObjective, Judged, LossTerms
from kdrec.student.processes import ALONE, Processes, joined_processes
from kdrec.student.results import EpochReport, TrainResult
from kdrec.student.run_folder import LOG_NAME, RESULTS_NAME
from kdrec.student.settings import TrainSettings
from kdrec.student.training import train
from kdrec.student.views import RecordedSample, RecordedViews

__all__ = [
    "ALONE",
    "BEST_NAME",
    "LAST_NAME",
    "LOG_NAME",
    "RESULTS_NAME",
    "BatchSource",
    "Checkpoint",
    "CheckpointInfo",
    "DistillationObjective",
    "EpochReport",
    "EvaluationReport",
    "Judged",
    "LossSettings",
    "LossTerms",
    "Processes",
    "RecordedBatch",
    "RecordedSample",
    "RecordedViews",
    "ShuffledBatches",
    "SourceDescription",
    "TrainResult",
    "TrainSettings",
    "TrainedStudent",
    "TwoViewSource",
    "build_student",
    "distillation_loss",
    "evaluate",
    "joined_processes",
    "load_student",
    "read_checkpoint",
    "train",
    "write_checkpoint",
]
