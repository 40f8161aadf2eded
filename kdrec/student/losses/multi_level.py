"""Multi-level logit distillation: single samples, pairs of samples, pairs of classes.

Shape letters: B batch, C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from kdrec.errors import InvalidInputError
from kdrec.student.loss_settings import MULTI_LEVEL_TEMPERATURES
from kdrec.student.losses.divergence import distillation_loss
from kdrec.student.losses.softening import check_logits, log_probabilities


def multi_level_loss(
    student_BC: Tensor,
    teacher_BC: Tensor,
    *,
    temperatures: Sequence[float] = MULTI_LEVEL_TEMPERATURES,
) -> Tensor:
    """MLKD of one view of a batch; a training adds those of its two views.

    Summed over the temperatures: the mean over the samples of `T^2 KL(t || p)`, the squared
    difference of the Gram matrices of samples (P P^T) over B, and that of classes (P^T P) over C.
    The published code weighs the first view's terms by the share of samples (or classes) the
    teacher is less sure of, about one half, and leaves out the second view's Gram terms; treating
    both views alike is our choice.

    Args:
        student_BC: Student logits, shape (batch, classes).
        teacher_BC: Teacher logits, same shape; no gradient flows into them.
        temperatures: Of the levels, at least one.

    Returns:
        A scalar: the Gram matrices belong to the batch, not to a sample.

    Raises:
        InvalidInputError: The shapes differ, a temperature is not positive, or there is none.

    References:
        Jin et al., Multi-Level Logit Distillation, CVPR 2023.
    """
    check_logits(student_BC, teacher_BC)
    if not temperatures:
        raise InvalidInputError("multi-level distillation needs a temperature, got none")
    levels = []
    for temperature in temperatures:
        levels.append(distillation_loss(student_BC, teacher_BC, temperature=temperature).mean())
        student_p_BC = log_probabilities(student_BC, temperature).exp()
        teacher_p_BC = log_probabilities(teacher_BC.detach(), temperature).exp()
        levels.append(_gram_distance(student_p_BC, teacher_p_BC))
        levels.append(_gram_distance(student_p_BC.mT, teacher_p_BC.mT))
    return torch.stack(levels).sum()


def _gram_distance(student_RK: Tensor, teacher_RK: Tensor) -> Tensor:
    """Squared distance of the Gram matrices of the rows, over their number."""
    # Autocast would multiply in half precision, and squares of what it rounds off would remain.
    with torch.autocast(student_RK.device.type, enabled=False):
        difference_RR = student_RK @ student_RK.mT - teacher_RK @ teacher_RK.mT
    return difference_RR.square().sum() / len(student_RK)
