"""Residuals of the prediction, dealt out to streams of like size, each to be coded on its own.

Residuals differ in size by column and by record, so they are dealt out by the mean size of the
column (stated), and by how large the same record came out in its earlier views (which the decoder
knows as well). The residual of a record's top class is 0 and is not in any stream.

All that decides where a residual goes is integer or exactly rounded arithmetic.

Shape letters: G views of a chunk, K columns, S samples.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

REACH = 2
"""A record's size moves its residuals by up to this many streams."""
LEVELS = 32
"""Mean sizes of a column: 2**(level / 2 - 3); a level is half an octave."""
_UNIT = 1024.0
_GREATEST_SIZE = 2**12  # so that sums of sizes are exact
_EDGES = np.array([2.0**-0.75, 2.0**-0.25, 2.0**0.25, 2.0**0.75]) * _UNIT

Integers = npt.NDArray[np.int32]
Narrow = npt.NDArray[np.signedinteger]
Levels = npt.NDArray[np.uint8]


def measure_levels(residuals_GKS: Integers, tops_GS: Integers) -> Levels:
    """Level of every column in the first view and in later ones, (2, K)."""
    num_columns, num_samples = residuals_GKS.shape[1:]
    kept_GK = num_samples - np.stack([np.bincount(t, minlength=num_columns) for t in tops_GS])
    sizes_GK = np.abs(residuals_GKS).sum(axis=2) / np.maximum(1, kept_GK)
    later = sizes_GK[1:].mean(axis=0) if len(sizes_GK) > 1 else sizes_GK[0]
    sizes = np.stack([sizes_GK[0], later])
    levels = np.rint(2 * (np.log2(np.maximum(sizes, 2.0**-3)) + 3))
    found: Levels = np.minimum(levels, LEVELS - 1).astype(np.uint8)
    return found


class _Dealer:
    """Where the residuals of a chunk go, view after view.

    Within a view columns are sorted by level and samples by size, so that what goes to a stream is
    a rectangle.
    """

    def __init__(self, levels: Levels, *, num_samples: int, by_size: bool) -> None:
        self._levels = levels.astype(np.intp)
        self._by_size = by_size
        self._earlier_S = np.zeros(num_samples)
        self._view = 0
        self.columns = self.samples = np.zeros(0, dtype=np.intp)
        # A column's share of a record's size; exact: few bits, from square roots of powers of two.
        mantissas = np.where(self._levels % 2, np.rint(_UNIT * 2**-0.5), _UNIT)
        self._weights = np.ldexp(mantissas, 3 - self._levels // 2)

    def streams(self) -> list[tuple[int, tuple[slice, slice]]]:
        """The streams of the next view and their rectangles; sets the order of both axes."""
        levels = self._levels[min(self._view, 1)]
        self.columns, rows = _sorted_ranges(levels)
        self.samples, ranges = np.arange(len(self._earlier_S)), [(0, slice(None))]
        if self._by_size and self._view:
            size_S = (0.35 * _UNIT) + 0.65 * (self._earlier_S / self._view)
            self.samples, ranges = _sorted_ranges(np.searchsorted(_EDGES, size_S) - REACH)
        return [(level + shift, (row, samples)) for level, row in rows for shift, samples in ranges]

    def note(self, residuals_KS: Narrow) -> None:
        """How large the records of this view came out; then comes the next."""
        if self._by_size:
            capped_KS = np.minimum(np.abs(residuals_KS), _GREATEST_SIZE).astype(np.float64)
            weights_K = self._weights[min(self._view, 1)]
            self._earlier_S += (weights_K @ capped_KS) / len(residuals_KS)
        self._view += 1


def _sorted_ranges(
    keys: npt.NDArray[np.intp],
) -> tuple[npt.NDArray[np.intp], list[tuple[int, slice]]]:
    """A stable order by key, and where each key's entries are in it."""
    order = np.argsort(keys.astype(np.int16), kind="stable")  # short integers: a radix sort
    found, starts = np.unique(keys[order], return_index=True)
    stops = [*starts[1:].tolist(), len(keys)]
    pairs = zip(found.tolist(), starts.tolist(), stops, strict=True)
    return order, [(key, slice(start, stop)) for key, start, stop in pairs]


def encode_residuals(
    residuals_GKS: Integers, tops_GS: Integers, levels: Levels, *, by_size: bool
) -> dict[int, Narrow]:
    """The streams that hold the residuals, by number from -`REACH` up.

    Args:
        residuals_GKS: Any integers above the least of 32 bits.
        tops_GS: Top class of each record, left out.
        levels: Of the columns, from `measure_levels`, or all the same.
        by_size: Whether a record's size counts, too; not worth it for few records.
    """
    streams: dict[int, list[Narrow]] = {}
    dealer = _Dealer(levels, num_samples=residuals_GKS.shape[2], by_size=by_size)
    narrow = np.abs(residuals_GKS).max(initial=0) < 2**15 - 1
    values_GKS: Narrow = residuals_GKS.astype(np.int16 if narrow else np.int32)
    left_out = np.iinfo(values_GKS.dtype).min
    for values_KS, tops_S in zip(values_GKS, tops_GS, strict=True):
        rectangles = dealer.streams()
        dealer.note(values_KS)
        values_KS[tops_S, np.arange(len(tops_S))] = left_out
        dealt_KS = values_KS[dealer.columns].take(dealer.samples, axis=1)
        for number, rectangle in rectangles:
            streams.setdefault(number, []).append(dealt_KS[rectangle].ravel())
    joined = {number: np.concatenate(streams[number]) for number in sorted(streams)}
    kept = {number: values[values != left_out] for number, values in joined.items()}
    return {number: values for number, values in kept.items() if len(values)}


def decode_residuals(
    streams: Mapping[int, Narrow], tops_GS: Integers, levels: Levels, *, by_size: bool
) -> Narrow:
    """The residuals, (G, K, S), that `encode_residuals` dealt out.

    Raises:
        ValueError: The streams are not those of such a chunk.
    """
    narrow = all(values.dtype.itemsize == 2 for values in streams.values())
    shape = len(tops_GS), levels.shape[1], tops_GS.shape[1]
    found_GKS: Narrow = np.empty(shape, dtype=np.int16 if narrow else np.int32)
    dealer = _Dealer(levels, num_samples=shape[2], by_size=by_size)
    taken = dict.fromkeys(streams, 0)
    for found_KS, tops_S in zip(found_GKS, tops_GS, strict=True):
        rectangles = dealer.streams()
        dealt_KS = np.zeros_like(found_KS)
        kept_KS = dealer.columns[:, None] != tops_S[dealer.samples]
        for number, rectangle in rectangles:
            kept = kept_KS[rectangle]
            start = taken.setdefault(number, 0)
            taken[number] = stop = start + int(np.count_nonzero(kept))
            if stop > len(streams.get(number, ())):
                raise ValueError("a stream of residuals is too short")
            if stop > start:
                dealt_KS[rectangle][kept] = streams[number][start:stop]
        places = np.empty_like(dealer.samples)
        places[dealer.samples] = np.arange(len(places))
        found_KS[dealer.columns] = dealt_KS.take(places, axis=1)
        dealer.note(found_KS)
    if any(taken[number] != len(stream) for number, stream in streams.items()):
        raise ValueError("a stream of residuals is too long")
    return found_GKS
