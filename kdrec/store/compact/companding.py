"""Logits to integers and back: the only step of `compact` that loses anything.

A record is kept as its largest logit in whole steps, and as how far below it every class lies (its
depth) on a grid that widens as exp(depth / spread): a class far below the largest hardly counts at
any temperature. With no spread the grid is uniform and the depths start at the rounded maximum.

Both ways are the same on every machine: the cell borders are computed in decimal arithmetic, which
is exactly rounded; numpy's logarithm is used only to find a cell whose borders are then compared.

Shape letters: K records, C classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import lru_cache

import numpy as np
import numpy.typing as npt

WIDEST = 16.0
"""The grid stops widening before its cells are this many steps wide."""
GREATEST_INTEGER = 2**24
_DIGITS = 30

_PIECE = 1024  # records of a piece that stays in the processor's cache

Float32 = npt.NDArray[np.float32]
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

    def quantize(self, logits_CK: Float32) -> tuple[Integers, Integers]:
        """Steps of the maximum (K,) and cells of the depths (C, K).

        Args:
            logits_CK: Finite, of magnitude up to `greatest_logit`.
        """
        steps_K = np.empty(logits_CK.shape[1], dtype=np.int32)
        cells_CK = np.empty(logits_CK.shape, dtype=np.int32)
        for piece in _pieces(logits_CK.shape[1]):
            logits = logits_CK[:, piece]
            greatest = logits.max(axis=0)
            steps = np.rint(greatest.astype(np.float64) / self.step)
            steps_K[piece] = steps
            if self.spread is None:
                below = np.rint(logits.astype(np.float64) / self.step)
                cells_CK[:, piece] = np.maximum(steps - below, 0.0)
            else:
                _find_cells(greatest - logits, self.step, self.spread, out=cells_CK[:, piece])
        return steps_K, cells_CK

    def restore(self, steps_K: Integers, cells_CK: Integers) -> Float32:
        """The logits, (C, K), of what `quantize` gave."""
        logits_CK = np.empty(cells_CK.shape, dtype=np.float32)
        for piece in _pieces(cells_CK.shape[1]):
            cells, greatest = cells_CK[:, piece], steps_K[piece] * self.step
            if self.spread is None:
                logits_CK[:, piece] = greatest - cells * self.step
            else:
                depths = _centres(cells, self.step, self.spread)
                np.subtract(greatest.astype(np.float32), depths, out=logits_CK[:, piece])
        return logits_CK


def _pieces(num_records: int) -> Iterator[slice]:
    for start in range(0, num_records, _PIECE):
        yield slice(start, min(start + _PIECE, num_records))


@dataclass(frozen=True, slots=True)
class _Borders:
    """Depths at which cells end, as far as they widen; then they go on at one width."""

    ends: Float32
    centres: Float32
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
    width = float(table[-1] - starts[-1])
    return _Borders(table.astype(np.float32), centres.astype(np.float32), width)


def _find_cells(depths_CK: Float32, step: float, spread: float, *, out: Integers) -> None:
    borders = _borders(step, spread)
    reached = np.minimum(depths_CK, borders.ends[-1])
    np.multiply(reached, np.float32(-1 / spread), out=reached)
    np.exp(reached, out=reached)
    np.subtract(1, reached, out=reached)
    np.multiply(reached, np.float32(spread / step), out=reached)
    cells = np.rint(reached, out=reached).astype(np.int32)
    np.minimum(cells, borders.last, out=cells)
    # The guess is off by at most one cell; the exact borders decide.
    cells += depths_CK > borders.ends.take(cells)
    cells -= (depths_CK <= borders.ends.take(cells - 1, mode="clip")) & (cells > 0)
    far = cells > borders.last
    if far.any():
        over = (depths_CK[far].astype(np.float64) - borders.ends[-1]) / borders.width
        cells[far] = borders.last + np.maximum(np.ceil(over), 1.0)
    out[:] = cells


def _centres(cells_CK: Integers, step: float, spread: float) -> Float32:
    borders = _borders(step, spread)
    depths_CK = borders.centres.take(cells_CK, mode="clip")
    far = cells_CK > borders.last
    if far.any():
        beyond = cells_CK[far] - borders.last - 0.5
        depths_CK[far] = borders.ends[-1] + beyond * borders.width
    return depths_CK
