"""Which grid: the base step and the spread, from a sample; the step of a chunk, from all of it.

The sample decides how the grid widens and what step is about right. Every chunk then takes the
coarsest step with which its own records keep the mean divergence asked for, so that a recording
keeps it whatever the sample missed; most chunks end within a few percent of the base step.

Shape letters: K records, C classes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdrec.errors import InvalidInputError
from kdrec.store.compact.companding import WIDEST, Grid
from kdrec.store.compact.divergence import PRECISION, expected_divergence, mean_divergence

SPREADS = (8.0, 11.0, 16.0, 23.0, 32.0, 64.0)
BALANCED = 16.0
"""Twice the hottest temperature: squared errors grow as fast as probabilities at 8 fall, and faster
than at any other, so that no temperature pays for the rest. Another spread must save
`_WORTHWHILE` bits a logit on at least `_TELLING` records: a few records bear most of the divergence
at low temperatures, and without them a smaller spread looks better than it is."""
_TELLING = 128
MOST_STEP = 0.5
_USUAL, _MOST_UNIT = 2.0**16, 128.0
"""Logits beyond the first are kept on grids that are coarser by as much, so far as the divergence
allows it; divergences between grids coarser than by the second overflow."""
COARSER = 1.25
"""By how much a chunk's step may exceed the base step."""
_GRADES, _LEAST_GRADE = 256, 8  # steps of a chunk are so many 256ths of the base step
FINER = _LEAST_GRADE / _GRADES
"""What part of the base step a chunk's step is at least."""
_FIRST_STEP, _LEAST_STEP = 0.1, 2.0**-10
_STEPS_TRIED = 4
_WORTHWHILE = 0.2
_MOST_TRIES = 12
_AIM, _CLOSE = 0.985, 0.96

Logits = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Dial:
    """What `compact` is asked to keep; exactly one is given.

    Attributes:
        max_kl: Mean divergence over records, both ways, at temperatures 1, 2, 4 and 8, in nats.
        max_error: Of every logit.
    """

    max_kl: float | None = None
    max_error: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.max_kl, self.max_error) if value is not None]
        if len(given) != 1:
            raise InvalidInputError(f"give either max_kl or max_error, got {len(given)} of them")
        if not 1e-6 <= given[0] <= 1.0:
            raise InvalidInputError(
                f"max_kl or max_error must be from 1e-6 to 1, got {given[0]:g}; "
                "for less error use --encoding exact"
            )


def fit_grid(logits_CK: Logits, fidelity: Dial) -> Grid:
    """The grid with which a sample of records needs the fewest bits.

    Args:
        logits_CK: At least one record, finite.
        fidelity: What to keep.

    Raises:
        InvalidInputError: A logit is too large for any such grid.
    """
    found = _fit(logits_CK, fidelity)
    found.check_holds(logits_CK)
    return found


def _fit(logits_CK: Logits, fidelity: Dial) -> Grid:
    if fidelity.max_error is not None:
        return Grid(step=2 * fidelity.max_error)
    assert fidelity.max_kl is not None
    unit = min(_MOST_UNIT, max(1.0, float(np.abs(logits_CK).max()) / _USUAL))
    Grid(MOST_STEP * unit).check_holds(logits_CK)
    depths_CK = logits_CK.max(axis=0) - logits_CK.astype(np.float64)
    best, fewest = Grid(MOST_STEP, SPREADS[-1]), np.inf
    for spread in SPREADS if logits_CK.shape[1] >= _TELLING else (BALANCED,):
        scaled = spread * unit
        step = _coarsest(logits_CK, fidelity.max_kl, scaled, MOST_STEP * unit)
        widened = np.minimum(depths_CK / scaled, np.log(WIDEST)).mean()
        bits = -np.log2(step) - widened / np.log(2) + _WORTHWHILE * (spread != BALANCED)
        if bits < fewest:
            best, fewest = Grid(step, scaled), bits
    return best


def _coarsest(logits_CK: Logits, max_kl: float, spread: float, most: float) -> float:
    """About the coarsest step that keeps the divergence on these records, of few digits."""
    most = min(most, spread / (2 * WIDEST))
    step = min(_FIRST_STEP, most)
    for _ in range(_STEPS_TRIED):
        found = _divergence(logits_CK, Grid(step, spread))
        step = float(min(most, max(_LEAST_STEP, step * _ratio(max_kl, found))))
    return float(np.float16(step))


@dataclass(frozen=True, slots=True)
class Quantized:
    """Records on a grid.

    Attributes:
        grid: The grid.
        steps_K: Of the maxima.
        cells_CK: Of the depths.
        divergence: The greatest mean divergence; not measured where none is asked for.
    """

    grid: Grid
    steps_K: Integers
    cells_CK: Integers
    divergence: float = 0.0


def quantize_chunk(logits_CK: Logits, base: Grid, max_kl: float | None) -> Quantized:
    """The records of a chunk on the coarsest grid near the base that keeps the mean divergence."""
    if max_kl is None or base.spread is None:
        return _measured(logits_CK, base)
    most = int(COARSER * _GRADES)
    allowed = max_kl - PRECISION
    about = base.step**2 * expected_divergence(logits_CK, base.spread, WIDEST)
    grade = min(most, int(_GRADES * _ratio(allowed, about)))
    kept: Quantized | None = None
    for _ in range(_MOST_TRIES):
        tried = _measured(
            logits_CK, Grid(base.step * max(_LEAST_GRADE, grade) / _GRADES, base.spread)
        )
        within = tried.divergence <= allowed
        if within and (kept or tried.divergence > _CLOSE * allowed or grade >= most):
            return tried
        if kept and not within:
            return kept
        kept = tried if within else None
        most = most if within else grade - 1
        grade = min(most, int(grade * _ratio(allowed, tried.divergence)))
    if kept is not None:
        return kept
    raise InvalidInputError(
        f"logits cannot be kept at a mean divergence of {max_kl:g}: it is {tried.divergence:g} at "
        "the finest step; use --encoding exact"
    )


def _measured(logits_CK: Logits, grid: Grid) -> Quantized:
    steps_K = np.empty(logits_CK.shape[1], dtype=np.int32)
    cells_CK = np.empty(logits_CK.shape, dtype=np.int32)

    def decode(piece: slice) -> Logits:
        steps_K[piece], cells_CK[:, piece] = grid.quantize(logits_CK[:, piece])
        return grid.restore(steps_K[piece], cells_CK[:, piece])

    return Quantized(grid, steps_K, cells_CK, mean_divergence(logits_CK, decode))


def _divergence(logits_CK: Logits, grid: Grid) -> float:
    return _measured(logits_CK, grid).divergence


def _ratio(max_kl: float, found: float) -> float:
    """By how much to change a step: divergence grows with its square."""
    return float(np.sqrt(_AIM * max_kl / max(found, 1e-12)))
