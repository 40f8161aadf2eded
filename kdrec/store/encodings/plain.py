"""Encodings that any Zarr reader opens: `exact`, `half` and `portable`.

Shape letters: G views of a group, S samples, M proof records, C classes, K records.
"""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from zarr.codecs import BloscCodec, Crc32cCodec

from kdrec.errors import InvalidInputError
from kdrec.store.compact import mean_divergence
from kdrec.store.encodings.encoding import FittedEncoding, Logits
from kdrec.store.manifest import Bound
from kdrec.store.plan import EncodingPlan


class Exact:
    """float32, bit for bit."""

    name: ClassVar[str] = "exact"
    dtype: ClassVar[str] = "float32"
    whole_groups: ClassVar[bool] = False
    dials: ClassVar[dict[str, float | None]] = {}

    def fit(self, asked: EncodingPlan, logits_MC: Logits) -> FittedEncoding:
        return FittedEncoding(Bound(), compressors=_shuffled(typesize=4))

    def to_stored(self, logits_GSC: Logits, bound: Bound) -> npt.NDArray[Any]:
        return logits_GSC


class Half:
    """float16: half the bytes, 11 bits of every logit."""

    name: ClassVar[str] = "half"
    dtype: ClassVar[str] = "float16"
    whole_groups: ClassVar[bool] = False
    dials: ClassVar[dict[str, float | None]] = {}
    _GREATEST: ClassVar[float] = 65504.0

    def fit(self, asked: EncodingPlan, logits_MC: Logits) -> FittedEncoding:
        bound = Bound(relative=2.0**-11, absolute=2.0**-25)
        return FittedEncoding(bound, compressors=_shuffled(typesize=2))

    def to_stored(self, logits_GSC: Logits, bound: Bound) -> npt.NDArray[Any]:
        greatest = float(np.abs(logits_GSC).max(initial=0.0))
        if greatest > self._GREATEST:
            raise InvalidInputError(
                f"encoding half holds logits up to {self._GREATEST:g}, got {greatest:g}; "
                "use --encoding exact"
            )
        return logits_GSC.astype(np.float16)


class Portable:
    """float32 rounded to a power of two, so that plain codecs shrink it.

    What is lost is lost before Zarr: any reader of the Zarr specification gets the same values. A
    block that would miss the mean divergence is rounded finer.
    """

    name: ClassVar[str] = "portable"
    dtype: ClassVar[str] = "float32"
    whole_groups: ClassVar[bool] = False
    dials: ClassVar[dict[str, float | None]] = {"max_kl": 2.5e-4, "max_error": None}
    _EXPONENTS: ClassVar[range] = range(-1, -20, -1)

    def fit(self, asked: EncodingPlan, logits_MC: Logits) -> FittedEncoding:
        step = self._step(np.ascontiguousarray(logits_MC.T), asked)
        # Rounding to a multiple of the step is exact in float32 up to 2**24 steps.
        bound = Bound(absolute=step / 2, mean_kl=asked.max_kl)
        return FittedEncoding(bound, compressors=_shuffled(typesize=4, level=9))

    def to_stored(self, logits_GSC: Logits, bound: Bound) -> npt.NDArray[Any]:
        logits_CK = logits_GSC.reshape(-1, logits_GSC.shape[-1]).T
        step = 2 * bound.absolute
        greatest = float(np.abs(logits_CK).max(initial=0.0))
        if greatest > 2**23 * step:
            raise InvalidInputError(
                f"encoding portable holds logits up to {2**23 * step:g} at this fidelity, got "
                f"{greatest:g}; use --encoding exact"
            )
        while bound.mean_kl is not None:
            if _divergence(logits_CK, step) <= bound.mean_kl:
                break
            step /= 2
        return _rounded(logits_GSC, step)

    def _step(self, logits_CM: Logits, asked: EncodingPlan) -> float:
        for exponent in self._EXPONENTS:
            step = 2.0**exponent
            if asked.max_error is not None and step / 2 <= asked.max_error:
                return step
            if asked.max_kl is not None and _divergence(logits_CM, step) <= asked.max_kl:
                return step
        raise InvalidInputError(
            f"encoding portable cannot keep {asked}; allowed is a max_kl or max_error it reaches "
            f"with a step of 2**{self._EXPONENTS[-1]}; use --encoding exact"
        )


def _rounded(logits: Logits, step: float) -> Logits:
    return np.asarray(np.rint(logits * np.float32(1 / step)) * np.float32(step))


def _divergence(logits_CK: Logits, step: float) -> float:
    return mean_divergence(logits_CK, lambda piece: _rounded(logits_CK[:, piece], step))


def _shuffled(*, typesize: int, level: int = 3) -> tuple[Any, ...]:
    zstd = BloscCodec(cname="zstd", clevel=level, shuffle="shuffle", typesize=typesize)
    return (zstd, Crc32cCodec())
