"""How logits are stored: the seam behind which every encoding stands, and the first two.

An encoding says which Zarr array it wants (type and codecs, so that `zarr.open` reads it), turns
float32 logits into the values of that array and back, and states a bound for every logit.

Shape letters: G views of a group, S samples, C classes.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from kdrec.errors import InvalidInputError
from kdrec.store.manifest import Bound

Logits = npt.NDArray[np.float32]


class Encoding(Protocol):
    """See the module."""

    name: ClassVar[str]
    dtype: ClassVar[str]
    bound: ClassVar[Bound]

    def compressors(self) -> tuple[Any, ...]:
        """Zarr codecs from bytes to bytes; the last one a checksum."""

    def to_stored(self, logits_GSC: Logits) -> npt.NDArray[Any]:
        """Values of the array.

        Raises:
            InvalidInputError: A logit cannot be kept within the bound.
        """

    def from_stored(self, stored_GSC: npt.NDArray[Any]) -> Logits:
        """The logits of stored values."""


class Exact:
    """float32, bit for bit."""

    name: ClassVar[str] = "exact"
    dtype: ClassVar[str] = "float32"
    bound: ClassVar[Bound] = Bound()

    def compressors(self) -> tuple[Any, ...]:
        return (BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=4), Crc32cCodec())

    def to_stored(self, logits_GSC: Logits) -> npt.NDArray[Any]:
        return logits_GSC

    def from_stored(self, stored_GSC: npt.NDArray[Any]) -> Logits:
        return stored_GSC.astype(np.float32, copy=False)


class Half:
    """float16: half the bytes, 11 bits of every logit."""

    name: ClassVar[str] = "half"
    dtype: ClassVar[str] = "float16"
    bound: ClassVar[Bound] = Bound(relative=2.0**-11, absolute=2.0**-25)
    _GREATEST: ClassVar[float] = 65504.0

    def compressors(self) -> tuple[Any, ...]:
        return (BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=2), Crc32cCodec())

    def to_stored(self, logits_GSC: Logits) -> npt.NDArray[Any]:
        greatest = float(np.abs(logits_GSC).max(initial=0.0))
        if greatest > self._GREATEST:
            raise InvalidInputError(
                f"encoding half holds logits up to {self._GREATEST:g}, got {greatest:g}; "
                "use --encoding exact"
            )
        return logits_GSC.astype(np.float16)

    def from_stored(self, stored_GSC: npt.NDArray[Any]) -> Logits:
        return stored_GSC.astype(np.float32)


ENCODINGS: Mapping[str, Encoding] = {encoding.name: encoding for encoding in (Exact(), Half())}


def find_encoding(name: str) -> Encoding:
    """The encoding of this name.

    Raises:
        InvalidInputError: There is none; lists those there are.
    """
    if name not in ENCODINGS:
        raise InvalidInputError(f"no encoding {name!r}; allowed are: {', '.join(ENCODINGS)}")
    return ENCODINGS[name]


def beyond_bound(
    teacher: Logits, decoded: Logits, bound: Bound, *, slack: float = 0.0
) -> npt.NDArray[np.bool_]:
    """Where a decoded logit is further from the teacher's than the bound (and the slack) allows.

    Args:
        teacher: Any shape.
        decoded: The same shape.
        bound: Of the encoding.
        slack: By how much the teacher itself varies, relative to the largest logit.
    """
    teacher64 = teacher.astype(np.float64)
    magnitude = np.abs(teacher64)
    allowed = bound.relative * magnitude + bound.absolute
    if slack:
        allowed = allowed + slack * np.maximum(1.0, magnitude.max(axis=-1, keepdims=True))
    return ~(np.abs(decoded - teacher64) <= allowed)


def plain_compressors() -> tuple[Any, ...]:
    """For everything that is not logits: zstd and a checksum."""
    return (ZstdCodec(level=3), Crc32cCodec())
