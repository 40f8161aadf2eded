"""What determines a training, apart from the recording."""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from kdrec.errors import InvalidInputError
from kdrec.rng import MAX_SEED
from kdrec.student.losses import DistillationObjective

Argument: TypeAlias = bool | int | float | str

_SAME_RESULT = frozenset({"num_workers"})


class TrainSettings(BaseModel):
    """See the module.

    Attributes:
        student: Name of a registered network, or `package.module:factory` or `file.py:factory`;
            a factory is called with `num_classes`, `num_channels` and the arguments.
        student_arguments: Of the network.
        epochs: Epoch e trains on view e mod V.
        batch_size: Samples of a step.
        learning_rate: Of AdamW at the first step; falls to 0 along a cosine.
        weight_decay: Of AdamW.
        label_weight: Of the cross-entropy; at 0 the data need no labels.
        teacher_weight: Of the distillation loss.
        temperature: Of the distillation loss.
        labels_only: Train on the labels alone, at weight 1, on the same augmented points: what the
            teacher adds is the difference.
        seed: Of the weights, the order and dropout.
        device: `auto` takes a GPU where there is one.
        num_workers: Processes that read and replay; 0 does it in this one. Changes no result.
        threads: Of the CPU; by default torch's own choice. They change the last bits.

    Raises:
        InvalidInputError: A value is out of range or a name unknown; says what is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    student: str = "pointnet-s"
    student_arguments: dict[str, Argument] = {}
    epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    label_weight: float = Field(default=0.1, ge=0)
    teacher_weight: float = Field(default=0.9, ge=0)
    temperature: float = Field(default=4.0, gt=0)
    labels_only: bool = False
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_workers: int = Field(default=0, ge=0)
    threads: int | None = Field(default=None, ge=1)

    if not TYPE_CHECKING:  # a type checker shall see the fields as the arguments

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise InvalidInputError(_first_complaint(error)) from error

    @field_validator("student")
    @classmethod
    def _named(cls, student: str) -> str:
        if not student.strip():
            raise ValueError("give the name of a network or its factory")
        return student

    @model_validator(mode="after")
    def _something_to_learn(self) -> "TrainSettings":
        _ = self.objective
        return self

    @property
    def objective(self) -> DistillationObjective:
        """The loss."""
        return DistillationObjective(
            label_weight=1.0 if self.labels_only else self.label_weight,
            teacher_weight=0.0 if self.labels_only else self.teacher_weight,
            temperature=self.temperature,
        )

    def differences(self, other: "TrainSettings") -> list[str]:
        """What differs and can change the result: `epochs: 4 before, 8 now`."""
        mine, theirs = self.model_dump(), other.model_dump()
        return [
            f"{name}: {mine[name]} before, {theirs[name]} now"
            for name in mine
            if name not in _SAME_RESULT and mine[name] != theirs[name]
        ]


def _first_complaint(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"no setting {name!r}; there are: {', '.join(TrainSettings.model_fields)}"
    message = first["msg"].removeprefix("Value error, ")
    if not name:
        return message
    return f"{name}: {message[0].lower()}{message[1:]}, got {first['input']!r}"
