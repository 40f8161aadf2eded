"""Every loss against its formula in float64, its gradient against differences, and its properties.

Shape letters: B batch, C classes.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kdrec.student import losses
from kdrec.student.losses import (
    balance_divergence,
    decoupled_loss,
    distillation_loss,
    logit_loss,
    multi_level_loss,
    reverse_loss,
    self_distillation_loss,
    standardize,
    weighted_sum_divergence,
)
from tests.student.losses import reference

LABELS = torch.tensor([0, 3, 1])
Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {
    "kd": lambda p, t: distillation_loss(p, t, temperature=4.0),
    "reverse": lambda p, t: reverse_loss(p, t, temperature=2.0),
    "balance": lambda p, t: balance_divergence(p, t, reverse_temperature=1.0),
    "wsd": lambda p, t: weighted_sum_divergence(p, t, reverse_share=0.3),
    "dkd": lambda p, t: decoupled_loss(p, t, LABELS),
    "mlkd": multi_level_loss,
    "mse": logit_loss,
    "standardized kd": lambda p, t: distillation_loss(
        standardize(p), standardize(t), temperature=2.0
    ),
    "self": lambda p, t: self_distillation_loss(p, t, cap=math.inf),
}


def make_logits(
    seed: int, *, scale: float = 3.0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng(seed)
    student, teacher = torch.from_numpy(generator.normal(size=(2, 3, 4)) * scale).to(dtype)
    return student, teacher


def expected(name: str, p: reference.FloatArray, t: reference.FloatArray) -> float:
    """The value for student logits p and teacher logits t."""
    kd, kd_reverse = reference.forward(p, t, 4.0), reference.reverse(p, t, 4.0)
    centred = [logits - logits.mean(axis=1, keepdims=True) for logits in (p, t)]
    standard_p, standard_t = reference.standardized(p), reference.standardized(t)
    values = {
        "kd": kd.mean(),
        "reverse": reference.reverse(p, t, 2.0).mean(),
        "balance": (0.9 * kd + 0.5 * reference.reverse(p, t, 1.0)).mean(),
        "wsd": (0.7 * kd + 0.3 * kd_reverse).mean(),
        "dkd": reference.decoupled(p, t, LABELS.numpy(), 4.0, 1.0, 8.0).mean(),
        "mlkd": reference.multi_level(p, t, (4.0, 3.0, 5.0, 2.0, 6.0)),
        "mse": ((centred[0] - centred[1]) ** 2).mean(),
        "standardized kd": reference.forward(standard_p, standard_t, 2.0).mean(),
        "self": kd.mean(),
    }
    return float(values[name])


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 20))
def test_a_loss_is_its_formula(name: str, seed: int, scale: float) -> None:
    student, teacher = make_logits(seed, scale=scale)
    found = LOSSES[name](student, teacher).mean().item()
    assert found == pytest.approx(
        expected(name, student.numpy(), teacher.numpy()), rel=1e-9, abs=1e-9
    )


@pytest.mark.parametrize("name", LOSSES)
def test_a_gradient_is_that_of_finite_differences(name: str) -> None:
    student, teacher = make_logits(1, scale=2.0)
    assert torch.autograd.gradcheck(
        lambda logits: LOSSES[name](logits, teacher), (student.requires_grad_(),)
    )


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 10_000))
def test_equal_logits_lose_nothing_and_pull_nowhere(name: str, seed: int) -> None:
    student, _ = make_logits(seed)
    leaf = student.clone().requires_grad_()
    loss = LOSSES[name](leaf, student).sum()
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    assert leaf.grad is not None
    assert leaf.grad.abs().max() < 1e-9


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 10_000))
def test_a_loss_is_never_negative(name: str, seed: int) -> None:
    assert LOSSES[name](*make_logits(seed)).min() >= -1e-12


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 10_000), shift=st.floats(-50, 50))
def test_a_shift_of_all_logits_changes_nothing(name: str, seed: int, shift: float) -> None:
    student, teacher = make_logits(seed)
    for moved in ((student + shift, teacher), (student, teacher + shift)):
        torch.testing.assert_close(
            LOSSES[name](*moved), LOSSES[name](student, teacher), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_compared_in_float32(name: str, dtype: torch.dtype) -> None:
    student, teacher = make_logits(3, scale=5.0, dtype=dtype)
    found = LOSSES[name](student, teacher)
    assert found.dtype == torch.float32
    exact = LOSSES[name](student.double(), teacher.double())
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("size", [1e4, 6e4, 1e18])
def test_extreme_logits_give_a_finite_loss_and_gradient(name: str, size: float) -> None:
    student = torch.tensor([[size, -size, 0.0, 1.0], [0.0, size, size, -size]], requires_grad=True)
    teacher = torch.tensor([[-size, 0.0, size, 1.0], [0.0, 0.0, -size, size]])
    rows = {"dkd": lambda p, t: decoupled_loss(p, t, torch.tensor([0, 3]))}
    loss = rows.get(name, LOSSES[name])(student, teacher).sum()
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", LOSSES)
def test_no_gradient_flows_into_the_teacher(name: str) -> None:
    student, teacher = make_logits(0)
    teacher.requires_grad_()
    torch.autograd.backward(LOSSES[name](student.requires_grad_(), teacher).sum())
    assert teacher.grad is None


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "mlkd"])
def test_a_sample_weighs_the_same_in_any_batch(name: str) -> None:
    student, teacher = make_logits(5)
    whole_B = LOSSES[name](student, teacher)
    assert whole_B.shape == (3,)
    if name != "dkd":
        alone = LOSSES[name](student[1:2], teacher[1:2])
        torch.testing.assert_close(alone, whole_B[1:2])


@given(st.integers(0, 10_000))
def test_at_a_high_temperature_both_directions_are_half_the_centred_squares(seed: int) -> None:
    # Hinton et al., section 2.1: T^2 KL tends to ||z_s - z_t||^2 / 2C for logits of mean 0.
    student, teacher = make_logits(seed, scale=1.0)
    for loss in (distillation_loss, reverse_loss):
        found = loss(student, teacher, temperature=1e4)
        torch.testing.assert_close(found, 0.5 * logit_loss(student, teacher), rtol=1e-2, atol=1e-5)


@given(st.integers(0, 10_000))
def test_at_a_low_temperature_only_the_greatest_logit_counts(seed: int) -> None:
    _, teacher = make_logits(seed)
    student = teacher * 0.5  # another scale, the same order
    found = distillation_loss(student, teacher, temperature=1e-3) / 1e-3**2
    assert found.max() < 1e-6 or teacher.topk(2).values.diff().abs().min() < 0.05


@given(st.integers(0, 10_000))
def test_kd_is_decoupled_into_target_and_others(seed: int) -> None:
    # KD = TCKD + (1 - t_y) NCKD, equation 7 of the paper.
    student, teacher = make_logits(seed)
    target = decoupled_loss(student, teacher, LABELS, alpha=1.0, beta=0.0)
    others = decoupled_loss(student, teacher, LABELS, alpha=0.0, beta=1.0)
    rest_B = 1 - (teacher / 4.0).softmax(dim=1)[torch.arange(3), LABELS]
    torch.testing.assert_close(
        target + rest_B * others, distillation_loss(student, teacher, temperature=4.0)
    )


def test_the_reverse_gradient_is_the_one_that_is_derived() -> None:
    student, teacher = make_logits(2)
    leaf = student.clone().requires_grad_()
    torch.autograd.backward(reverse_loss(leaf, teacher, temperature=2.0).sum())
    log_p, log_t = (student / 2).log_softmax(1), (teacher / 2).log_softmax(1)
    p, difference = log_p.exp(), log_p - log_t
    kl = (p * difference).sum(1, keepdim=True)
    torch.testing.assert_close(leaf.grad, 2.0 * p * (difference - kl))


@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(-10, 10))
def test_standardised_logits_forget_scale_and_shift(seed: int, scale: float, shift: float) -> None:
    logits, _ = make_logits(seed)
    found = standardize(logits)
    torch.testing.assert_close(found, standardize(logits * scale + shift), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.mean(dim=1), torch.zeros(3).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(found.std(dim=1), torch.ones(3).double(), atol=1e-4, rtol=0)


def test_logits_that_are_all_equal_are_standardised_to_zeros_with_a_finite_gradient() -> None:
    logits = torch.full((2, 4), 7.0, requires_grad=True)
    found = standardize(logits)
    torch.autograd.backward((found * torch.arange(4)).sum())
    assert (found == 0).all()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_face_of_the_losses_is_pinned() -> None:
    assert losses.__all__ == [
        "CurriculumTemperature",
        "balance_divergence",
        "curriculum_scale",
        "decoupled_loss",
        "distillation_loss",
        "logit_loss",
        "multi_level_loss",
        "reverse_loss",
        "self_distillation_loss",
        "standardize",
        "weighted_sum_divergence",
    ]
