"""Fidelity: against high precision, in corners where rounding or overflow would hide the answer."""

from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdrec.errors import InvalidInputError
from kdrec.store import TEMPERATURES, measure_fidelity
from kdrec.store.fidelity import calibration_error, divergences

Float64Array = npt.NDArray[np.float64]


def exact_divergence(teacher: Float64Array, stored: Float64Array, temperature: float) -> float:
    """KL(teacher || stored) of one record in 60 digits."""
    with localcontext() as context:
        context.prec = 60
        p, q = (_softmax([Decimal(float(z)) / Decimal(temperature) for z in logits])
                for logits in (teacher, stored))  # fmt: skip
        return float(sum(a * (a / b).ln() for a, b in zip(p, q, strict=True)))


def _softmax(logits: list[Decimal]) -> list[Decimal]:
    greatest = max(logits)
    weights = [(z - greatest).exp() for z in logits]
    return [weight / sum(weights) for weight in weights]


@settings(max_examples=40, deadline=None)
@given(
    teacher=st.lists(st.floats(-30, 30), min_size=2, max_size=8),
    error=st.sampled_from([0.0, 1e-7, 1e-4, 0.05, 2.0, 40.0]),
    seed=st.integers(0, 1000),
    temperature=st.sampled_from(TEMPERATURES),
)
def test_divergences_are_those_of_sixty_digits(
    teacher: list[float], error: float, seed: int, temperature: float
) -> None:
    teacher_KC = np.array([teacher])
    stored_KC = teacher_KC + error * np.random.default_rng(seed).uniform(-1, 1, teacher_KC.shape)
    forward, reverse = divergences(teacher_KC, stored_KC, temperature=temperature)
    exact = exact_divergence(teacher_KC[0], stored_KC[0], temperature)
    assert forward[0] == pytest.approx(exact, rel=1e-6, abs=1e-20)
    exact = exact_divergence(stored_KC[0], teacher_KC[0], temperature)
    assert reverse[0] == pytest.approx(exact, rel=1e-6, abs=1e-20)


def test_a_shift_of_all_logits_loses_nothing_and_no_divergence_is_negative() -> None:
    teacher_KC = np.random.default_rng(0).normal(0, 5, (500, 40))
    for stored_KC in (teacher_KC, teacher_KC + 7.0, np.nextafter(teacher_KC, np.inf)):
        fidelity = measure_fidelity(teacher_KC, stored_KC)
        assert all(0 <= d.forward < 1e-25 and 0 <= d.reverse < 1e-25 for d in fidelity.divergences)
        assert fidelity.agreement == 1


def test_huge_logits_neither_overflow_nor_warn() -> None:
    teacher_KC = np.array([[3e38, -3e38, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    stored_KC = np.array([[3e38, -3e38, 0.0], [1e4, 0.0, -1e4]], dtype=np.float32)
    fidelity = measure_fidelity(teacher_KC, stored_KC)
    assert all(np.isfinite([d.forward, d.reverse]).all() for d in fidelity.divergences)
    assert fidelity.worst.row == 1


def test_the_error_bound_of_the_design_holds() -> None:
    # Rounding to a step bounds both directions by step^2 / 8 at every temperature from 1 on.
    generator, step = np.random.default_rng(0), 0.2
    teacher_KC = generator.normal(0, 4, (2000, 40))
    fidelity = measure_fidelity(teacher_KC, np.round(teacher_KC / step) * step)
    assert all(d.larger <= step**2 / 8 for d in fidelity.divergences)
    assert fidelity.worst.divergence <= step**2 / 8
    assert fidelity.largest_error <= step / 2 + 1e-12


def test_classes_are_those_of_the_labels_and_without_labels_the_teachers_choice() -> None:
    teacher_KC = np.array([[9.0, 0, 0], [0, 9.0, 0], [0, 9.0, 0]])
    stored_KC = teacher_KC + np.array([[0.0, 0, 0], [0, -3, 0], [0, 0, 0]])
    own = measure_fidelity(teacher_KC, stored_KC)
    assert [(c.column, c.records) for c in own.by_class] == [(0, 1), (1, 2)]
    assert own.worst_class.column == 1
    assert own.calibration is None
    labelled = measure_fidelity(teacher_KC, stored_KC, labels_K=np.array([2, 0, 0]))
    assert [(c.column, c.records) for c in labelled.by_class] == [(0, 2), (2, 1)]
    by_class = {c.column: c.divergences[0].forward for c in labelled.by_class}
    every = labelled.divergences[0].forward
    assert (2 * by_class[0] + by_class[2]) / 3 == pytest.approx(every)
    assert labelled.worst.row == 1


def test_the_change_of_calibration_is_told_apart_from_the_teachers_own() -> None:
    sure = np.array([[5.0, -5.0]] * 10)
    labels = np.array([0] * 6 + [1] * 4)
    assert calibration_error(sure, labels) == pytest.approx(0.4, abs=1e-4)
    unsure = np.array([[np.log(0.6), np.log(0.4)]] * 10)
    assert calibration_error(unsure, labels) == pytest.approx(0, abs=1e-12)
    found = measure_fidelity(sure, unsure, labels_K=labels).calibration
    assert found is not None
    assert found.change == pytest.approx(-0.4, abs=1e-4)


@pytest.mark.parametrize(
    ("teacher", "stored", "labels", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4)), None, r"got shapes \(2, 3\) and \(2, 4\)"),
        (np.zeros((0, 3)), np.zeros((0, 3)), None, "at least one of each"),
        (np.zeros((2, 3)), np.full((2, 3), np.nan), None, "stored of record 0 are not"),
        (np.array([[0.0, 1], [0, np.inf]]), np.zeros((2, 2)), None, "teacher's of record 1"),
        (np.zeros((2, 3)), np.zeros((2, 3)), np.array([0, 3]), "from 0 to 2 .* with 3"),
        (np.zeros((2, 3)), np.zeros((2, 3)), np.array([0]), r"got shape \(1,\)"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    teacher: Float64Array,
    stored: Float64Array,
    labels: npt.NDArray[np.int64] | None,
    message: str,
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        measure_fidelity(teacher, stored, labels_K=labels)
