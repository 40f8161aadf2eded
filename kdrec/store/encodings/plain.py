"""Encodings that any Zarr reader opens: `exact`, `half` and `portable`.

Shape letters: G views of a group, S samples, M proof records, C classes, K records.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from zarr.codecs import BloscCodec, Crc32cCodec

from kdrec.errors import InvalidInputError
from kdrec.store.compact import PRECISION, mean_divergence
from kdrec.store.encodings.encoding import (
    DenseArray,
    FittedEncoding,
    Logits,
    Stored,
    StoredArray,
)
from kdrec.store.manifest import Bound
from kdrec.store.plan import EncodingPlan


class Exact(DenseArray):
    """float32, bit for bit."""

    name: ClassVar[str] = "exact"
    is_plain: ClassVar[bool] = True
    dials: ClassVar[Mapping[str, float | int | None]] = {}

    def fit(self, asked: EncodingPlan, logits_MC: Logits) -> FittedEncoding:
        return FittedEncoding(Bound(), (_array(logits_MC, _shuffled(typesize=4)),))

    def to_stored(self, logits_GSC: Logits, asked: EncodingPlan, bound: Bound) -> Stored:
        return {"logits": logits_GSC}


class Half(DenseArray):
    """float16: half the bytes, 11 bits of every logit."""

    name: ClassVar[str] = "half"
    is_plain: ClassVar[bool] = True
    dials: ClassVar[Mapping[str, float | int | None]] = {}
    _GREATEST: ClassVar[float] = 65504.0

    def fit(self, asked: EncodingPlan, logits_MC: Logits) -> FittedEncoding:
        bound = Bound(relative=2.0**-11, absolute=2.0**-25)
        array = _array(logits_MC, _shuffled(typesize=2), dtype="float16")
        return FittedEncoding(bound, (array,))

    def to_stored(self, logits_GSC: Logits, asked: EncodingPlan, bound: Bound) -> Stored:
        greatest = float(np.abs(logits_GSC).max(initial=0.0))
        if greatest > self._GREATEST:
            raise InvalidInputError(
                f"encoding half holds logits up to {self._GREATEST:g}, got {greatest:g}; "
                "use --encoding exact"
            )
        return {"logits": logits_GSC.astype(np.float16)}


class Portable(DenseArray):
    """float32 rounded to a power of two, so that plain codecs shrink it.

    What is lost is lost before Zarr: any reader of the Zarr specification gets the same values. A
    block that would miss the mean divergence is rounded finer.
    """

    name: ClassVar[str] = "portable"
    is_plain: ClassVar[bool] = True
    dials: ClassVar[Mapping[str, float | int | None]] = {"max_kl": 2.5e-4, "max_error": None}
    _EXPONENTS: ClassVar[range] = range(-1, -20, -1)

    def fit(self, asked: EncodingPlan, logits_MC: Logits) -> FittedEncoding:
        step = self._step(np.ascontiguousarray(logits_MC.T), asked)
        # Rounding to a multiple of the step is exact in float32 up to 2**24 steps.
        bound = Bound(absolute=step / 2, mean_kl=asked.max_kl)
        array = replace(_array(logits_MC, _shuffled(typesize=4, effort=9)), whole_groups=True)
        return FittedEncoding(bound, (array,))

    def to_stored(self, logits_GSC: Logits, asked: EncodingPlan, bound: Bound) -> Stored:
        logits_CK = logits_GSC.reshape(-1, logits_GSC.shape[-1]).T
        step = 2 * bound.absolute
        greatest = float(np.abs(logits_CK).max(initial=0.0))
        if greatest > 2**23 * step:
            raise InvalidInputError(
                f"encoding portable holds logits up to {2**23 * step:g} at this fidelity, got "
                f"{greatest:g}; use --encoding exact"
            )
        # What is measured may be off by so much; it is 0 where nothing is rounded any more.
        while bound.mean_kl is not None and (
            _divergence(logits_CK, step) > max(0.0, bound.mean_kl - PRECISION)
        ):
            step /= 2
        return {"logits": _rounded(logits_GSC, step)}

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


def _array(
    logits_MC: Logits, compressors: tuple[Any, ...], *, dtype: str = "float32"
) -> StoredArray:
    width = logits_MC.shape[1]
    return StoredArray("logits", width, "class", dtype=dtype, compressors=compressors)


def _rounded(logits: Logits, step: float) -> Logits:
    return np.asarray(np.rint(logits * np.float32(1 / step)) * np.float32(step))


def _divergence(logits_CK: Logits, step: float) -> float:
    return mean_divergence(logits_CK, lambda piece: _rounded(logits_CK[:, piece], step))


def _shuffled(*, typesize: int, effort: int = 3) -> tuple[Any, ...]:
    zstd = BloscCodec(cname="zstd", clevel=effort, shuffle="shuffle", typesize=typesize)
    return (zstd, Crc32cCodec())
