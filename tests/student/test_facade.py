from kdrec import student


def test_the_face_of_the_part_is_pinned() -> None:
    assert student.__all__ == [
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
    assert all(hasattr(student, name) for name in student.__all__)
