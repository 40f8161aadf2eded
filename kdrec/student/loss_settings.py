"""What determines a loss, and which losses cannot be; without torch, for the command line."""

import math
from typing import ClassVar, Literal, TypeAlias

from pydantic import Field, model_validator

from kdrec.student.schema import Settings

TeacherLoss: TypeAlias = Literal["kd", "dkd", "mlkd", "mse"]
SelfSource: TypeAlias = Literal["previous", "average", "view", "head"]

MULTI_LEVEL_TEMPERATURES = (4.0, 3.0, 5.0, 2.0, 6.0)


class LossSettings(Settings):
    """A weighted sum: labels, teacher, teacher in reverse, and the student itself."""

    panel: ClassVar[str] = "Loss"

    label_weight: float = Field(
        default=0.1, ge=0, description="Of the cross-entropy; at 0 the data need no labels."
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of a label that is spread over all classes."
    )
    loss: TeacherLoss = Field(
        default="kd",
        description="From the teacher: kd, dkd (decoupled), mlkd (multi-level, two views) or mse.",
    )
    teacher_weight: float = Field(default=0.9, ge=0, description="Of the loss from the teacher.")
    temperature: float = Field(default=4.0, gt=0, description="Of kd and dkd.")
    learn_temperature: bool = Field(
        default=False, description="Learn it against the student instead (CTKD)."
    )
    standardize: bool = Field(
        default=False, description="Standardise all logits first, but for the cross-entropy."
    )
    dkd_alpha: float = Field(default=1.0, ge=0, description="Of dkd's target part.")
    dkd_beta: float = Field(default=8.0, ge=0, description="Of dkd's other classes.")
    dkd_warmup: int = Field(
        default=20, ge=0, description="Epochs until dkd has its full weight; 0 for at once."
    )
    reverse_weight: float = Field(
        default=0.0,
        ge=0,
        description="Of the reverse KL: above 0, any loss becomes a Balance Divergence.",
    )
    reverse_temperature: float = Field(default=4.0, gt=0, description="Of the reverse KL.")
    self_weight: float = Field(
        default=0.0,
        description="Of the divergence from the student's own logits; below 0 it is pushed away.",
    )
    self_source: SelfSource = Field(
        default="previous",
        description="Those of the same sample an epoch ago, their running average, of another "
        "view in this step, or of an auxiliary head.",
    )
    self_temperature: float = Field(default=4.0, gt=0, description="Of that divergence.")
    self_cap: float = Field(
        default=1.0, gt=0, description="Of that divergence, in nats, before its temperature."
    )
    self_warmup: int = Field(
        default=5, ge=0, description="Epochs until it has its full weight; 0 for at once."
    )
    self_momentum: float = Field(
        default=0.9, ge=0, lt=1, description="Share that the running average keeps."
    )
    self_layer: str | None = Field(
        default=None, description="Layer that the auxiliary head reads: a vector a cloud."
    )

    @property
    def needs_labels(self) -> bool:
        """Whether the data must have labels."""
        return self.label_weight > 0 or (self.loss == "dkd" and self.teacher_weight > 0)

    @property
    def learns_from_two_views(self) -> bool:
        """Whether labels and teacher of a second view count too."""
        return self.loss == "mlkd" and self.teacher_weight > 0

    @property
    def needs_second_view(self) -> bool:
        """Whether two views of a batch are looked at."""
        return self.learns_from_two_views or self.self_source_used == "view"

    @property
    def self_source_used(self) -> SelfSource | None:
        """Where the student's own logits come from; None where they have no weight."""
        return self.self_source if self.self_weight else None

    @model_validator(mode="after")
    def _something_to_learn(self) -> "LossSettings":
        if self.label_weight == self.teacher_weight == self.reverse_weight == 0:
            raise ValueError(
                "label_weight, teacher_weight and reverse_weight are all 0, so that there is "
                "nothing to learn from; give one of them a weight above 0"
            )
        return self

    @model_validator(mode="after")
    def _goes_together(self) -> "LossSettings":
        if self.learn_temperature and not (self.loss in ("kd", "dkd") and self.teacher_weight):
            raise ValueError(
                f"learn_temperature goes with kd and dkd at a teacher_weight above 0, got loss "
                f"{self.loss!r} at {self.teacher_weight:g}; leave it out"
            )
        if self.self_source_used == "head" and self.self_layer is None:
            raise ValueError(
                "self_source 'head' needs self_layer, the layer whose output the head reads, such "
                "as feature_model of pointnet"
            )
        return self

    @model_validator(mode="after")
    def _bounded(self) -> "LossSettings":
        push = max(0.0, -self.self_weight) * self.self_temperature
        if push and push >= self._pull:
            raise ValueError(
                f"self_weight {self.self_weight:g} at self_temperature {self.self_temperature:g} "
                f"pushes the student away with {push:g}, but labels and teacher pull it back with "
                f"no more than {self._pull:g}, so that the loss has no lower bound but self_cap; "
                f"use a weight above {-self._pull / self.self_temperature:.3g}"
            )
        return self

    @property
    def _pull(self) -> float:
        """By how much labels and teacher together raise the loss for each unit all logits fall.

        The divergence from the student's own logits, pushed away with weight l, falls by l T' q_k
        for each unit that logit k falls without end; cross-entropy rises by 1 at the label, forward
        KL at T by T t_k. Summed over the classes, where probabilities sum to 1, the push must stay
        below the pull. The reverse KL pulls nothing there: it is bounded.
        """
        lowest_temperature = 1.0 if self.learn_temperature else self.temperature
        slope = {
            "kd": lowest_temperature,
            "dkd": min(self.dkd_alpha, self.dkd_beta) * lowest_temperature,
            "mlkd": sum(MULTI_LEVEL_TEMPERATURES),
            "mse": math.inf,
        }[self.loss]
        return self.label_weight + (self.teacher_weight * slope if self.teacher_weight else 0.0)
