"""Which samples of a source are used: those whose FIELD has some VALUE.

Shape letters: S samples.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kdrec.errors import InvalidInputError

_VALUES_LISTED = 20
_TRUTH = {"true": "1", "false": "0"}


@dataclass(frozen=True, slots=True)
class Split:
    """A field with one value a sample, and the value of the samples to keep."""

    field: str
    value: str

    def __str__(self) -> str:
        return f"{self.field}={self.value}"


def parse_split(text: str) -> Split:
    """Read `FIELD=VALUE`.

    Raises:
        InvalidInputError: The text has another form.
    """
    field, equals, value = text.partition("=")
    if not equals or not field.strip() or not value.strip():
        raise InvalidInputError(
            f"split {text!r} is not understood; write FIELD=VALUE, such as split=0"
        )
    return Split(field.strip(), value.strip())


def split_rows(values_S: npt.NDArray[Any], split: Split) -> npt.NDArray[np.int64]:
    """Numbers of the samples that the split keeps.

    Args:
        values_S: The field: integers, floats, booleans or strings.
        split: What to keep; a number is compared as a number.

    Raises:
        InvalidInputError: No sample has the value.
    """
    rows = np.flatnonzero(_equals(values_S, split.value))
    if len(rows) == 0:
        values = [str(value) for value in np.unique(values_S)]
        shown = ", ".join(values[:_VALUES_LISTED])
        more = f", ... ({len(values)} values)" if len(values) > _VALUES_LISTED else ""
        raise InvalidInputError(
            f"split {split}: no sample has this {split.field}; the values are {shown}{more}"
        )
    return rows


def _equals(values_S: npt.NDArray[Any], value: str) -> npt.NDArray[np.bool_]:
    if values_S.dtype.kind == "S":
        values_S = np.strings.decode(values_S, "utf-8", "replace")
    if values_S.dtype.kind not in "biuf":
        return np.asarray(values_S.astype(str) == value)
    text = _TRUTH.get(value.lower(), value) if values_S.dtype.kind == "b" else value
    try:
        number: int | float = int(text)
    except ValueError:
        try:
            number = float(text)
        except ValueError:
            return np.zeros(len(values_S), dtype=np.bool_)
    if values_S.dtype.kind == "f":
        # 0.1 in a float32 field is the float32 nearest to 0.1, which is not the float64 one.
        return np.asarray(values_S == values_S.dtype.type(number))
    return np.asarray(values_S.astype(object) == number, dtype=np.bool_)
