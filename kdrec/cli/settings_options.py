"""Options of a command made from a schema of settings: one place for names, bounds and help."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from kdrec.factories import parse_arguments
from kdrec.student.schema import Settings

_PARAMETER = "settings"
_Command = Callable[..., None]


def with_settings(settings: type[Settings]) -> Callable[[_Command], _Command]:
    """Give a command an option for each of the settings, in place of its parameter `settings`.

    Bounds are the schema's own, so that a file, a program and a command line refuse the same values
    with the same words.
    """

    def decorate(command: _Command) -> _Command:
        options = {_option_name(name): name for name in settings.model_fields}

        @functools.wraps(command)
        def run(**values: Any) -> None:
            chosen = {field: values.pop(option) for option, field in options.items()}
            command(settings=settings(**_parsed(settings, chosen)), **values)

        parameters = list(_parameters(command, settings))
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _parameters(command: _Command, settings: type[Settings]) -> Iterator[inspect.Parameter]:
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name != _PARAMETER:
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            continue
        for name, field in settings.model_fields.items():
            yield inspect.Parameter(
                _option_name(name),
                inspect.Parameter.KEYWORD_ONLY,
                default=None if _is_mapping(field) or field.default == [] else field.default,
                annotation=_annotation(field, panel=_panel(settings, name)),
            )


def _option_name(field_name: str) -> str:
    """An option that is repeated is named in the singular."""
    return {"student_arguments": "student_arg", "shares": "share"}.get(field_name, field_name)


def _annotation(field: FieldInfo, *, panel: str) -> Any:
    if _is_mapping(field):
        option = typer.Option(metavar="NAME=VALUE", help=field.description, rich_help_panel=panel)
        return Annotated[list[str] | None, option]
    kind = field.annotation if field.default != [] else list[float] | None
    return Annotated[kind, typer.Option(help=field.description, rich_help_panel=panel)]


def _is_mapping(field: FieldInfo) -> bool:
    return isinstance(field.default, dict)


def _panel(settings: type[Settings], name: str) -> str:
    """The heading of the class that declares the field."""
    parts = [part for part in settings.__mro__ if issubclass(part, Settings)]
    return next(part.panel for part in parts if name in part.__annotations__)


def _parsed(settings: type[Settings], chosen: dict[str, Any]) -> dict[str, Any]:
    return {
        name: parse_arguments(value or []) if _is_mapping(field) else _or_default(value, field)
        for name, field in settings.model_fields.items()
        for value in [chosen[name]]
    }


def _or_default(value: Any, field: FieldInfo) -> Any:
    return field.default if value is None else value
