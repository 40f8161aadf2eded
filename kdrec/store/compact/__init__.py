"""The compact encoding: error-bounded logits, near their entropy.

Logits to integers (`companding`), integers to residuals (`prediction`), residuals to streams
(`residuals`), streams to bytes (`sections`); `chunk` puts them together, `codec` gives them to
Zarr, `fitting` finds the grid, `divergence` measures what was lost.
"""

from kdrec.store.compact.codec import CompactCodec
from kdrec.store.compact.companding import WIDEST, Grid
from kdrec.store.compact.divergence import PRECISION, mean_divergence
from kdrec.store.compact.fitting import COARSER, Dial, fit_grid

__all__ = [
    "COARSER",
    "PRECISION",
    "WIDEST",
    "CompactCodec",
    "Dial",
    "Grid",
    "fit_grid",
    "mean_divergence",
]
