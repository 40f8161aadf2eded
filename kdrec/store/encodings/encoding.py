"""The seam behind which every encoding stands.

An encoding says which Zarr arrays it wants (type and codecs, so that `zarr.open` reads them), turns
float32 logits into their values and back, and states a bound for every logit.

Shape letters: G views of a group, S samples, M proof records, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from zarr.codecs import Crc32cCodec, ZstdCodec

from kdrec.augment import Array
from kdrec.store.manifest import Bound
from kdrec.store.plan import EncodingPlan

Logits = npt.NDArray[np.float32]
Rows = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class StoredArray:
    """A Zarr array that holds logits, or a part of what is known of them.

    Attributes:
        name: Of the array.
        width: Length of its last axis.
        dimension: Name of its last axis.
        dtype: Of the array.
        serializer: Zarr codec from array to bytes; "auto" for plain bytes.
        compressors: Zarr codecs from bytes to bytes; the last one a checksum.
        whole_groups: Whether a chunk holds all views of a group, or one.
    """

    name: str
    width: int
    dimension: str
    dtype: str = "float32"
    serializer: Any = "auto"
    compressors: tuple[Any, ...] = field(default_factory=lambda: (Crc32cCodec(),))
    whole_groups: bool = False


@dataclass(frozen=True, slots=True)
class FittedEncoding:
    """An encoding made ready for the logits of one teacher.

    Attributes:
        bound: For every logit.
        arrays: What it stores.
    """

    bound: Bound
    arrays: tuple[StoredArray, ...]


Stored = Mapping[str, npt.NDArray[Any]]
"""Values by the name of their array, classes last, or what stands for them."""


class Encoding(Protocol):
    """See the module.

    Attributes:
        arrays: Names of the arrays it stores.
        is_plain: Whether any implementation of Zarr reads its recordings, without kdrec's codecs.
        reduces: Whether it keeps a small part of a record's logits. It finds that part, and checks
            it, on whatever device they lie: they may be torch's where others take numpy's only.
        dials: What can be asked of it, with defaults; None where it is derived.
    """

    name: ClassVar[str]
    arrays: ClassVar[tuple[str, ...]]
    is_plain: ClassVar[bool]
    reduces: ClassVar[bool]
    dials: ClassVar[Mapping[str, float | int | None]]

    def fit(self, asked: EncodingPlan, logits_MC: Logits) -> FittedEncoding:
        """Make ready, from the proof records.

        Raises:
            InvalidInputError: It cannot keep what is asked.
        """

    def to_stored(self, logits_GSC: Array, asked: EncodingPlan, bound: Bound) -> Stored:
        """Values of the arrays, (G, S, width) each; what their codecs lose comes on top.

        Raises:
            InvalidInputError: A logit cannot be kept within the bound.
        """

    def to_logits(self, stored: Stored, num_classes: int) -> Logits:
        """Logits of all classes, (records, C), from values of the arrays, (records, width) each."""

    def beyond(
        self, teacher_MC: Array, stored: Stored, bounds: Sequence[Bound], *, slack: float
    ) -> Rows:
        """Of which records, (M,), the stored values are further off than the bounds allow.

        Args:
            teacher_MC: As the teacher gave them.
            stored: Decoded, (M, width) each.
            bounds: See `beyond_bound`.
            slack: By how much the teacher itself varies, relative to the largest logit.
        """


class DenseArray:
    """What encodings have in common that keep every class in one array, `logits`."""

    arrays: ClassVar[tuple[str, ...]] = ("logits",)
    reduces: ClassVar[bool] = False

    def to_logits(self, stored: Stored, num_classes: int) -> Logits:
        return stored["logits"].astype(np.float32, copy=False)

    def beyond(
        self, teacher_MC: Logits, stored: Stored, bounds: Sequence[Bound], *, slack: float
    ) -> Rows:
        decoded = self.to_logits(stored, teacher_MC.shape[-1])
        return np.asarray(beyond_bound(teacher_MC, decoded, bounds, slack=slack).any(axis=-1))


def beyond_bound(
    teacher: Logits, decoded: Logits, bounds: Sequence[Bound], *, slack: float = 0.0
) -> Rows:
    """Where a decoded logit is further from the teacher's than the bounds (and the slack) allow.

    Args:
        teacher: Any shape, classes last.
        decoded: The same shape.
        bounds: Of the encodings that the logits went through, one after another.
        slack: By how much the teacher itself varies, relative to the largest logit.
    """
    teacher64 = teacher.astype(np.float64)
    allowed = _all_allowed(teacher64, bounds)
    if slack:
        magnitude = np.abs(teacher64).max(axis=-1, keepdims=True)
        allowed = allowed + slack * np.maximum(1.0, magnitude)
    return ~(np.abs(decoded - teacher64) <= allowed)


def greatest_error(teacher: Logits, bounds: Sequence[Bound]) -> npt.NDArray[np.float64]:
    """The most that the bounds allow any logit of a record to be off, classes last, kept as 1."""
    allowed: npt.NDArray[np.float64] = _all_allowed(teacher.astype(np.float64), bounds)
    return np.asarray(allowed.max(axis=-1, keepdims=True))


def _all_allowed(
    teacher: npt.NDArray[np.float64], bounds: Sequence[Bound]
) -> npt.NDArray[np.float64]:
    allowed = np.zeros_like(teacher)
    for bound in bounds:
        allowed = allowed + _allowed(teacher, bound, already=allowed)
    return allowed


def _allowed(
    teacher: npt.NDArray[np.float64], bound: Bound, *, already: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """What an encoding may add to logits that are off by up to `already`."""
    magnitude = np.abs(teacher) + already
    if bound.spread is None:
        return bound.relative * magnitude + bound.absolute
    depth = (teacher + already).max(axis=-1, keepdims=True) - (teacher - already)
    growth = np.exp(np.minimum(depth / bound.spread, np.log(bound.widest)))
    allowed = bound.relative * np.maximum(magnitude, depth) + bound.absolute * (1 + growth)
    return np.asarray(allowed)


def plain_compressors() -> tuple[Any, ...]:
    """For everything that is not logits: zstd and a checksum."""
    return (ZstdCodec(level=3), Crc32cCodec())
