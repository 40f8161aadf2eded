"""The operations: each a frozen description that draws its parameters and applies them.

Only shape-level operations, as in arXiv 2409.02020: a few numbers per cloud. What would need a
number per point (jitter) is refused, because storing it multiplies the recording by about 70.

What parameters become before they meet points (a sine, a sign an axis) is computed on the host in
float64 and rounded once, so that every device multiplies and adds the same float32 numbers.

Shape letters: B batch, N points, D channels, P parameters of the operation, W numbers it computes
with.
"""

import math
import operator
from typing import Annotated, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from array_api_compat import device
from pydantic import BaseModel, ConfigDict, Field, model_validator

from kdrec import rng
from kdrec.augment.arrays import (
    Array,
    divide_or_keep,
    length,
    namespace,
    on_every_point,
    replace_columns,
    stack,
)
from kdrec.augment.channels import normal_columns
from kdrec.augment.columns import Column, column

FloatArray: TypeAlias = npt.NDArray[np.float64]

_COORDINATES = slice(0, 3)
_FACTOR_EXPONENT = 16
_LEAST_FACTOR = 2.0**-_FACTOR_EXPONENT
_LENGTH_EXPONENT = 16
_DEGREE_EXPONENT = 10


class _Operation(BaseModel):
    """What all operations share: fields are the description, methods the behaviour."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    num_numbers: ClassVar[int] = 0  # W

    def columns(self) -> tuple[Column, ...]:
        """The stored parameters, none for most of the parameterless operations."""
        return ()

    def draw(self, words_BP: rng.WordArray) -> rng.IntArray:
        """Parameters in steps of their grid, one word each."""
        return np.stack(
            [rng.integers(words_BP[:, p], c.low, c.high) for p, c in enumerate(self.columns())],
            axis=1,
        )

    def numbers(self, values_BP: FloatArray) -> FloatArray:
        """What points are computed with, (B, W), from the parameters."""
        return values_BP


class _RangeOperation(_Operation):
    low: float
    high: float

    @model_validator(mode="after")
    def _in_order(self) -> "_RangeOperation":
        if self.low > self.high:
            raise ValueError(f"low must not exceed high, got {self.low:g}:{self.high:g}")
        self.columns()
        return self


class Scale(_RangeOperation):
    """Multiply the coordinates by a factor, each axis by its own or all by one."""

    op: Literal["scale"] = "scale"
    axes: Literal["each", "common"] = "each"
    usage: ClassVar[str] = "scale=LOW:HIGH (one factor an axis) or scale=LOW:HIGH:common"
    num_numbers: ClassVar[int] = 3

    @model_validator(mode="after")
    def _positive(self) -> "Scale":
        if self.low <= 0:
            raise ValueError(f"factors must be above 0, got {self.low:g}; use reflect_x to mirror")
        if self.columns()[0].low < 1:  # would round to 0, and every cloud to one point
            raise ValueError(f"factors must be at least {_LEAST_FACTOR:g}, got {self.low:g}")
        return self

    def columns(self) -> tuple[Column, ...]:
        names = ("scale",) if self.axes == "common" else ("scale_x", "scale_y", "scale_z")
        return tuple(
            column(n, self.low, self.high, exponent=_FACTOR_EXPONENT, unit="factor") for n in names
        )

    def numbers(self, values_BP: FloatArray) -> FloatArray:
        return np.broadcast_to(values_BP, (len(values_BP), 3))

    def apply(self, points_BND: Array, numbers_BW: Array, channels: tuple[str, ...]) -> Array:
        return _stretch(points_BND, numbers_BW, channels)


class Translate(_RangeOperation):
    """Shift each coordinate by its own length."""

    op: Literal["translate"] = "translate"
    usage: ClassVar[str] = "translate=MOST (from -MOST to MOST) or translate=LOW:HIGH"
    num_numbers: ClassVar[int] = 3

    def columns(self) -> tuple[Column, ...]:
        return tuple(
            column(f"translate_{a}", self.low, self.high, exponent=_LENGTH_EXPONENT, unit="length")
            for a in "xyz"
        )

    def apply(self, points_BND: Array, numbers_BW: Array, channels: tuple[str, ...]) -> Array:
        shifted_BN3 = on_every_point(operator.add, points_BND[..., :3], numbers_BW)
        return replace_columns(points_BND, _COORDINATES, shifted_BN3)


class Rotate(_RangeOperation):
    """Turn about one axis, right-handed, in degrees."""

    op: Literal["rotate_x", "rotate_y", "rotate_z"]
    usage: ClassVar[str] = "rotate_y=MOST (degrees, from -MOST to MOST) or rotate_y=LOW:HIGH"
    num_numbers: ClassVar[int] = 2

    @model_validator(mode="after")
    def _within_two_turns(self) -> "Rotate":
        if max(abs(self.low), abs(self.high)) > 360:
            raise ValueError(f"angles must lie within +-360, got {self.low:g}:{self.high:g}")
        return self

    def columns(self) -> tuple[Column, ...]:
        return (column(self.op, self.low, self.high, exponent=_DEGREE_EXPONENT, unit="degree"),)

    def numbers(self, values_BP: FloatArray) -> FloatArray:
        """Cosine and sine."""
        radians_B1 = values_BP * (math.pi / 180)
        return np.concatenate([np.cos(radians_B1), np.sin(radians_B1)], axis=1)

    def apply(self, points_BND: Array, numbers_BW: Array, channels: tuple[str, ...]) -> Array:
        turned = replace_columns(
            points_BND, _COORDINATES, self._turn(points_BND[..., :3], numbers_BW)
        )
        normals = normal_columns(channels)
        if normals is None:
            return turned
        return replace_columns(turned, normals, self._turn(points_BND[..., normals], numbers_BW))

    def _turn(self, vectors_BN3: Array, numbers_B2: Array) -> Array:
        cosine, sine = numbers_B2[:, :1], numbers_B2[:, 1:]
        axis = "xyz".index(self.op[-1])
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turned = [vectors_BN3[..., a] for a in range(3)]
        a_BN, b_BN = turned[first], turned[second]
        turned[first] = cosine * a_BN - sine * b_BN
        turned[second] = sine * a_BN + cosine * b_BN
        return stack(*turned)


class Reflect(_Operation):
    """Mirror one coordinate, with a probability."""

    op: Literal["reflect_x", "reflect_y", "reflect_z"]
    probability: float = Field(default=0.5, ge=0, le=1)
    usage: ClassVar[str] = "reflect_x (half of the views) or reflect_x=PROBABILITY"
    num_numbers: ClassVar[int] = 3

    def columns(self) -> tuple[Column, ...]:
        return (Column(name=self.op, low=-1, high=1, exponent=0, unit="sign"),)

    def draw(self, words_BP: rng.WordArray) -> rng.IntArray:
        return np.where(rng.uniform(words_BP) < self.probability, -1, 1).astype(np.int64)

    def numbers(self, values_BP: FloatArray) -> FloatArray:
        """A sign for each axis."""
        signs_B3 = np.ones((len(values_BP), 3))
        signs_B3[:, "xyz".index(self.op[-1])] = values_BP[:, 0]
        return signs_B3

    def apply(self, points_BND: Array, numbers_BW: Array, channels: tuple[str, ...]) -> Array:
        return _stretch(points_BND, numbers_BW, channels)


class Normalize(_Operation):
    """Centre on the mean of the points and scale the farthest one to distance 1."""

    op: Literal["normalize"] = "normalize"
    usage: ClassVar[str] = "normalize (no argument; may stand anywhere)"

    def apply(self, points_BND: Array, numbers_BW: Array, channels: tuple[str, ...]) -> Array:
        xp = namespace(points_BND)
        points_BN3 = points_BND[..., :3]
        # The mean in float64: in float32 it would depend on the order in which a library sums.
        centre = xp.mean(xp.astype(points_BN3, xp.float64), axis=1, keepdims=True)
        points_BN3 = points_BN3 - xp.astype(centre, points_BN3.dtype)
        radius_B1 = xp.max(length(points_BN3), axis=1, keepdims=True)
        return replace_columns(
            points_BND, _COORDINATES, divide_or_keep(points_BN3, radius_B1[..., None])
        )


class Subset(_Operation):
    """Keep `count` points, drawn for each view and sample; nothing is stored."""

    op: Literal["subset"] = "subset"
    count: int = Field(ge=1)
    usage: ClassVar[str] = "subset=COUNT (points kept of each cloud)"

    def take(self, points_BND: Array, index_BK: Array) -> Array:
        """The chosen points in the chosen order."""
        row_B = namespace(points_BND).arange(len(index_BK), device=device(points_BND))
        return points_BND[row_B[:, None], index_BK]


ParametricOperation: TypeAlias = Scale | Translate | Rotate | Reflect | Normalize
Operation: TypeAlias = Annotated[ParametricOperation | Subset, Field(discriminator="op")]


def _stretch(points_BND: Array, factors_B3: Array, channels: tuple[str, ...]) -> Array:
    """Multiply coordinates by a factor an axis; normals by its inverse, then to length 1."""
    stretched_BN3 = on_every_point(operator.mul, points_BND[..., :3], factors_B3)
    stretched = replace_columns(points_BND, _COORDINATES, stretched_BN3)
    normals = normal_columns(channels)
    if normals is None:
        return stretched
    turned_BN3 = on_every_point(operator.truediv, points_BND[..., normals], factors_B3)
    return replace_columns(
        stretched, normals, divide_or_keep(turned_BN3, length(turned_BN3)[..., None])
    )
