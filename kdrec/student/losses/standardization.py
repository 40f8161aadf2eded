"""Logit standardization: each sample's logits to mean 0 and deviation 1, before any loss.

Shape letters: B batch, C classes.
"""

from torch import Tensor

from kdrec.student.losses.softening import as_float

_EPSILON = 1e-7


def standardize(logits_BC: Tensor) -> Tensor:
    """`(z - mean) / (std + 1e-7)` of each sample, at least float32.

    To be done to student and teacher alike: the student then matches the teacher's relations and
    not its scale. The deviation divides by C - 1, as in the published code.

    Args:
        logits_BC: Logits, shape (batch, classes).

    Returns:
        Standardised logits, same shape; zeros where all logits of a sample are equal.

    References:
        Sun et al., Logit Standardization in Knowledge Distillation, CVPR 2024.
    """
    logits_BC = as_float(logits_BC)
    # Scaled down first: the square of a large logit overflows, and the scale cancels anyway.
    scale_B1 = logits_BC.detach().abs().amax(dim=-1, keepdim=True).clamp(min=1.0)
    scaled_BC = logits_BC / scale_B1
    centred_BC = scaled_BC - scaled_BC.mean(dim=-1, keepdim=True)
    deviation_B1 = scaled_BC.std(dim=-1, keepdim=True)
    return centred_BC / (deviation_B1 + _EPSILON / scale_B1)
