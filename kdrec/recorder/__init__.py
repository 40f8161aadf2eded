"""The teacher's side: load it, probe it, run it over every view, keep what it says."""

from kdrec.recorder.batch_size import largest_batch_size
from kdrec.recorder.classes import match_classes, read_class_map, read_class_names
from kdrec.recorder.devices import check_device, count_gpus
from kdrec.recorder.ensemble import mean_logits
from kdrec.recorder.estimate import Estimate, Trial, estimate
from kdrec.recorder.journal import BlockReport, Journal
from kdrec.recorder.passes import TeacherPass
from kdrec.recorder.patience import Failure
from kdrec.recorder.planning import RecordRequest, make_plan, recorded_options
from kdrec.recorder.precision import Precision
from kdrec.recorder.probe import ProbeReport, probe_teacher
from kdrec.recorder.recomputed import RecomputedFiles
from kdrec.recorder.recording import (
    Conduct,
    FoundRecording,
    RecordObserver,
    RecordProgress,
    RecordResult,
    record,
)
from kdrec.recorder.score import TeacherScore, score_teacher
from kdrec.recorder.share import Share, device_of_share, find_share
from kdrec.recorder.teacher import InputLayout, Teacher, TeacherOptions, load_teacher
from kdrec.recorder.threads import cpu_threads, default_threads
from kdrec.recorder.verification import TeacherComparison, TeacherVerdict, verify_teacher
from kdrec.recorder.votes import Votes
from kdrec.recorder.weights import load_tensors, tensors_digest

__all__ = [
    "BlockReport",
    "Conduct",
    "Estimate",
    "Failure",
    "FoundRecording",
    "InputLayout",
    "Journal",
    "Precision",
    "ProbeReport",
    "RecomputedFiles",
    "RecordObserver",
    "RecordProgress",
    "RecordRequest",
    "RecordResult",
    "Share",
    "Teacher",
    "TeacherComparison",
    "TeacherOptions",
    "TeacherPass",
    "TeacherScore",
    "TeacherVerdict",
    "Trial",
    "Votes",
    "check_device",
    "count_gpus",
    "cpu_threads",
    "default_threads",
    "device_of_share",
    "estimate",
    "find_share",
    "largest_batch_size",
    "load_teacher",
    "load_tensors",
    "make_plan",
    "match_classes",
    "mean_logits",
    "probe_teacher",
    "read_class_map",
    "read_class_names",
    "record",
    "recorded_options",
    "score_teacher",
    "tensors_digest",
    "verify_teacher",
]
