"""`compact` as a Zarr codec from array to bytes, found by its entry point wherever kdrec is.

Shape letters: G views of a chunk, S samples, C classes, K records.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from zarr.registry import register_codec

from kdrec.store.compact.chunk import Layout, decode_integers, encode_integers
from kdrec.store.compact.companding import Grid
from kdrec.store.compact.fitting import COARSER, FINER, quantize_chunk
from kdrec.store.whole_chunks import WholeChunkCodec, filled_extent

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CompactCodec(WholeChunkCodec):
    """Keeps float32 logits, (views, samples, classes), within a bound.

    Attributes:
        step: Of the base grid, see `Grid`.
        spread: Of the grid.
        max_kl: Mean divergence that every chunk keeps; None where the step alone bounds the error.
    """

    NAME: ClassVar[str] = "kdrec.compact"

    step: float
    spread: float | None = None
    max_kl: float | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From the array's metadata."""
        return cls(**data["configuration"])

    def to_dict(self) -> dict[str, Any]:
        """For the array's metadata."""
        found = {"step": self.step, "spread": self.spread, "max_kl": self.max_kl}
        return {"name": self.NAME, "configuration": found}

    def encode_chunk(self, logits_GSC: Logits) -> bytes:
        """A chunk.

        Args:
            logits_GSC: Finite; NaN in the last views and samples where the array ends before.

        Raises:
            ValueError: A logit is NaN or infinite, or too large for the grid.
        """
        views, samples = filled_extent(logits_GSC)
        filled = logits_GSC[:views, :samples]
        classes = filled.shape[2]
        logits_CK = np.ascontiguousarray(filled.transpose(2, 0, 1)).reshape(classes, -1)
        base = Grid(self.step, self.spread)
        base.check_holds(logits_CK)
        found = quantize_chunk(logits_CK, base, self.max_kl)
        found.grid.check_holds(logits_CK)
        values_GKS = np.empty((views, classes + 1, samples), dtype=np.int32)
        values_GKS[:, :-1] = found.cells_CK.reshape(classes, views, samples).transpose(1, 0, 2)
        values_GKS[:, -1] = found.steps_K.reshape(views, samples)
        tops_GS = filled.argmax(axis=2).astype(np.int32)
        return encode_integers(values_GKS, tops_GS, found.grid.step)

    def decode_chunk(self, data: bytes, shape: tuple[int, ...]) -> Logits:
        """The logits of a chunk, NaN where it is not filled.

        Args:
            data: From `encode_chunk`.
            shape: Of the whole chunk.

        Raises:
            ValueError: The chunk is damaged, or of another shape.
        """
        layout = Layout.from_bytes(data)
        extent = layout.num_views, layout.num_samples, layout.num_classes
        if any(n > most for n, most in zip(extent, shape, strict=True)) or extent[2] != shape[2]:
            raise ValueError(f"a chunk of shape {shape} holds {extent}")
        if not FINER * self.step <= layout.step <= COARSER * self.step:
            raise ValueError(f"a chunk has step {layout.step}, the array {self.step}")
        grid, classes = Grid(layout.step, self.spread), layout.num_classes
        logits_GSC = np.empty(shape, dtype=np.float32)
        logits_GSC[layout.num_views :] = np.nan
        logits_GSC[:, layout.num_samples :] = np.nan
        for view, samples, values_SK in decode_integers(data):
            places_SK = values_SK.astype(np.intp)
            steps_S1 = places_SK[:, classes:].copy()
            places_SK[:, classes:] = 0
            logits_GSC[view, samples] = grid.restore(steps_S1, places_SK)[:, :classes]
        return logits_GSC


register_codec(CompactCodec.NAME, CompactCodec)
