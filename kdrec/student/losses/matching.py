"""Logits matched directly, without a softmax.

Shape letters: B batch, C classes.
"""

from torch import Tensor

from kdrec.student.losses.softening import as_float, check_logits


def logit_loss(student_BC: Tensor, teacher_BC: Tensor) -> Tensor:
    """Mean squared difference of the centred logits, per sample.

    Centred is our choice: a recorded teacher may have given log-probabilities, which are logits up
    to a shift, and no other loss sees a shift either.

    Args:
        student_BC: Student logits, shape (batch, classes).
        teacher_BC: Teacher logits, same shape; no gradient flows into them.

    Returns:
        The mean over the classes, shape (batch,).

    Raises:
        InvalidInputError: The shapes differ.

    References:
        Kim et al., Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in Knowledge
        Distillation, IJCAI 2021.
    """
    check_logits(student_BC, teacher_BC)
    difference_BC = as_float(student_BC) - as_float(teacher_BC.detach())
    centred_BC = difference_BC - difference_BC.mean(dim=-1, keepdim=True)
    return centred_BC.square().mean(dim=-1)
