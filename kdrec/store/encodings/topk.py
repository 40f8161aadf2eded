"""The encoding of teachers of thousands of classes: the largest logits, and the mass of the rest.

Shape letters: G views of a group, S samples, M proof records, C classes, K kept classes.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from zarr.codecs import BloscCodec, Crc32cCodec

from kdrec.augment import Array, like, namespace, to_host
from kdrec.errors import IntegrityError, InvalidInputError
from kdrec.store.compact import CompactCodec, Dial, fit_grid
from kdrec.store.encodings.encoding import (
    FittedEncoding,
    Logits,
    Rows,
    Stored,
    StoredArray,
    beyond_bound,
    greatest_error,
)
from kdrec.store.manifest import Bound
from kdrec.store.plan import EncodingPlan
from kdrec.store.sparse import SparseLogits

MOST_CLASSES = 2**31
_MASS_ROUNDING = 1e-4
"""Relative; of two sums of exponentials in single precision."""


class TopK:
    """See the module; the rule for what is missing is `kdrec.store.sparse`'s."""

    name: ClassVar[str] = "topk"
    is_plain: ClassVar[bool] = False
    reduces: ClassVar[bool] = True
    arrays: ClassVar[tuple[str, ...]] = ("logits", "classes", "mass")
    dials: ClassVar[Mapping[str, float | int | None]] = {"kept": 32, "max_error": 0.05}

    def fit(self, asked: EncodingPlan, logits_MC: Logits) -> FittedEncoding:
        num_classes = logits_MC.shape[1]
        if num_classes > MOST_CLASSES:
            raise InvalidInputError(
                f"encoding topk holds up to {MOST_CLASSES} classes, got {num_classes}"
            )
        assert asked.kept is not None, "plan_encoding fills it"
        assert asked.max_error is not None, "plan_encoding fills it"
        kept = min(asked.kept, num_classes)
        grid = fit_grid(np.ascontiguousarray(logits_MC.T), Dial(max_error=asked.max_error))
        codec = CompactCodec(grid.step)
        arrays = (
            StoredArray("logits", kept, "rank", serializer=codec, whole_groups=True),
            _plain("classes", kept, "rank", dtype=_index_type(num_classes)),
            _plain("mass", 2, "sum", dtype="float32"),
        )
        return FittedEncoding(Bound(relative=2.0**-21, absolute=asked.max_error), arrays)

    def to_stored(self, logits_GSC: Array, asked: EncodingPlan, bound: Bound) -> Stored:
        assert asked.kept is not None, "plan_encoding fills it"
        views, samples, num_classes = logits_GSC.shape
        sparse = SparseLogits.of(logits_GSC.reshape(-1, num_classes), asked.kept)
        shape = views, samples, -1
        classes_GSK = sparse.classes_BK.astype(_index_type(num_classes)).reshape(shape)
        return {
            "logits": sparse.values_BK.reshape(shape),
            "classes": classes_GSK,
            "mass": sparse.mass_B2.reshape(shape),
        }

    def to_logits(self, stored: Stored, num_classes: int) -> Logits:
        return self.to_sparse(stored, num_classes).dense_logits()

    def to_sparse(self, stored: Stored, num_classes: int) -> SparseLogits:
        """What is known, without making all classes of it."""
        greatest = int(stored["classes"].max(initial=0))
        if greatest >= num_classes:
            raise IntegrityError(
                f"a record keeps class {greatest} of {num_classes} classes; "
                "the recording is damaged: fetch or record it anew"
            )
        return SparseLogits(stored["logits"], stored["classes"], stored["mass"], num_classes)

    def beyond(
        self, teacher_MC: Array, stored: Stored, bounds: Sequence[Bound], *, slack: float
    ) -> Rows:
        """Kept logits beyond the bound, kept classes not among the largest, wrong masses."""
        xp = namespace(teacher_MC)
        kept = stored["logits"].shape[-1]
        true = SparseLogits.of(teacher_MC, kept)
        classes_MK = like(stored["classes"].astype(np.int64), teacher_MC)
        theirs_MK = to_host(xp.take_along_axis(teacher_MC, classes_MK, axis=1))
        off_MK = beyond_bound(theirs_MK, stored["logits"], bounds, slack=slack)
        greatest_M1 = to_host(xp.max(xp.abs(teacher_MC), axis=1, keepdims=True))
        scale_M1 = np.maximum(1.0, greatest_M1)
        before_M1 = slack * scale_M1
        if bounds[:-1]:  # chosen and summed were logits of the recording this was converted from
            before_M1 = before_M1 + greatest_error(to_host(teacher_MC), bounds[:-1])
        lower_MK = theirs_MK < true.values_BK[:, -1:] - 2 * before_M1
        allowed_M1 = _MASS_ROUNDING * scale_M1 + before_M1
        mass_M2 = ~(np.abs(stored["mass"] - true.mass_B2) <= allowed_M1)
        return np.asarray(off_MK.any(axis=1) | lower_MK.any(axis=1) | mass_M2.any(axis=1))


def _plain(name: str, width: int, dimension: str, *, dtype: str) -> StoredArray:
    zstd = BloscCodec(cname="zstd", clevel=5, shuffle="shuffle", typesize=np.dtype(dtype).itemsize)
    return StoredArray(name, width, dimension, dtype=dtype, compressors=(zstd, Crc32cCodec()))


def _index_type(num_classes: int) -> str:
    return str(np.min_scalar_type(num_classes - 1).name)
