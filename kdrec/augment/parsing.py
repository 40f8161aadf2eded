"""An augmentation from the text of a command line or from the tables of a TOML file."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from kdrec.augment.operations import Normalize, Reflect, Rotate, Scale, Subset, Translate
from kdrec.augment.pipeline import Augmentation
from kdrec.errors import InvalidInputError, describe_invalid

NAMES = (
    "normalize", "reflect_x", "reflect_y", "reflect_z", "rotate_x", "rotate_y", "rotate_z",
    "scale", "subset", "translate",
)  # fmt: skip
_USAGES = [kind.usage for kind in (Scale, Translate, Rotate, Reflect, Normalize, Subset)]
_PER_POINT = {
    "jitter": "a random shift for every point",
    "dropout": "a random choice for every point; use subset=COUNT, which needs nothing stored",
    "noise": "a random value for every point",
    "elastic": "a displacement for every point",
    "cutmix": "a second cloud",
    "mixup": "a second cloud",
}


def parse_augmentation(
    description: str | Sequence[Mapping[str, Any]] | Mapping[str, Any],
) -> Augmentation:
    """Read `"scale=0.9:1.1,translate=0.05,normalize"`, or tables `{op = "scale", low = ...}`.

    Args:
        description: One text; or a list of tables, one an operation; or a table with `operations`
            as a manifest has it. An empty text or `none` is no augmentation.

    Raises:
        InvalidInputError: An unknown operation or an argument out of range; says what is allowed.
    """
    if isinstance(description, str):
        text = description.strip()
        parts = [] if text in ("", "none") else [part.strip() for part in text.split(",")]
        tables: list[Any] = [_parse_part(part) for part in parts]
        return _validate({"operations": tables})
    if isinstance(description, Mapping):
        return _validate(dict(description))
    return _validate({"operations": [dict(table) for table in description]})


def _parse_part(part: str) -> dict[str, Any]:
    name, _, argument = part.partition("=")
    _check_name(name.strip())
    values = [value.strip() for value in argument.split(":")] if argument.strip() else []
    try:
        return {"op": name.strip(), **_arguments(name.strip(), values)}
    except ValueError as error:
        raise InvalidInputError(
            f"augmentation {part!r}: {error}. {_allowed(name.strip())}"
        ) from error


def _check_name(name: str) -> None:
    for refused, why in _PER_POINT.items():
        if refused in name:
            raise InvalidInputError(
                f"augmentation {name!r} cannot be recorded: it needs {why}, and storing that would "
                "make the recording some 70 times larger; put it into the student's own loop"
            )
    if name not in NAMES:
        raise InvalidInputError(f"no augmentation {name!r}; allowed are: {'; '.join(_USAGES)}")


def _arguments(name: str, values: list[str]) -> dict[str, Any]:
    family = name.partition("_")[0]
    if family == "normalize":
        _expect(len(values) == 0, "it takes no argument")
        return {}
    if family == "subset":
        _expect(len(values) == 1, "it takes one number")
        return {"count": int(values[0])}
    if family == "reflect":
        _expect(len(values) <= 1, "it takes at most one number")
        return {"probability": float(values[0])} if values else {}
    axes = (
        {"axes": values.pop()}
        if family == "scale" and values[-1:] in (["common"], ["each"])
        else {}
    )
    if len(values) == 1 and family != "scale":
        most = abs(float(values[0]))
        return {"low": -most, "high": most}
    _expect(len(values) == 2, "it takes a range")
    return {"low": float(values[0]), "high": float(values[1]), **axes}


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _allowed(name: str) -> str:
    usages = [usage for usage in _USAGES if usage.startswith(name.partition("_")[0])]
    return f"Write {usages[0]}"


def _validate(table: dict[str, Any]) -> Augmentation:
    for operation in table.get("operations", []):
        _check_name(str(operation.get("op", "")))
    try:
        return Augmentation.model_validate(table)
    except ValidationError as error:
        raise InvalidInputError(
            f"augmentation: {describe_invalid(error)}. Allowed are: {'; '.join(_USAGES)}"
        ) from error


def format_augmentation(augmentation: Augmentation) -> str:
    """The text that `parse_augmentation` reads back to the same augmentation; `none` if empty."""
    return ",".join(_format_operation(operation) for operation in augmentation.operations) or "none"


def _format_operation(operation: Any) -> str:
    match operation:
        case Scale():
            ending = ":common" if operation.axes == "common" else ""
            return f"{operation.op}={operation.low!r}:{operation.high!r}{ending}"
        case Translate() | Rotate():
            return f"{operation.op}={operation.low!r}:{operation.high!r}"
        case Reflect():
            return f"{operation.op}={operation.probability!r}"
        case Subset():
            return f"{operation.op}={operation.count}"
        case _:
            return str(operation.op)
