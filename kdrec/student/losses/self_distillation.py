"""Self-distillation: the student beside logits of its own, to be drawn to them or pushed away.

Shape letters: B batch, C classes.
"""

import math

from torch import Tensor

from kdrec.errors import InvalidInputError
from kdrec.student.losses.divergence import distillation_loss
from kdrec.student.losses.softening import as_float


def self_distillation_loss(
    student_BC: Tensor, self_BC: Tensor, *, temperature: float = 4.0, cap: float = 1.0
) -> Tensor:
    """`T^2 min(KL(stopgrad(self) || student), cap)`, per sample; the weight gives the sign.

    With a negative weight the student is pushed away from what it said before. That term alone is
    unbounded below, so it is capped: a sample further away than `cap` is let go. What "self" is,
    the cap and the temperature of its own are our choice.

    Args:
        student_BC: Student logits, shape (batch, classes).
        self_BC: Logits that the student gave elsewhere, same shape; no gradient flows into them. A
            row of NaN, a sample it has given none for, counts 0.
        temperature: Of this term.
        cap: Of the divergence in nats, before it is multiplied by T^2; infinity for none.

    Returns:
        The capped divergence, shape (batch,).

    Raises:
        InvalidInputError: The shapes differ, the temperature or the cap is not positive, or both
            logits are one tensor, for which the gradient is exactly zero.

    References:
        Zheng et al., arXiv 2409.02020 (the idea; formula and weights are not public to us).
    """
    if not cap > 0:
        raise InvalidInputError(f"cap must be above 0, got {cap}")
    if self_BC.data_ptr() == student_BC.data_ptr() and self_BC.numel():
        raise InvalidInputError(
            "the student's logits are compared with themselves, which has no gradient; give those "
            "of an earlier epoch, another view, an average or an auxiliary head"
        )
    self_BC = as_float(self_BC.detach())
    # Replaced before the divergence, not masked after it: the gradient of NaN times 0 is NaN.
    self_BC = self_BC.where(~self_BC.isnan(), as_float(student_BC.detach()))
    loss_B = distillation_loss(student_BC, self_BC, temperature=temperature)
    return loss_B if math.isinf(cap) else loss_B.clamp(max=cap * temperature**2)
