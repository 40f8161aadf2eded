"""Logits to integers and back: the only step of `compact` that loses anything.

A record is kept as its largest logit in whole steps, and as how far below it every class lies (its
depth) on a grid that widens as exp(depth / spread): a class far below the largest hardly counts at
any temperature. With no spread the grid is uniform and the depths start at the rounded maximum.

Both ways are the same on every machine: the cell borders are computed in decimal arithmetic, which
is exactly rounded; numpy's logarithm is used only to find a cell whose borders are then compared.

Shape letters: K records, C classes.
"""

from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import lru_cache

import numpy as np
import numpy.typing as npt

WIDEST = 16.0
"""The grid stops widening where its cells are this many steps wide."""
GREATEST_INTEGER = 2**24
_DIGITS = 30

Float = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid of logits.

    Attributes:
        step: Width of the narrowest cell, in logits.
        spread: Depth over which cells widen by e; None for a uniform grid.
    """

    step: float
    spread: float | None = None

    @property
    def greatest_logit(self) -> float:
        """Magnitude up to which logits fit on the grid."""
        return GREATEST_INTEGER / 4 * self.step

    def quantize(self, logits_CK: npt.NDArray[np.float32]) -> tuple[Integers, Integers]:
        """Steps of the maximum (K,) and cells of the depths (C, K).

        Args:
            logits_CK: Finite, of magnitude up to `greatest_logit`.
        """
        logits = logits_CK.astype(np.float64)
        greatest_K = logits.max(axis=0)
        steps_K = np.rint(greatest_K / self.step)
        if self.spread is None:
            cells = np.maximum(steps_K - np.rint(logits / self.step), 0.0)
            return steps_K.astype(np.int32), cells.astype(np.int32)
        return steps_K.astype(np.int32), _cells(greatest_K - logits, self.step, self.spread)

    def restore(self, steps_K: Integers, cells_CK: Integers) -> npt.NDArray[np.float32]:
        """The logits, (C, K), of what `quantize` gave."""
        greatest_K = steps_K * self.step
        if self.spread is None:
            depths_CK = cells_CK * self.step
        else:
            depths_CK = _depths(cells_CK, self.step, self.spread)
        np.subtract(greatest_K, depths_CK, out=depths_CK)
        return depths_CK.astype(np.float32)


@dataclass(frozen=True, slots=True)
class _Borders:
    """Depths at which cells end, as far as they widen; then they go on at one width."""

    ends: Float
    centres: Float
    width: float

    @property
    def last(self) -> int:
        """The last cell of the table."""
        return len(self.ends) - 1


@lru_cache(maxsize=64)
def _borders(step: float, spread: float) -> _Borders:
    """Cell q ends where spread * (1 - exp(-depth / spread)) is (q + 1/2) steps."""
    with localcontext(Context(prec=_DIGITS)):
        exact_step, exact_spread = Decimal(step), Decimal(spread)
        narrowest = 1 / Decimal(WIDEST)
        ends: list[float] = []
        while True:
            left = 1 - (len(ends) + Decimal("0.5")) * exact_step / exact_spread
            if left < narrowest:
                break
            ends.append(float(-exact_spread * left.ln()))
    if not ends:
        ends = [step / 2]
    table = np.array(ends)
    starts = np.concatenate([[-table[0]], table[:-1]])
    centres = (starts + table) / 2
    centres[0] = 0.0
    return _Borders(table, centres, float(table[-1] - starts[-1]))


def _cells(depths_CK: Float, step: float, spread: float) -> Integers:
    borders = _borders(step, spread)
    near = np.exp(np.minimum(depths_CK, borders.ends[-1]) * (-1 / spread))
    cells = np.rint((1 - near) * (spread / step)).astype(np.int32)
    np.minimum(cells, borders.last, out=cells)
    # The guess is off by at most one cell; the exact borders decide.
    cells -= (cells > 0) & (depths_CK <= borders.ends[cells - 1])
    beyond = depths_CK > borders.ends[cells]
    cells += beyond
    far = cells > borders.last
    if far.any():
        over = (depths_CK[far] - borders.ends[-1]) / borders.width
        cells[far] = borders.last + np.maximum(np.ceil(over), 1.0)
    found: Integers = cells
    return found


def _depths(cells_CK: Integers, step: float, spread: float) -> Float:
    borders = _borders(step, spread)
    depths_CK = borders.centres[np.minimum(cells_CK, borders.last)]
    far = cells_CK > borders.last
    if far.any():
        beyond = cells_CK[far] - borders.last - 0.5
        depths_CK[far] = borders.ends[-1] + beyond * borders.width
    return depths_CK
