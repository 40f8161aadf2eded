"""The student beside itself: signs, cap, what is void and what has no bound.

Shape letters: B batch, C classes.
"""

import math

import pytest
import torch

from kdrec.errors import InvalidInputError
from kdrec.student.losses import distillation_loss, self_distillation_loss


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, own = 3 * torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    return student.requires_grad_(), own


def test_beyond_the_cap_a_sample_is_let_go() -> None:
    student, own = pair()
    free_B = self_distillation_loss(student, own, temperature=2.0, cap=math.inf)
    cap = free_B.detach().median().item() / 4
    capped_B = self_distillation_loss(student, own, temperature=2.0, cap=cap)
    torch.testing.assert_close(capped_B, free_B.clamp(max=4 * cap))
    torch.autograd.backward(capped_B.sum())
    assert student.grad is not None
    let_go_B = free_B > 4 * cap
    assert let_go_B.any()
    assert not let_go_B.all()
    assert (student.grad[let_go_B] == 0).all()
    assert (student.grad[~let_go_B] != 0).all()


def test_a_negative_weight_has_the_gradient_towards_a_target_pushed_away() -> None:
    # m KL(t||p) - l KL(q||p) at T = 1 has the gradient (m - l)(p - t*), t* = t + l/(m-l) (t - q).
    student, own = pair()
    teacher = torch.roll(own, 1, dims=1) + 0.3
    m, weight = 0.9, 0.2
    loss = m * distillation_loss(student, teacher, temperature=1.0) - weight * (
        self_distillation_loss(student, own, temperature=1.0, cap=math.inf)
    )
    torch.autograd.backward(loss.sum())
    p, t, q = (x.detach().softmax(dim=1) for x in (student, teacher, own))
    target = t + weight / (m - weight) * (t - q)
    torch.testing.assert_close(student.grad, (m - weight) * (p - target))


def test_a_sample_without_an_earlier_logit_counts_nothing_and_keeps_its_gradient_finite() -> None:
    student, own = pair()
    own[2] = math.nan
    loss_B = self_distillation_loss(student, own)
    torch.autograd.backward(loss_B.sum())
    assert loss_B[2].item() == 0
    assert (loss_B[[0, 1, 3, 4]] > 0).all()
    assert student.grad is not None
    assert student.grad[2].abs().max() < 1e-12
    assert torch.isfinite(student.grad).all()


def test_ones_own_logits_of_the_same_step_are_refused_as_void() -> None:
    student, _ = pair()
    for own in (student, student.detach()):
        with pytest.raises(InvalidInputError, match="compared with themselves"):
            self_distillation_loss(student, own)


@pytest.mark.parametrize("cap", [0.0, -1.0, math.nan])
def test_a_cap_that_is_not_positive_is_refused(cap: float) -> None:
    with pytest.raises(InvalidInputError, match="cap must be above 0"):
        self_distillation_loss(*pair(), cap=cap)


def test_without_a_cap_the_negative_term_has_no_bound_and_with_it_it_has() -> None:
    own = torch.zeros(1, 2)
    far = torch.tensor([[-1e6, 0.0]])
    uncapped = self_distillation_loss(far, own, temperature=1.0, cap=math.inf)
    assert uncapped.item() > 4e5
    assert self_distillation_loss(far, own, temperature=1.0, cap=1.0).item() == 1.0
