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
from kdrec.student import distillation_loss
from tests.student.losses.reference import FloatArray, log_softmax

logits = arrays(np.float32, (3, 4), elements=st.floats(-30, 30, width=32))
temperatures = st.floats(0.5, 20)


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
