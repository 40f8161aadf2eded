"""Logits to integers and back: the only step of `compact` that loses anything.

A record is kept as its largest logit in whole steps, and as how far below it every class lies (its
depth) on a grid that widens as exp(depth / spread): a class far below the largest hardly counts at
any temperature. With no spread the grid is uniform and the depths start at the rounded maximum.

Both ways are the same on every machine: the cell borders are computed in decimal arithmetic, which
is exactly rounded; numpy's logarithm is used only to find a cell whose borders are then compared.

Shape letters: K records, C classes.
"""

import math
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from kdrec.errors import InvalidInputError

WIDEST = 16.0
"""The grid stops widening before its cells are this many steps wide."""
GREATEST_INTEGER = 2**24
_DIGITS = 30
_LEAST_STEP = 2.0**-24
_MOST_CELLS = 2**22  # borders that take minutes to compute are those of a forged chunk
_LOWER = 2.0**-6  # of a cell; more than a guess in single precision is off by
_MOST_GUESSED = 2**14  # cells; with more of them it might be

Float32 = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid of logits.

    Attributes:
        step: Width of the narrowest cell, in logits.
        spread: Depth over which cells widen by e; None for a uniform grid.
    """

    step: float
    spread: float | None = None

    def __post_init__(self) -> None:
        cells = 0.0 if self.spread is None else self.spread / max(self.step, _LEAST_STEP)
        if not (_LEAST_STEP <= self.step < math.inf and 0 <= cells <= _MOST_CELLS):
            raise ValueError(f"no grid has step {self.step} and spread {self.spread}")

    @property
    def greatest_logit(self) -> float:
        """Magnitude up to which logits fit on the grid."""
        return GREATEST_INTEGER / 4 * self.step

    def check_holds(self, logits_CK: Float32) -> None:
        """Whether these logits fit on the grid.

        Raises:
            InvalidInputError: One is too large.
        """
        greatest = float(np.abs(logits_CK).max(initial=0.0))
        if greatest > self.greatest_logit:
            raise InvalidInputError(
                f"this encoding holds logits up to {self.greatest_logit:g} at this fidelity, "
                f"got {greatest:g}; use --encoding exact"
            )

    def quantize(self, logits_CK: Float32) -> tuple[Places, Places]:
        """Steps of the maximum (K,) and cells of the depths (C, K); best in small pieces.

        Args:
            logits_CK: Finite, of magnitude up to `greatest_logit`.
        """
        greatest_K = logits_CK.max(axis=0)
        steps_K = np.rint(greatest_K.astype(np.float64) / self.step).astype(np.intp)
        if self.spread is not None:
            return steps_K, _find_cells(greatest_K - logits_CK, self.step, self.spread)
        below_CK = np.rint(logits_CK.astype(np.float64) / self.step).astype(np.intp)
        return steps_K, np.maximum(steps_K - below_CK, 0)

    def restore(self, steps: npt.NDArray[np.integer], cells: npt.NDArray[np.integer]) -> Float32:
        """The logits of what `quantize` gave, of the shape of the cells.

        Args:
            steps: Of a shape that fits the cells'.
            cells: Of the depths; fastest as `np.intp`.
        """
        greatest = steps * self.step
        if self.spread is None:
            found: Float32 = (greatest - cells * self.step).astype(np.float32)
            return found
        depths = _centres(cells, self.step, self.spread)
        return np.subtract(greatest.astype(np.float32), depths, out=depths)


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


def _find_cells(depths_CK: Float32, step: float, spread: float) -> Places:
    borders = _borders(step, spread)
    if spread / step > _MOST_GUESSED:
        cells_CK = np.searchsorted(borders.ends, depths_CK)
    else:
        cells_CK = _guess_cells(depths_CK, borders, spread / step, spread)
        # The guess is right or one too low; the exact borders decide.
        cells_CK += depths_CK > borders.ends.take(cells_CK, mode="clip")
    if cells_CK.max(initial=0) > borders.last:
        far = cells_CK > borders.last
        over = (depths_CK[far].astype(np.float64) - borders.ends[-1]) / borders.width
        cells_CK[far] = borders.last + np.maximum(np.ceil(over), 1.0)
    return cells_CK


def _guess_cells(depths_CK: Float32, borders: _Borders, cells_of_e: float, spread: float) -> Places:
    guess_CK = np.minimum(depths_CK, borders.ends[-1])
    guess_CK *= np.float32(-1 / spread)
    np.exp(guess_CK, out=guess_CK)
    guess_CK *= np.float32(-cells_of_e)
    guess_CK += np.float32(cells_of_e + 0.5 - _LOWER)
    cells_CK: Places = guess_CK.astype(np.intp)
    return cells_CK


def _centres(cells: npt.NDArray[np.integer], step: float, spread: float) -> Float32:
    borders = _borders(step, spread)
    depths = borders.centres.take(cells, mode="clip")
    if cells.max(initial=0) > borders.last:
        far = cells > borders.last
        beyond = cells[far] - borders.last - 0.5
        depths[far] = borders.ends[-1] + beyond * borders.width
    return depths
