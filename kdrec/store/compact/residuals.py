"""Residuals of the prediction, dealt out to streams of like size, each to be coded on its own.

Residuals differ in size by column and by record, so they are dealt out by the mean size of the
column (stated), and by how large the same record came out so far, in its earlier views and in its
first columns (which the decoder knows as well).

All that decides where a residual goes is integer or exactly rounded arithmetic.

Shape letters: G views of a chunk, K columns, S samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

HEAD = 8
"""Columns that tell how large the rest of a record will be."""
REACH = 2
"""A record's size moves its residuals by up to this many streams."""
LEVELS = 32
"""Mean sizes of a column: 2**(level / 2 - 3); a level is half an octave."""
_UNIT = 1024.0
_GREATEST_SIZE = 2**12  # so that sums of sizes are exact
_EDGES = np.array([2.0**-0.75, 2.0**-0.25, 2.0**0.25, 2.0**0.75]) * _UNIT

Integers = npt.NDArray[np.int32]
Levels = npt.NDArray[np.uint8]


def measure_levels(residuals_GKS: Integers) -> Levels:
    """Level of every column in the first view and in later ones, (2, K)."""
    sizes_GK = np.abs(residuals_GKS).mean(axis=2)
    later = sizes_GK[1:].mean(axis=0) if len(sizes_GK) > 1 else sizes_GK[0]
    sizes = np.stack([sizes_GK[0], later])
    levels = np.rint(2 * (np.log2(np.maximum(sizes, 2.0**-3)) + 3))
    found: Levels = np.minimum(levels, LEVELS - 1).astype(np.uint8)
    return found


@dataclass(frozen=True, slots=True)
class _Deal:
    """How the residuals of some columns of one view are dealt out.

    Attributes:
        rows: For each level, the numbers of its columns.
        order: The samples, those of one size after another; None for their own order.
        sizes: For each size, what it adds to the level, and its range in that order.
    """

    rows: list[tuple[int, npt.NDArray[np.intp]]]
    order: npt.NDArray[np.intp] | None
    sizes: list[tuple[int, slice]]

    def sorted(self, residuals_MS: Integers) -> Integers:
        """Columns with their samples in order."""
        return residuals_MS if self.order is None else residuals_MS.take(self.order, axis=1)

    def unsorted(self, residuals_MS: Integers) -> Integers:
        """The way back."""
        if self.order is None:
            return residuals_MS
        places = np.empty_like(self.order)
        places[self.order] = np.arange(len(places))
        return residuals_MS.take(places, axis=1)


