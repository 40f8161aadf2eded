"""Logits as softened log-probabilities: the arithmetic that all losses share.

Shape letters: B batch, C classes.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from kdrec.errors import InvalidInputError


def as_float(logits_BC: Tensor) -> Tensor:
    """The logits in float32, or in float64 if they are: a loss is never computed in less."""
    return logits_BC.to(torch.promote_types(logits_BC.dtype, torch.float32))


def log_probabilities(logits_BC: Tensor, temperature: float | Tensor) -> Tensor:
    """Logarithms of the softmax at a temperature, without an epsilon, at least float32.

    Softened probabilities kept in half precision would lose five orders of magnitude.
    """
    return functional.log_softmax(as_float(logits_BC) / temperature, dim=-1)


def check_temperature(temperature: float | Tensor, *, name: str = "temperature") -> None:
    """Whether it softens.

    A tensor, that is one being learned, passes unread: reading it would make the host wait.

    Raises:
        InvalidInputError: It is not positive or not finite.
    """
    if not isinstance(temperature, Tensor) and not 0 < temperature < math.inf:
        raise InvalidInputError(f"{name} must be above 0, got {temperature}")


def check_weight(value: float, *, name: str) -> None:
    """Whether it can weigh a part of a loss.

    Raises:
        InvalidInputError: It is negative or not finite.
    """
    if not 0 <= value < math.inf:
        raise InvalidInputError(f"{name} must be a number from 0 on, got {value}")


def check_logits(student_BC: Tensor, teacher_BC: Tensor) -> None:
    """Whether two sets of logits are of the same samples and classes.

    Raises:
        InvalidInputError: They are not.
    """
    if student_BC.ndim != 2 or student_BC.shape != teacher_BC.shape:
        raise InvalidInputError(
            "student and teacher logits must have the same shape (batch, classes), got "
            f"{tuple(student_BC.shape)} and {tuple(teacher_BC.shape)}; gather the teacher's "
            "columns by `recording.class_columns` where the classes differ"
        )


def check_labels(labels_B: Tensor, student_BC: Tensor) -> None:
    """Whether there is one label for each sample.

    Raises:
        InvalidInputError: There is none, or they are of another shape.
    """
    if labels_B.shape == student_BC.shape[:1]:
        return
    if labels_B.numel() == 0:
        raise InvalidInputError(
            "the data have no labels; set label_weight to 0 to learn from the teacher alone, or "
            "give samples with labels"
        )
    raise InvalidInputError(
        f"labels must have shape ({len(student_BC)},), one for each sample, "
        f"got {tuple(labels_B.shape)}"
    )
