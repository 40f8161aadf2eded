"""The seam behind which every encoding stands.

An encoding says which Zarr array it wants (type and codecs, so that `zarr.open` reads it), turns
float32 logits into the values of that array, and states a bound for every logit.

Shape letters: G views of a group, S samples, M proof records, C classes.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from zarr.codecs import Crc32cCodec, ZstdCodec

from kdrec.store.manifest import Bound
from kdrec.store.plan import EncodingPlan

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FittedEncoding:
    """An encoding made ready for the logits of one teacher.

    Attributes:
        bound: For every logit.
        serializer: Zarr codec from array to bytes; "auto" for plain bytes.
        compressors: Zarr codecs from bytes to bytes; the last one a checksum.
    """

    bound: Bound
    serializer: Any = "auto"
    compressors: tuple[Any, ...] = field(default_factory=lambda: (Crc32cCodec(),))


class Encoding(Protocol):
    """See the module.

    Attributes:
        dtype: Of the array.
        whole_groups: Whether a chunk holds all views of a group, or one.
        dials: What can be asked of it: `max_kl`, `max_error`, with defaults (None: by choice).
    """

    name: ClassVar[str]
    dtype: ClassVar[str]
    whole_groups: ClassVar[bool]
    dials: ClassVar[dict[str, float | None]]

    def fit(self, asked: EncodingPlan, logits_MC: Logits) -> FittedEncoding:
        """Make ready, from the proof records.

        Raises:
            InvalidInputError: It cannot keep what is asked.
        """

    def to_stored(self, logits_GSC: Logits, bound: Bound) -> npt.NDArray[Any]:
        """Values of the array; what its codecs lose comes on top.

        Raises:
            InvalidInputError: A logit cannot be kept within the bound.
        """


def beyond_bound(
    teacher: Logits, decoded: Logits, bound: Bound, *, slack: float = 0.0
) -> npt.NDArray[np.bool_]:
    """Where a decoded logit is further from the teacher's than the bound (and the slack) allows.

    Args:
        teacher: Any shape, classes last.
        decoded: The same shape.
        bound: Of the encoding.
        slack: By how much the teacher itself varies, relative to the largest logit.
    """
    teacher64 = teacher.astype(np.float64)
    magnitude = np.abs(teacher64)
    allowed = bound.relative * magnitude + bound.absolute
    if bound.spread is not None:
        depth = teacher64.max(axis=-1, keepdims=True) - teacher64
        growth = np.exp(np.minimum(depth / bound.spread, np.log(bound.widest)))
        allowed = bound.relative * np.maximum(magnitude, depth) + bound.absolute * (1 + growth)
    if slack:
        allowed = allowed + slack * np.maximum(1.0, magnitude.max(axis=-1, keepdims=True))
    return ~(np.abs(decoded - teacher64) <= allowed)


def plain_compressors() -> tuple[Any, ...]:
    """For everything that is not logits: zstd and a checksum."""
    return (ZstdCodec(level=3), Crc32cCodec())
