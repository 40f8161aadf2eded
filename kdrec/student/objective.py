"""What a student is trained on: the labels, the teacher, itself, and how they are weighed.

Shape letters: B batch, C classes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kdrec.student.loss_settings import LossSettings
from kdrec.student.losses import (
    decoupled_loss,
    distillation_loss,
    logit_loss,
    multi_level_loss,
    reverse_loss,
    self_distillation_loss,
    standardize,
)
from kdrec.student.losses.softening import as_float, check_labels


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The loss of a batch and what it is made of, each the mean over the batch.

    Attributes:
        total: What is minimised.
        parts: Unweighted, those with a weight: `label`, `teacher`, `reverse`, `self`; and
            `temperature` where it is learned.
    """

    total: Tensor
    parts: dict[str, Tensor]


class Judged(NamedTuple):
    """One view of a batch, with what student and teacher say about it.

    Attributes:
        student_BC: Student logits, shape (batch, classes).
        teacher_BC: Teacher logits of the same classes in the same order.
        labels_B: Class of each sample; empty where the data have no labels.
    """

    student_BC: Tensor
    teacher_BC: Tensor
    labels_B: Tensor


@dataclass(frozen=True, slots=True)
class DistillationObjective:
    """The loss of settings, as a pure function of logits.

    Attributes:
        settings: Which losses, with which weights.
    """

    settings: LossSettings

    def __call__(
        self,
        *views: Judged,
        epoch: int = 0,
        self_BC: Tensor | None = None,
        temperature: Tensor | None = None,
    ) -> LossTerms:
        """The loss of a batch.

        Args:
            *views: One view of the batch; two for `mlkd`, whose losses are added.
            epoch: From 0, for what warms up.
            self_BC: Logits of the student's own for the first view; rows of NaN where there are
                none yet.
            temperature: In place of the fixed one, where it is learned.

        Raises:
            InvalidInputError: The shapes do not fit, or labels are needed and there are none.
        """
        learned = views if self.settings.learns_from_two_views else views[:1]
        total, parts = _zero(views[0].student_BC), {}
        for name, weight, part in self._weighted(learned, epoch, self_BC, temperature):
            total = total + weight * part
            parts[name] = part
        if temperature is not None:
            parts["temperature"] = temperature
        return LossTerms(total=total, parts=parts)

    def _weighted(
        self,
        views: tuple[Judged, ...],
        epoch: int,
        self_BC: Tensor | None,
        temperature: Tensor | None,
    ) -> Iterator[tuple[str, float, Tensor]]:
        settings = self.settings
        if settings.label_weight:
            yield "label", settings.label_weight, _added(views, self._label_loss)
        views = tuple(self._prepared(view) for view in views)
        if settings.teacher_weight:
            warm = _ramp(epoch, settings.dkd_warmup) if settings.loss == "dkd" else 1.0
            part = _added(views, lambda view: self._teacher_loss(view, temperature))
            yield "teacher", settings.teacher_weight * warm, part
        if settings.reverse_weight:
            yield "reverse", settings.reverse_weight, _added(views, self._reverse_loss)
        if settings.self_weight and self_BC is not None:
            weight = settings.self_weight * _ramp(epoch, settings.self_warmup)
            yield "self", weight, self._self_loss(views[0], self_BC)

    def _prepared(self, view: Judged) -> Judged:
        if not self.settings.standardize:
            return view
        return Judged(standardize(view.student_BC), standardize(view.teacher_BC), view.labels_B)

    def _label_loss(self, view: Judged) -> Tensor:
        check_labels(view.labels_B, view.student_BC)
        smoothing = self.settings.label_smoothing
        return functional.cross_entropy(
            as_float(view.student_BC), view.labels_B, label_smoothing=smoothing
        )

    def _teacher_loss(self, view: Judged, temperature: Tensor | None) -> Tensor:
        settings = self.settings
        softened = settings.temperature if temperature is None else temperature
        if settings.loss == "mlkd":
            return multi_level_loss(view.student_BC, view.teacher_BC)
        if settings.loss == "mse":
            return logit_loss(view.student_BC, view.teacher_BC).mean()
        if settings.loss == "dkd":
            return decoupled_loss(
                view.student_BC,
                view.teacher_BC,
                view.labels_B,
                temperature=softened,
                alpha=settings.dkd_alpha,
                beta=settings.dkd_beta,
            ).mean()
        return distillation_loss(view.student_BC, view.teacher_BC, temperature=softened).mean()

    def _reverse_loss(self, view: Judged) -> Tensor:
        temperature = self.settings.reverse_temperature
        return reverse_loss(view.student_BC, view.teacher_BC, temperature=temperature).mean()

    def _self_loss(self, view: Judged, self_BC: Tensor) -> Tensor:
        settings = self.settings
        return self_distillation_loss(
            view.student_BC,
            standardize(self_BC) if settings.standardize else self_BC,
            temperature=settings.self_temperature,
            cap=settings.self_cap,
        ).mean()


def _zero(logits_BC: Tensor) -> Tensor:
    return logits_BC.new_zeros((), dtype=torch.promote_types(logits_BC.dtype, torch.float32))


def _added(views: tuple[Judged, ...], loss: Callable[[Judged], Tensor]) -> Tensor:
    return torch.stack([loss(view) for view in views]).sum()


def _ramp(epoch: int, warmup: int) -> float:
    """Share of a weight in an epoch: grows in equal steps, full from epoch `warmup - 1` on."""
    return min((epoch + 1) / warmup, 1.0) if warmup else 1.0
