"""KL divergences between student and teacher, one direction or both.

Shape letters: B batch, C classes.
"""

from torch import Tensor

from kdrec.student.losses.softening import (
    check_logits,
    check_temperature,
    check_weight,
    log_probabilities,
)


def distillation_loss(
    student_BC: Tensor, teacher_BC: Tensor, *, temperature: float | Tensor
) -> Tensor:
    """KD: forward KL of the student from the teacher, times the squared temperature, per sample.

    The factor keeps the gradient of the same size at every temperature.

    Args:
        student_BC: Student logits, shape (batch, classes).
        teacher_BC: Teacher logits, same shape; no gradient flows into them.
        temperature: Softens both sides; a tensor of no dimension where it is learned.

    Returns:
        `T^2 KL(t || p)` in nats, shape (batch,).

    Raises:
        InvalidInputError: The shapes differ or the temperature is not positive.

    References:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
    """
    student_log_BC, teacher_log_BC = _both(student_BC, teacher_BC, temperature)
    kl_B = (teacher_log_BC.exp() * (teacher_log_BC - student_log_BC)).sum(dim=-1)
    return kl_B * temperature**2


def reverse_loss(student_BC: Tensor, teacher_BC: Tensor, *, temperature: float | Tensor) -> Tensor:
    """Reverse KL of the student from the teacher, times the squared temperature, per sample.

    Where forward KL neglects classes to which the teacher gives almost nothing, reverse KL punishes
    a student that gives them more. Its gradient is `T p_k (log(p_k / t_k) - KL(p || t))`.

    Args:
        student_BC: Student logits, shape (batch, classes).
        teacher_BC: Teacher logits, same shape; no gradient flows into them.
        temperature: Softens both sides.

    Returns:
        `T^2 KL(p || t)` in nats, shape (batch,).

    Raises:
        InvalidInputError: The shapes differ or the temperature is not positive.
    """
    student_log_BC, teacher_log_BC = _both(student_BC, teacher_BC, temperature)
    kl_B = (student_log_BC.exp() * (student_log_BC - teacher_log_BC)).sum(dim=-1)
    return kl_B * temperature**2


def balance_divergence(
    student_BC: Tensor,
    teacher_BC: Tensor,
    *,
    forward_weight: float = 0.9,
    forward_temperature: float = 4.0,
    reverse_weight: float = 0.5,
    reverse_temperature: float = 4.0,
) -> Tensor:
    """Forward KL with a compensating reverse KL, a weight and a temperature each, per sample.

    The paper's idea is the reverse term and the balanced temperatures; this formula, its weights
    and its temperatures are our own choice.

    Args:
        student_BC: Student logits, shape (batch, classes).
        teacher_BC: Teacher logits, same shape; no gradient flows into them.
        forward_weight: Of `T_f^2 KL(t || p)`.
        forward_temperature: T_f.
        reverse_weight: Of `T_r^2 KL(p || t)`.
        reverse_temperature: T_r.

    Returns:
        The weighted sum, shape (batch,).

    Raises:
        InvalidInputError: The shapes differ, a temperature is not positive, a weight negative.

    References:
        Qi et al., Balance Divergence for Knowledge Distillation, arXiv 2501.07804.
    """
    check_weight(forward_weight, name="forward_weight")
    check_weight(reverse_weight, name="reverse_weight")
    forward_B = distillation_loss(student_BC, teacher_BC, temperature=forward_temperature)
    reverse_B = reverse_loss(student_BC, teacher_BC, temperature=reverse_temperature)
    return forward_weight * forward_B + reverse_weight * reverse_B


def weighted_sum_divergence(
    student_BC: Tensor, teacher_BC: Tensor, *, reverse_share: float = 0.5, temperature: float = 4.0
) -> Tensor:
    """WSD: both directions of KL at one temperature, per sample.

    Args:
        student_BC: Student logits, shape (batch, classes).
        teacher_BC: Teacher logits, same shape; no gradient flows into them.
        reverse_share: l in `(1 - l) KL(t || p) + l KL(p || t)`, from 0 to 1.
        temperature: Of both; the sum is multiplied by its square.

    Returns:
        The weighted sum, shape (batch,).

    Raises:
        InvalidInputError: The shapes differ, the temperature is not positive, the share is not
            from 0 to 1.
    """
    return balance_divergence(
        student_BC,
        teacher_BC,
        forward_weight=1 - reverse_share,
        forward_temperature=temperature,
        reverse_weight=reverse_share,
        reverse_temperature=temperature,
    )


def _both(
    student_BC: Tensor, teacher_BC: Tensor, temperature: float | Tensor
) -> tuple[Tensor, Tensor]:
    check_temperature(temperature)
    check_logits(student_BC, teacher_BC)
    return (
        log_probabilities(student_BC, temperature),
        log_probabilities(teacher_BC.detach(), temperature),
    )