class _Dealer:
    """Deals the residuals of a chunk to streams, view after view."""

    def __init__(self, levels: Levels, *, num_samples: int, by_size: bool) -> None:
        self._levels = levels.astype(np.intp)
        self._by_size = by_size
        self._earlier_S = np.zeros(num_samples)
        # A column's share of a record's size; exact: few bits, from square roots of powers of two.
        mantissas = np.where(self._levels % 2, np.rint(_UNIT * 2**-0.5), _UNIT)
        self._weights = np.ldexp(mantissas, 3 - self._levels // 2)

    def head(self, view: int) -> _Deal:
        """Where the first columns of a view go; ask after the views before were `noted`."""
        head = np.arange(min(HEAD, self._levels.shape[1]))
        size_S = None
        if view and self._by_size:
            size_S = (0.35 * _UNIT) + 0.65 * (self._earlier_S / view)
        return self._deal(view, head, size_S)

    def tail(self, view: int, head_KS: Integers) -> _Deal:
        """Where the rest of a view goes, its first columns known."""
        tail = np.arange(HEAD, self._levels.shape[1])
        size_S = None
        if self._by_size and len(tail):
            here_S = self._mean_size(view, head_KS)
            size_S = 0.6 * here_S + 0.4 * _UNIT
            if view:
                size_S = 0.45 * here_S + 0.42 * (self._earlier_S / view) + 0.13 * _UNIT
        return self._deal(view, tail, size_S)

    def note(self, view: int, residuals_KS: Integers) -> None:
        """Remember how large the records of a view came out."""
        if self._by_size:
            self._earlier_S += self._mean_size(view, residuals_KS)

    def _mean_size(self, view: int, residuals_KS: Integers) -> npt.NDArray[np.float64]:
        weights_K = self._weights[min(view, 1), : len(residuals_KS)]
        capped_KS = np.minimum(np.abs(residuals_KS), _GREATEST_SIZE)
        total_S = weights_K @ capped_KS.astype(np.float64)
        return np.asarray(total_S / len(residuals_KS))

    def _deal(
        self, view: int, columns: npt.NDArray[np.intp], size_S: npt.NDArray[np.float64] | None
    ) -> _Deal:
        levels = self._levels[min(view, 1), columns]
        rows = [(int(level), columns[levels == level]) for level in np.unique(levels)]
        if size_S is None:
            return _Deal(rows, None, [(0, slice(None))])
        sizes = np.searchsorted(_EDGES, size_S).astype(np.uint8)
        order = np.argsort(sizes, kind="stable")
        ends = np.searchsorted(sizes[order], np.arange(2 * REACH + 2))
        ranges = [(n - REACH, slice(ends[n], ends[n + 1])) for n in range(2 * REACH + 1)]
        return _Deal(rows, order, ranges)


def encode_residuals(
    residuals_GKS: Integers, levels: Levels, *, by_size: bool
) -> dict[int, Integers]:
    """The streams that hold the residuals, by number from -`REACH` up.

    Args:
        residuals_GKS: Any integers.
        levels: Of the columns, from `measure_levels`, or all the same.
        by_size: Whether a record's size counts, too; not worth it for few records.
    """
    streams: dict[int, list[Integers]] = {}
    dealer = _Dealer(levels, num_samples=residuals_GKS.shape[2], by_size=by_size)
    for view, residuals_KS in enumerate(residuals_GKS):
        for deal in (dealer.head(view), dealer.tail(view, residuals_KS[:HEAD])):
            for level, columns in deal.rows:
                dealt = deal.sorted(residuals_KS[columns])
                for shift, samples in deal.sizes:
                    streams.setdefault(level + shift, []).append(dealt[:, samples].ravel())
        dealer.note(view, residuals_KS)
    joined = {number: np.concatenate(streams[number]) for number in sorted(streams)}
    return {number: values for number, values in joined.items() if len(values)}


def decode_residuals(
    streams: Mapping[int, npt.NDArray[np.signedinteger]],
    levels: Levels,
    *,
    num_views: int,
    num_samples: int,
    by_size: bool,
) -> Integers:
    """The residuals, (G, K, S), that `encode_residuals` dealt out.

    Raises:
        ValueError: The streams are not those of such a chunk.
    """
    found = np.empty((num_views, levels.shape[1], num_samples), dtype=np.int32)
    dealer = _Dealer(levels, num_samples=num_samples, by_size=by_size)
    taken = dict.fromkeys(streams, 0)

    def take(number: int, shape: tuple[int, ...]) -> npt.NDArray[np.signedinteger]:
        start = taken.setdefault(number, 0)
        taken[number] = stop = start + shape[0] * shape[1]
        if stop > len(streams.get(number, ())):
            raise ValueError("a stream of residuals is too short")
        return streams[number][start:stop].reshape(shape)

    def gather(deal: _Deal, residuals_KS: Integers) -> None:
        for level, columns in deal.rows:
            dealt = np.empty((len(columns), num_samples), dtype=np.int32)
            for shift, samples in deal.sizes:
                piece = dealt[:, samples]
                if piece.size:
                    piece[:] = take(level + shift, piece.shape)
            residuals_KS[columns] = deal.unsorted(dealt)

    for view, residuals_KS in enumerate(found):
        gather(dealer.head(view), residuals_KS)
        gather(dealer.tail(view, residuals_KS[:HEAD]), residuals_KS)
        dealer.note(view, residuals_KS)
    if any(taken[number] != len(stream) for number, stream in streams.items()):
        raise ValueError("a stream of residuals is too long")
    return found
