"""Losses against formulas in float64, and what holds for every logit.

Shape letters: B batch, C classes.
"""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdrec.errors import InvalidInputError
from kdrec.student import DistillationObjective, distillation_loss

FloatArray = npt.NDArray[np.float64]
logits = arrays(np.float32, (3, 4), elements=st.floats(-30, 30, width=32))
temperatures = st.floats(0.5, 20)


def log_softmax(logits_BC: npt.NDArray[np.float32], temperature: float) -> FloatArray:
    scaled_BC = logits_BC.astype(np.float64) / temperature
    scaled_BC -= scaled_BC.max(axis=1, keepdims=True)
    normalized: FloatArray = scaled_BC - np.log(np.exp(scaled_BC).sum(axis=1, keepdims=True))
    return normalized


def reference(
    student_BC: npt.NDArray[np.float32], teacher_BC: npt.NDArray[np.float32], temperature: float
) -> FloatArray:
    p_BC, t_BC = log_softmax(student_BC, temperature), log_softmax(teacher_BC, temperature)
    kl_B: FloatArray = (np.exp(t_BC) * (t_BC - p_BC)).sum(axis=1)
    return kl_B * temperature**2


def loss(
    student_BC: npt.NDArray[np.float32], teacher_BC: npt.NDArray[np.float32], temperature: float
) -> FloatArray:
    loss_B = distillation_loss(
        torch.from_numpy(student_BC), torch.from_numpy(teacher_BC), temperature=temperature
    )
    found: FloatArray = loss_B.numpy().astype(np.float64)
    return found


@given(logits, logits, temperatures)
def test_the_loss_is_the_formula(
    student_BC: npt.NDArray[np.float32],
    teacher_BC: npt.NDArray[np.float32],
    temperature: float,
) -> None:
    expected_B = reference(student_BC, teacher_BC, temperature)
    scale = temperature**2 * (1 + 60 / temperature)
    np.testing.assert_allclose(
        loss(student_BC, teacher_BC, temperature), expected_B, rtol=1e-4, atol=2e-6 * scale
    )


@given(logits, temperatures)
def test_equal_logits_lose_nothing(logits_BC: npt.NDArray[np.float32], temperature: float) -> None:
    assert (loss(logits_BC, logits_BC, temperature) == 0).all()


@given(logits, logits, temperatures, st.integers(-64, 64))
def test_a_shift_of_all_logits_changes_nothing(
    student_BC: npt.NDArray[np.float32],
    teacher_BC: npt.NDArray[np.float32],
    temperature: float,
    shift: int,
) -> None:
    moved = loss((student_BC + np.float32(shift)), teacher_BC, temperature)
    plain = loss(student_BC, teacher_BC, temperature)
    np.testing.assert_allclose(moved, plain, rtol=1e-3, atol=1e-3 * temperature)


