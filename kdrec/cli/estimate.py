"""`kdrec estimate`: asked exactly as `kdrec record` is, but for the folder."""

import inspect
from pathlib import Path
from typing import Any

from kdrec.cli.record import record

_TRIAL_RECORDS = 256
_NOWHERE = Path("estimated.zarr")  # of a recording that is not made


def estimate(**options: Any) -> None:
    """Say what a recording would cost: bytes, time, and after how many student epochs it pays.

    A few hundred records are tried in memory on this machine; nothing is written.
    """
    record(_NOWHERE, **options)


def _signature() -> inspect.Signature:
    """That of `record` without the folder, so that no option can differ between the two."""
    asked = inspect.signature(record, eval_str=True)
    kept = [each for name, each in asked.parameters.items() if name != "out"]
    tried = [
        each.replace(default=_TRIAL_RECORDS) if each.name == "trial" else each for each in kept
    ]
    return asked.replace(parameters=tried)


estimate.__signature__ = _signature()  # type: ignore[attr-defined]
