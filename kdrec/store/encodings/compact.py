"""The compact encoding behind the seam.

Shape letters: G views of a group, S samples, M proof records, C classes.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from kdrec.store.compact import COARSER, WIDEST, CompactCodec, Dial, Grid, fit_grid
from kdrec.store.encodings.encoding import (
    DenseArray,
    FittedEncoding,
    Logits,
    Stored,
    StoredArray,
)
from kdrec.store.manifest import Bound
from kdrec.store.plan import EncodingPlan

_ROUNDING = 2.0**-21  # of depths and logits, a few times, to single precision


class Compact(DenseArray):
    """Error-bounded, near the entropy; see `kdrec.store.compact`."""

    name: ClassVar[str] = "compact"
    is_plain: ClassVar[bool] = False
    dials: ClassVar[Mapping[str, float | int | None]] = {"max_kl": 2.5e-4, "max_error": None}

    def fit(self, asked: EncodingPlan, logits_MC: Logits) -> FittedEncoding:
        fidelity = Dial(max_kl=asked.max_kl, max_error=asked.max_error)
        grid = fit_grid(np.ascontiguousarray(logits_MC.T), fidelity)
        codec = CompactCodec(grid.step, grid.spread, asked.max_kl)
        width = logits_MC.shape[1]
        array = StoredArray("logits", width, "class", serializer=codec, whole_groups=True)
        return FittedEncoding(_bound(grid, asked.max_kl), (array,))

    def to_stored(self, logits_GSC: Logits, asked: EncodingPlan, bound: Bound) -> Stored:
        return {"logits": logits_GSC}


def _bound(grid: Grid, max_kl: float | None) -> Bound:
    if grid.spread is None:
        return Bound(relative=_ROUNDING, absolute=grid.step / 2)
    coarsest = COARSER * grid.step
    # A cell is as wide as the grid is at its far end, a little more than where the logit lies.
    half_cell = coarsest / 2 / (1 - WIDEST * coarsest / grid.spread)
    return Bound(
        relative=_ROUNDING, absolute=half_cell, spread=grid.spread, widest=WIDEST, mean_kl=max_kl
    )
