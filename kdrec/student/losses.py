"""What a student is trained on: the labels, the recorded teacher, and how they are weighed.

Shape letters: B batch, C classes.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from kdrec.errors import InvalidInputError


def distillation_loss(student_BC: Tensor, teacher_BC: Tensor, *, temperature: float) -> Tensor:
    """Forward KL of the student from the teacher at a temperature, times its square, per sample.

    From `log_softmax` on both sides, without an epsilon, and never in less than float32: softened
    probabilities kept in half precision would lose five orders of magnitude. The factor keeps the
    gradient of the same size at every temperature.

    Args:
        student_BC: Student logits, shape (batch, classes).
        teacher_BC: Teacher logits, same shape; no gradient flows into them.
        temperature: Softens both sides.

    Returns:
        Divergence in nats times the squared temperature, shape (batch,).

    Raises:
        InvalidInputError: The shapes differ or the temperature is not positive.

    References:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
    """
    _check_temperature(temperature)
    _check_logits(student_BC, teacher_BC)
    dtype = torch.promote_types(student_BC.dtype, torch.float32)
    student_log_BC = functional.log_softmax(student_BC.to(dtype) / temperature, dim=-1)
    teacher_log_BC = functional.log_softmax(teacher_BC.detach().to(dtype) / temperature, dim=-1)
    kl_B = (teacher_log_BC.exp() * (teacher_log_BC - student_log_BC)).sum(dim=-1)
    return kl_B * temperature**2


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The loss of a batch and what it is made of, each the mean over the batch.

    Attributes:
        total: What is minimised.
        label: Cross-entropy with the labels; None where its weight is 0.
        teacher: Distillation loss; None where its weight is 0.
    """

    total: Tensor
    label: Tensor | None
    teacher: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationObjective:
    """`label_weight * cross-entropy + teacher_weight * T^2 KL(teacher || student)`.

    Attributes:
        label_weight: Of the cross-entropy; at 0 the data need no labels.
        teacher_weight: Of the distillation loss.
        temperature: T.

    Raises:
        InvalidInputError: A weight is negative, both are 0, or the temperature is not positive.
    """

    label_weight: float = 0.1
    teacher_weight: float = 0.9
    temperature: float = 4.0

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)
        for name in ("label_weight", "teacher_weight"):
            weight = getattr(self, name)
            if not 0 <= weight < math.inf:
                raise InvalidInputError(f"{name} must be a number from 0 on, got {weight}")
        if self.label_weight == self.teacher_weight == 0:
            raise InvalidInputError(
                "label_weight and teacher_weight are both 0, so that there is nothing to learn "
                "from; give one of them a weight above 0"
            )

    def __call__(self, student_BC: Tensor, teacher_BC: Tensor, labels_B: Tensor) -> LossTerms:
        """The loss of a batch.

        Args:
            student_BC: Student logits, shape (batch, classes).
            teacher_BC: Teacher logits of the same classes in the same order.
            labels_B: Class of each sample; empty where the data have no labels.

        Raises:
            InvalidInputError: The shapes do not fit, or labels are needed and there are none.
        """
        total = student_BC.new_zeros((), dtype=torch.float32)
        label = teacher = None
        if self.label_weight:
            _check_labels(labels_B, student_BC)
            label = functional.cross_entropy(student_BC.float(), labels_B)
            total = total + self.label_weight * label
        if self.teacher_weight:
            loss_B = distillation_loss(student_BC, teacher_BC, temperature=self.temperature)
            teacher = loss_B.mean()
            total = total + self.teacher_weight * teacher
        return LossTerms(total=total, label=label, teacher=teacher)


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < math.inf:
        raise InvalidInputError(f"temperature must be above 0, got {temperature}")


def _check_logits(student_BC: Tensor, teacher_BC: Tensor) -> None:
    if student_BC.ndim != 2 or student_BC.shape != teacher_BC.shape:
        raise InvalidInputError(
            "student and teacher logits must have the same shape (batch, classes), got "
            f"{tuple(student_BC.shape)} and {tuple(teacher_BC.shape)}; gather the teacher's "
            "columns by `recording.class_columns` where the classes differ"
        )


def _check_labels(labels_B: Tensor, student_BC: Tensor) -> None:
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