@given(
    arrays(np.float32, (2, 3), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
    arrays(np.float32, (2, 3), elements=st.floats(-(2.0**100), 2.0**100, width=32)),
)
def test_extreme_logits_give_a_finite_loss_and_gradient(
    student_BC: npt.NDArray[np.float32], teacher_BC: npt.NDArray[np.float32]
) -> None:
    student = torch.from_numpy(student_BC).requires_grad_()
    loss_B = distillation_loss(student, torch.from_numpy(teacher_BC), temperature=4.0)
    torch.autograd.backward(loss_B.sum())
    assert torch.isfinite(loss_B).all()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_the_gradient_is_the_difference_of_the_softened_probabilities_times_the_temperature() -> (
    None
):
    generator = torch.Generator().manual_seed(0)
    student_BC = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    teacher_BC = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    torch.autograd.backward(distillation_loss(student_BC, teacher_BC, temperature=4.0).sum())
    difference_BC = (student_BC / 4).softmax(dim=1) - (teacher_BC / 4).softmax(dim=1)
    assert student_BC.grad is not None
    torch.testing.assert_close(student_BC.grad, 4 * difference_BC.detach())


def test_no_gradient_flows_into_the_teacher() -> None:
    student_BC = torch.ones(2, 3, requires_grad=True)
    teacher_BC = torch.arange(6.0).reshape(2, 3).requires_grad_()
    torch.autograd.backward(distillation_loss(student_BC, teacher_BC, temperature=1.0).sum())
    assert teacher_BC.grad is None


def test_half_precision_logits_are_compared_in_float32() -> None:
    student_BC = torch.tensor([[0.0, 12.0]], dtype=torch.float16)
    teacher_BC = torch.tensor([[0.5, 12.0]], dtype=torch.float16)
    found = distillation_loss(student_BC, teacher_BC, temperature=1.0)
    assert found.dtype == torch.float32
    exact = distillation_loss(student_BC.double(), teacher_BC.double(), temperature=1.0)
    assert found.item() == pytest.approx(exact.item(), rel=0.1)
    assert found.item() > 0


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_is_refused(temperature: float) -> None:
    with pytest.raises(InvalidInputError, match="temperature must be above 0"):
        distillation_loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature=temperature)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"\(2, 3\) and \(2, 40\).*class_columns"):
        distillation_loss(torch.zeros(2, 3), torch.zeros(2, 40), temperature=4.0)
    with pytest.raises(InvalidInputError, match="same shape"):
        distillation_loss(torch.zeros(3), torch.zeros(3), temperature=4.0)


def test_the_objective_is_the_weighted_sum_of_its_parts() -> None:
    generator = torch.Generator().manual_seed(0)
    student_BC = torch.randn(6, 4, generator=generator)
    teacher_BC = torch.randn(6, 4, generator=generator)
    labels_B = torch.tensor([0, 1, 2, 3, 0, 1])
    objective = DistillationObjective(label_weight=0.3, teacher_weight=0.6, temperature=2.0)
    terms = objective(student_BC, teacher_BC, labels_B)
    cross_entropy = -log_softmax(student_BC.numpy(), 1.0)[np.arange(6), labels_B.numpy()].mean()
    kd = reference(student_BC.numpy(), teacher_BC.numpy(), 2.0).mean()
    assert terms.label is not None
    assert terms.teacher is not None
    assert terms.label.item() == pytest.approx(cross_entropy, rel=1e-5)
    assert terms.teacher.item() == pytest.approx(kd, rel=1e-5)
    assert terms.total.item() == pytest.approx(0.3 * cross_entropy + 0.6 * kd, rel=1e-5)


def test_a_part_without_weight_is_left_out() -> None:
    student_BC, teacher_BC = torch.zeros(2, 3), torch.ones(2, 3)
    only_labels = DistillationObjective(label_weight=1.0, teacher_weight=0.0)
    assert only_labels(student_BC, teacher_BC, torch.tensor([0, 1])).teacher is None
    only_teacher = DistillationObjective(label_weight=0.0, teacher_weight=1.0)
    assert only_teacher(student_BC, teacher_BC, torch.empty(2, 0, dtype=torch.int64)).label is None


def test_missing_labels_are_refused_where_they_are_needed() -> None:
    objective = DistillationObjective()
    with pytest.raises(InvalidInputError, match="no labels; set label_weight to 0"):
        objective(torch.zeros(2, 3), torch.zeros(2, 3), torch.empty(2, 0, dtype=torch.int64))
    with pytest.raises(InvalidInputError, match=r"labels must have shape \(2,\)"):
        objective(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"label_weight": -0.1}, "label_weight must be a number from 0 on, got -0.1"),
        ({"teacher_weight": math.nan}, "teacher_weight must be a number from 0 on"),
        ({"label_weight": 0.0, "teacher_weight": 0.0}, "both 0"),
        ({"temperature": 0.0}, "temperature must be above 0"),
    ],
)
def test_an_objective_that_cannot_be_is_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        DistillationObjective(**weights)
