"""Decoupled knowledge distillation: the target class and the others, weighed apart.

Shape letters: B batch, C classes.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from kdrec.errors import InvalidInputError
from kdrec.student.losses.softening import (
    as_float,
    check_labels,
    check_logits,
    check_temperature,
    check_weight,
)


def decoupled_loss(
    student_BC: Tensor,
    teacher_BC: Tensor,
    labels_B: Tensor,
    *,
    temperature: float | Tensor = 4.0,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """DKD: `T^2 (alpha TCKD + beta NCKD)`, per sample.

    TCKD is the KL of (target, not target), NCKD the KL among the other classes. The published code
    keeps the target out by subtracting 1,000 and takes logarithms of sums of probabilities; here
    it is left out, and sums are `logsumexp`, so that extreme logits stay finite. Where both are
    finite they agree.

    Args:
        student_BC: Student logits, shape (batch, classes), at least two classes.
        teacher_BC: Teacher logits, same shape; no gradient flows into them.
        labels_B: Target class of each sample.
        temperature: Softens both sides; a tensor of no dimension where it is learned.
        alpha: Of TCKD.
        beta: Of NCKD.

    Returns:
        The weighted sum, shape (batch,).

    Raises:
        InvalidInputError: The shapes do not fit, there are no labels, or a number is out of range.

    References:
        Zhao et al., Decoupled Knowledge Distillation, CVPR 2022.
    """
    check_temperature(temperature)
    check_weight(alpha, name="alpha")
    check_weight(beta, name="beta")
    check_logits(student_BC, teacher_BC)
    check_labels(labels_B, student_BC)
    if student_BC.shape[1] < 2:
        raise InvalidInputError("decoupled distillation needs at least 2 classes, got 1")
    target_BC = functional.one_hot(labels_B, student_BC.shape[1]).bool()
    student_BC = as_float(student_BC) / temperature
    teacher_BC = as_float(teacher_BC.detach()) / temperature
    target_B = _target_divergence(student_BC, teacher_BC, target_BC)
    others_B = _others_divergence(student_BC, teacher_BC, target_BC)
    return (alpha * target_B + beta * others_B) * temperature**2


def _target_divergence(student_BC: Tensor, teacher_BC: Tensor, target_BC: Tensor) -> Tensor:
    student_B2, teacher_B2 = _two_way(student_BC, target_BC), _two_way(teacher_BC, target_BC)
    return (teacher_B2.exp() * (teacher_B2 - student_B2)).sum(dim=-1)


def _two_way(logits_BC: Tensor, target_BC: Tensor) -> Tensor:
    """Log-probabilities of the target and of all the rest."""
    rest_B = logits_BC.masked_fill(target_BC, -math.inf).logsumexp(dim=-1)
    target_B = logits_BC.masked_fill(~target_BC, -math.inf).amax(dim=-1)
    return functional.log_softmax(torch.stack([target_B, rest_B], dim=-1), dim=-1)


def _others_divergence(student_BC: Tensor, teacher_BC: Tensor, target_BC: Tensor) -> Tensor:
    student_log_BC = functional.log_softmax(student_BC.masked_fill(target_BC, -math.inf), dim=-1)
    teacher_log_BC = functional.log_softmax(teacher_BC.masked_fill(target_BC, -math.inf), dim=-1)
    difference_BC = (teacher_log_BC - student_log_BC).masked_fill(target_BC, 0.0)
    return (teacher_log_BC.exp() * difference_BC).sum(dim=-1)
