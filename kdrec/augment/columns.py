"""Stored parameters: what the teacher's view was made with, on a grid that is exact in float32.

A parameter is drawn as an integer and is that integer times a power-of-two step. What is stored is
therefore exactly what was applied, and an encoding may pack it to the bits of its grid.
"""

import math
from dataclasses import dataclass

from kdrec.errors import InvalidInputError

_EXACT_INTEGERS = 2**24  # float32 holds every integer up to here


@dataclass(frozen=True, slots=True)
class Column:
    """One parameter of one operation.

    Attributes:
        name: Such as `scale_x`; unique in an augmentation.
        low: Least value, in steps.
        high: Greatest value, in steps.
        exponent: The step is 2**-exponent.
        unit: Of the value: `factor`, `length`, `degree` or `sign`.
    """

    name: str
    low: int
    high: int
    exponent: int
    unit: str

    @property
    def step(self) -> float:
        """Distance of two neighbouring values."""
        return 2.0**-self.exponent


def column(name: str, low: float, high: float, *, exponent: int, unit: str) -> Column:
    """The column of all grid values within low..high.

    Raises:
        InvalidInputError: No grid value lies in the range, or it is too wide for float32.
    """
    scale = 2.0**exponent
    first, last = math.ceil(low * scale), math.floor(high * scale)
    if first > last:
        # A single number off the grid means its nearest neighbour; a range keeps inside its ends.
        first = last = round((low + high) / 2 * scale)
    if max(abs(first), abs(last)) > _EXACT_INTEGERS:
        limit = _EXACT_INTEGERS / scale
        raise InvalidInputError(f"{name} must lie within +-{limit:g}, got {low:g}:{high:g}")
    return Column(name=name, low=first, high=last, exponent=exponent, unit=unit)
