"""Options that several commands share, and the TOML file that can stand for them."""

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from kdrec.augment import format_augmentation, parse_augmentation
from kdrec.errors import InvalidInputError, NotFoundError
from kdrec.factories import parse_arguments
from kdrec.samples import SampleSet, load_samples

DATA_PANEL = "Data"  # of --help
_UNITS = {
    "": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip

DataArguments = Annotated[
    list[str],
    typer.Option(
        "--data-arg",
        metavar="NAME=VALUE",
        help="An argument of the data's factory.",
        rich_help_panel=DATA_PANEL,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD=VALUE",
        help="Only samples whose field has this value: split=0.",
        rich_help_panel=DATA_PANEL,
    ),
]
TestArguments = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE", help="An argument of the test data's factory.", rich_help_panel="Data"
    ),
]
TestSplit = Annotated[
    str | None, typer.Option(metavar="FIELD=VALUE", help="Of --test.", rich_help_panel="Data")
]
Json = Annotated[bool, typer.Option("--json", help="The result as one JSON object on stdout.")]
Token = Annotated[
    str | None,
    typer.Option(envvar="KDREC_TOKEN", help="Bearer token; better in the environment."),
]
Cache = Annotated[
    Path | None,
    typer.Option(envvar="KDREC_CACHE", help="Folder for what is fetched; the user's by default."),
]
CacheLimit = Annotated[
    str | None,
    typer.Option(
        envvar="KDREC_CACHE_LIMIT",
        metavar="SIZE",
        help="What each recording may take there, such as 20GB; what was used longest ago goes "
        "first.",
    ),
]
RecordingArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECORDING",
        help="A folder, http://HOST/v1/recordings/NAME, or s3://BUCKET/NAME.zarr.",
    ),
]


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a TOML file the defaults of this command.

    Raises:
        NotFoundError: No such file.
        InvalidInputError: It is no TOML, or a key is no option.
    """
    if path is None:
        return None
    known = _option_names(context)
    defaults: dict[str, Any] = {}
    for key, value in _load(path).items():
        name = known.get(key.replace("_", "-"))
        if name is None:
            allowed = ", ".join(sorted(known))
            raise InvalidInputError(f"{path}: no option {key!r}; allowed are: {allowed}")
        defaults[name] = _as_option(value)
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _option_names(context: typer.Context) -> dict[str, str]:
    """The parameter of each option of a command, by the name that a user gives it."""
    return {
        option.removeprefix("--"): parameter.name
        for parameter in context.command.params
        if parameter.name is not None and parameter.name not in ("config", "help")
        for option in parameter.opts
        if option.startswith("--") or parameter.param_type_name == "argument"
    }


Config = Annotated[
    Path | None,
    typer.Option(
        is_eager=True,
        callback=_read_config,
        help="TOML file with the same names as the options; the command line wins.",
    ),
]


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise NotFoundError(f"{path} cannot be read: {error.strerror}; give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path} is no TOML: {error}") from error


def _as_option(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return format_augmentation(parse_augmentation(value))
    if isinstance(value, Mapping):
        return [f"{name}={item}" for name, item in value.items()]
    return value


def parse_views(text: str | None) -> range | None:
    """`0:8` as a range.

    Raises:
        InvalidInputError: It has another form.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]+):([0-9]+)", text)
    if found is None:
        raise InvalidInputError(f"views must be FIRST:END such as 0:8, got {text!r}")
    return range(int(found[1]), int(found[2]))


def parse_size(text: str | None) -> int | None:
    """`20GB` or `20GiB` as bytes.

    Raises:
        InvalidInputError: It has another form, or is nothing.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *(|B|[kMGT]B|[KMGT]iB)", text.strip())
    num_bytes = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 1 <= num_bytes < math.inf:
        raise InvalidInputError(f"a size must be such as 20GB, 500MiB or 1000000, got {text!r}")
    return int(num_bytes)


def load_like(recorded: Any, source: str, arguments: list[str], split: str | None) -> SampleSet:
    """Samples preprocessed as those of a recording were.

    Args:
        recorded: `manifest.plan.data` of the recording.
        source: As `--data`.
        arguments: As `--data-arg`.
        split: As `--split`.
    """
    wanted = tuple(recorded.channels)

    def load(channels: tuple[str, ...] | None) -> SampleSet:
        return load_samples(
            source,
            arguments=parse_arguments(arguments),
            split=split,
            num_points=recorded.num_points,
            point_choice=recorded.point_choice,
            channels=channels,
        )

    found = load(None)
    unnamed = any(name.startswith("feature_") for name in found.channels)
    # Columns that have names of their own are never renamed: colours are no normals.
    if found.channels != wanted and (unnamed or set(wanted) <= set(found.channels)):
        return load(wanted)
    return found
