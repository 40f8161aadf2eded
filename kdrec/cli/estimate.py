"""`kdrec estimate`: asked exactly as `kdrec record` is, but for the folder."""

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from kdrec.cli.record import record

_TRIAL_RECORDS = 256
_NOWHERE = Path("estimated.zarr")  # of a recording that is not made


def estimate(**options: Any) -> None:
    """Say what a recording would cost: bytes, time, and after how many student epochs it pays.

    A few hundred records are tried in memory on this machine; nothing is written.
    """
    record(**options)


def _signature() -> inspect.Signature:
    """That of `record`, so that no option can differ between the two.

    The folder becomes an option that nobody sees: one file for `--config` serves both commands.
    """
    asked = inspect.signature(record, eval_str=True)
    parameters = dict(asked.parameters)
    folder = Annotated[Path, typer.Option(hidden=True)]
    parameters["out"] = parameters["out"].replace(annotation=folder, default=_NOWHERE)
    parameters["trial"] = parameters["trial"].replace(default=_TRIAL_RECORDS)
    required = [each for each in parameters.values() if each.default is inspect.Parameter.empty]
    others = [each for each in parameters.values() if each not in required]
    return asked.replace(parameters=[*required, *others])


estimate.__signature__ = _signature()  # type: ignore[attr-defined]
