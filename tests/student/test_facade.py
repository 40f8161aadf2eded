from kdrec import student


def test_the_face_of_the_part_is_pinned() -> None:
    assert student.__all__ == [
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
    assert all(hasattr(student, name) for name in student.__all__)
