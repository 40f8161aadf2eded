"""The student: recorded views as a torch data set, losses, training, evaluation.

Names are loaded when they are used: a command line reads the settings without loading torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from kdrec.student.evaluation import EvaluationReport, Votes, evaluate
    from kdrec.student.loader import LoaderState, RecordedLoader
    from kdrec.student.loss_settings import LossSettings
    from kdrec.student.losses import distillation_loss
    from kdrec.student.networks import build_student
    from kdrec.student.objective import DistillationObjective, Judged, LossTerms
    from kdrec.student.processes import ALONE, Processes, joined_processes
    from kdrec.student.results import EpochReport, TrainResult
    from kdrec.student.run_folder import LOG_NAME, RESULTS_NAME
    from kdrec.student.settings import TrainSettings
    from kdrec.student.teachers import MixedTeachers, join_teachers
    from kdrec.student.training import train
    from kdrec.student.views import RecordedSample, RecordedViews

_HOMES = {
    "ALONE": "kdrec.student.processes",
    "BEST_NAME": "kdrec.student.checkpoint",
    "LAST_NAME": "kdrec.student.checkpoint",
    "LOG_NAME": "kdrec.student.run_folder",
    "RESULTS_NAME": "kdrec.student.run_folder",
    "BatchSource": "kdrec.student.batches",
    "Checkpoint": "kdrec.student.checkpoint",
    "CheckpointInfo": "kdrec.student.checkpoint",
    "DistillationObjective": "kdrec.student.objective",
    "EpochReport": "kdrec.student.results",
    "EvaluationReport": "kdrec.student.evaluation",
    "Judged": "kdrec.student.objective",
    "LossSettings": "kdrec.student.loss_settings",
    "LoaderState": "kdrec.student.loader",
    "MixedTeachers": "kdrec.student.teachers",
    "LossTerms": "kdrec.student.objective",
    "Processes": "kdrec.student.processes",
    "RecordedBatch": "kdrec.student.batches",
    "RecordedLoader": "kdrec.student.loader",
    "RecordedSample": "kdrec.student.views",
    "RecordedViews": "kdrec.student.views",
    "ShuffledBatches": "kdrec.student.batches",
    "SourceDescription": "kdrec.student.batches",
    "TrainResult": "kdrec.student.results",
    "TrainSettings": "kdrec.student.settings",
    "TrainedStudent": "kdrec.student.checkpoint",
    "Votes": "kdrec.student.evaluation",
    "TwoViewSource": "kdrec.student.batches",
    "build_student": "kdrec.student.networks",
    "distillation_loss": "kdrec.student.losses",
    "join_teachers": "kdrec.student.teachers",
    "evaluate": "kdrec.student.evaluation",
    "joined_processes": "kdrec.student.processes",
    "load_student": "kdrec.student.checkpoint",
    "read_checkpoint": "kdrec.student.checkpoint",
    "train": "kdrec.student.training",
    "write_checkpoint": "kdrec.student.checkpoint",
}

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
    "LoaderState",
    "LossSettings",
    "LossTerms",
    "MixedTeachers",
    "Processes",
    "RecordedBatch",
    "RecordedLoader",
    "RecordedSample",
    "RecordedViews",
    "ShuffledBatches",
    "SourceDescription",
    "TrainResult",
    "TrainSettings",
    "TrainedStudent",
    "TwoViewSource",
    "Votes",
    "build_student",
    "distillation_loss",
    "evaluate",
    "join_teachers",
    "joined_processes",
    "load_student",
    "read_checkpoint",
    "train",
    "write_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kdrec.student' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
