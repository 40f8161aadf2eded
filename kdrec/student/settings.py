"""What determines a training, apart from the recording; without torch, for the command line."""

from typing import ClassVar, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from kdrec.rng import MAX_SEED
from kdrec.student.loss_settings import LossSettings
from kdrec.student.schema import Settings

Argument: TypeAlias = bool | int | float | str

_SAME_RESULT = frozenset({"num_workers"})


class StudentSettings(Settings):
    """The network."""

    panel: ClassVar[str] = "Student"

    student: str = Field(
        default="pointnet-s", description="A name from `kdrec models`, or file.py:factory."
    )
    student_arguments: dict[str, Argument] = Field(
        default={}, description="An argument of the student."
    )

    @field_validator("student")
    @classmethod
    def _named(cls, student: str) -> str:
        if not student.strip():
            raise ValueError("give the name of a network or its factory")
        return student


class OptimizationSettings(Settings):
    """How it is optimised."""

    panel: ClassVar[str] = "Optimisation"

    epochs: int = Field(default=100, ge=1, description="Each reads one view.")
    batch_size: int = Field(default=32, ge=1, description="Samples of a step.")
    optimizer: Literal["adamw", "adam", "sgd"] = Field(
        default="adamw", description="sgd is Nesterov's where it has momentum."
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="The highest.")
    lowest_learning_rate: float = Field(default=0.0, ge=0, description="At the very end.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="Of the learning rate, step by step."
    )
    warmup_epochs: int = Field(
        default=0, ge=0, description="Over which the learning rate rises first."
    )
    weight_decay: float = Field(default=0.05, ge=0, description="Of the optimiser.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Of sgd.")
    clip_norm: float | None = Field(
        default=None, gt=0, description="Longest gradient; longer ones are shortened."
    )
    ema_decay: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Test and keep a running average of the weights with this decay, such as .999.",
    )
    precision: Literal["float32", "bf16", "fp16"] = Field(
        default="float32", description="Of the student's arithmetic; losses stay in float32."
    )
    patience: int | None = Field(
        default=None, ge=1, description="Stop after so many epochs without a better test accuracy."
    )

    @model_validator(mode="after")
    def _warms_up_before_the_end(self) -> "OptimizationSettings":
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs must be below epochs ({self.epochs}), got {self.warmup_epochs}"
            )
        return self


class TeacherSettings(Settings):
    """Which of the teachers' logits are learned from."""

    panel: ClassVar[str] = "Teachers"

    classes: Literal["data", "all"] = Field(
        default="data",
        description="Where the teacher knows more classes: gather the data's before the softmax, "
        "or keep all; the student then has as many.",
    )
    mix: Literal["mean", "draw"] = Field(
        default="mean",
        description="Of several teachers: the weighted mean of their logits, or one of them drawn "
        "for each sample and epoch.",
    )
    shares: list[float] = Field(
        default=[], description="Of each teacher in the mix, in order; equal by default."
    )

    views: str | None = Field(
        default=None,
        pattern="^[0-9]+:[0-9]+$",
        description="Only these, FIRST:END such as 0:8; all by default.",
    )
    view_order: Literal["cycle", "random"] = Field(
        default="cycle",
        description="Epoch e reads view e mod V, or each view once in an order drawn anew for "
        "every V epochs.",
    )

    @field_validator("shares")
    @classmethod
    def _shares_are_weights(cls, shares: list[float]) -> list[float]:
        if shares and (min(shares) < 0 or sum(shares) == 0):
            raise ValueError("shares must be from 0 on, and not all 0")
        return shares


class PointSettings(Settings):
    """Noise on the student's points, apart from what the teacher saw."""

    panel: ClassVar[str] = "Student's points"

    jitter: float = Field(
        default=0.0, ge=0, description="Deviation of noise on each coordinate of each point."
    )
    jitter_clip: float = Field(default=0.05, gt=0, description="The noise's largest size.")
    point_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Largest share of points that are replaced by the cloud's first one.",
    )


class RunSettings(Settings):
    """Where and how it runs."""

    panel: ClassVar[str] = "Run"

    labels_only: bool = Field(
        default=False, description="Same clouds, no teacher: what it adds is the difference."
    )
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="Of weights, order and dropout.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto takes a GPU where there is one."
    )
    num_workers: int = Field(
        default=0, ge=0, description="Processes that read and replay; changes no result."
    )
    threads: int | None = Field(
        default=None, ge=1, description="Of the CPU; they change the last bits."
    )


# The fields stand in the order of the parts from the last to the first.
class TrainSettings(
    RunSettings,
    PointSettings,
    TeacherSettings,
    LossSettings,
    OptimizationSettings,
    StudentSettings,
):
    """See the module and its parts."""

    @property
    def losses(self) -> LossSettings:
        """Those of the loss, `labels_only` taken into account."""
        if self.labels_only:
            smoothing = self.label_smoothing
            return LossSettings(label_weight=1.0, teacher_weight=0.0, label_smoothing=smoothing)
        return LossSettings(**self.model_dump(include=set(LossSettings.model_fields)))

    @model_validator(mode="after")
    def _has_a_past(self) -> "TrainSettings":
        source = self.losses.self_source_used
        if source in ("previous", "average") and self.epochs == 1:
            raise ValueError(
                f"self_source {source!r} compares with earlier epochs, but epochs is 1; train "
                "longer, or use another source"
            )
        return self

    def differences(self, other: "TrainSettings") -> list[str]:
        """What differs and can change the result: `epochs: 4 before, 8 now`."""
        mine, theirs = self.model_dump(), other.model_dump()
        return [
            f"{name}: {mine[name]} before, {theirs[name]} now"
            for name in mine
            if name not in _SAME_RESULT and mine[name] != theirs[name]
        ]
