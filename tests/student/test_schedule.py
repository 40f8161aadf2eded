"""The learning rate of every step."""

from typing import Any

import pytest

from kdrec.student import TrainSettings
from kdrec.student.optimization import learning_rate


def rates(**changed: Any) -> list[float]:
    settings = TrainSettings(**{"epochs": 10, "learning_rate": 0.5, **changed})
    return [learning_rate(number, settings, num_steps=10) for number in range(100)]


def test_the_learning_rate_falls_along_a_cosine() -> None:
    found = rates()
    assert found[0] == 0.5
    assert found[50] == pytest.approx(0.25)
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < 0.001


def test_it_falls_along_a_line_or_stays() -> None:
    assert rates(schedule="linear")[50] == pytest.approx(0.25)
    assert set(rates(schedule="constant")) == {0.5}


def test_it_rises_over_the_warm_up_and_then_falls_to_the_lowest() -> None:
    found = rates(warmup_epochs=2, lowest_learning_rate=0.1)
    assert found[:20] == pytest.approx([0.5 * (number + 1) / 20 for number in range(20)])
    assert found[20] == 0.5
    assert found[60] == pytest.approx(0.3)
    assert found[-1] == pytest.approx(0.1, abs=1e-3)
