"""Settings of a training: what is allowed, and what is said about the rest."""

from typing import Any

import pytest

from kdrec.errors import InvalidInputError, KdrecError
from kdrec.student import LossSettings, TrainSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, "epochs: input should be greater than or equal to 1, got 0"),
        ({"batch_size": -1}, "batch_size: .* got -1"),
        ({"learning_rate": 0.0}, "learning_rate: .* greater than 0, got 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate: .* finite"),
        ({"weight_decay": -1.0}, "weight_decay: "),
        ({"temperature": 0}, "temperature: .* greater than 0, got 0"),
        ({"seed": -1}, "seed: "),
        ({"device": "tpu"}, "device: .*'auto', 'cpu' or 'cuda', got 'tpu'"),
        ({"student": " "}, "student: give the name of a network"),
        ({"label_weight": 0, "teacher_weight": 0}, "all 0"),
        ({"self_weight": -0.1, "epochs": 1}, "compares with earlier epochs, but epochs is 1"),
        ({"epochs": 3, "warmup_epochs": 3}, r"warmup_epochs must be below epochs \(3\), got 3"),
        ({"ema_decay": 1.0}, "ema_decay: .* less than 1"),
        ({"epoch": 3}, "no setting 'epoch'; there are: student, .*epochs"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        TrainSettings(**values)
    assert isinstance(caught.value, KdrecError)


def test_settings_survive_json() -> None:
    settings = TrainSettings(student_arguments={"dropout": 0.5}, epochs=3, threads=2)
    assert TrainSettings.model_validate_json(settings.model_dump_json()) == settings


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        TrainSettings().epochs = 3  # type: ignore[misc]


def test_labels_only_is_cross_entropy_alone() -> None:
    labels = LossSettings(label_weight=1.0, teacher_weight=0.0)
    assert TrainSettings(labels_only=True).losses == labels
    softer = LossSettings(temperature=2.0)
    assert TrainSettings(temperature=2.0).losses == softer


def test_the_number_of_workers_makes_no_other_training() -> None:
    settings = TrainSettings(epochs=4)
    assert settings.differences(TrainSettings(epochs=4, num_workers=8)) == []
    assert settings.differences(TrainSettings(epochs=8)) == ["epochs: 4 before, 8 now"]
