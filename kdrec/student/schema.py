"""Settings as a frozen schema: the same names and bounds for programs, files and commands."""

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from kdrec.errors import InvalidInputError, describe_invalid


class Settings(BaseModel):
    """Values with names, bounds and one line each about what they mean.

    Attributes:
        panel: Under which heading a command line lists them.

    Raises:
        InvalidInputError: A value is out of range or a name unknown; says what is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    panel: ClassVar[str] = "Options"

    if not TYPE_CHECKING:  # a type checker shall see the fields as the arguments

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise InvalidInputError(_first_complaint(error, type(self))) from error


def _first_complaint(error: ValidationError, settings: type[Settings]) -> str:
    first = error.errors()[0]
    if first["type"] == "extra_forbidden":
        name = ".".join(str(part) for part in first["loc"])
        return f"no setting {name!r}; there are: {', '.join(settings.model_fields)}"
    return describe_invalid(error)
