"""One chunk of `compact`: logits to bytes and back.

Shape letters: G views of a chunk, S samples, C classes, K = C + 1 columns (depths, then maximum).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kdrec.store.compact.prediction import (
    COLUMN_BLOCK,
    ClassMeans,
    Coefficients,
    Prediction,
    column_blocks,
    fit_prediction,
    no_prediction,
    residuals,
    restore,
)
from kdrec.store.compact.residuals import (
    LEVELS,
    Levels,
    decode_residuals,
    encode_residuals,
    measure_levels,
)
from kdrec.store.compact.sections import Integers, pack_sections, unpack_sections

VERSION = 1
_HEADER = struct.Struct("<BBHIId")  # version, flags, views, samples, classes, step
_SINGLE, _BY_SIZE, _PREDICTED = 1, 2, 4
_FIRST_TOPS, _LATER_TOPS = 0, 1
_CENTRES, _CLASSES, _OFFSETS, _COEFFICIENTS, _LEVELS, _STREAMS = 2, 3, 4, 5, 6, 16
_FEW_RECORDS = 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """What a chunk's header says.

    Attributes:
        num_views: That are in it.
        num_samples: That are in it.
        num_classes: C.
        step: Of its grid.
        single: See `Prediction`.
        by_size: See `encode_residuals`.
        predicted: Whether coefficients are stated.
    """

    num_views: int
    num_samples: int
    num_classes: int
    step: float
    single: bool = False
    by_size: bool = False
    predicted: bool = False

    def to_bytes(self) -> bytes:
        """The header."""
        flags = _SINGLE * self.single | _BY_SIZE * self.by_size | _PREDICTED * self.predicted
        extent = self.num_views, self.num_samples, self.num_classes
        return _HEADER.pack(VERSION, flags, *extent, self.step)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Layout":
        """The layout in the first bytes of a chunk.

        Raises:
            ValueError: It is of another version, or cut.
        """
        if len(data) < _HEADER.size:
            raise ValueError("a compact chunk is cut")
        version, flags, views, samples, classes, step = _HEADER.unpack_from(data)
        if version != VERSION:
            raise ValueError(f"a compact chunk has version {version}, this kdrec reads {VERSION}")
        return cls(
            views,
            samples,
            classes,
            step,
            single=bool(flags & _SINGLE),
            by_size=bool(flags & _BY_SIZE),
            predicted=bool(flags & _PREDICTED),
        )


def encode_integers(
    values_GKS: npt.NDArray[np.int32], tops_GS: npt.NDArray[np.int32], step: float
) -> bytes:
    """A chunk of integers.

    Args:
        values_GKS: Cells of the depths, 0 in the top class, then steps of the maxima.
        tops_GS: Top classes.
        step: Of the grid, for the header.
    """
    views, columns, samples = values_GKS.shape
    layout = Layout(views, samples, columns - 1, step)
    fitted = fit_prediction(values_GKS, tops_GS)
    predicted = _pack(values_GKS, tops_GS, replace(layout, predicted=True), fitted)
    if views * samples >= _FEW_RECORDS:
        return predicted
    return min(predicted, _pack(values_GKS, tops_GS, layout, no_prediction(columns)), key=len)


def decode_integers(data: bytes) -> Iterator[tuple[int, slice, npt.NDArray[np.floating]]]:
    """View, samples and values, (S, K), of piece after piece; what `encode_integers` was given.

    Raises:
        ValueError: The chunk is damaged.
    """
    layout = Layout.from_bytes(data)
    views, num_columns, samples = layout.num_views, layout.num_classes + 1, layout.num_samples
    stated = num_columns * (3 + 2 * COLUMN_BLOCK + samples)
    most = views * samples * (num_columns + 1) + stated
    sections = unpack_sections(data[_HEADER.size :], most=most)
    tops_GS = _tops(sections, layout)
    levels, prediction = _stated(sections, layout, num_columns)
    streams = {number - _STREAMS: values for number, values in sections.items()}
    found = decode_residuals(streams, tops_GS, levels, by_size=layout.by_size)
    yield from restore(found, tops_GS, replace(prediction, single=layout.single))


def _pack(
    values_GKS: npt.NDArray[np.int32],
    tops_GS: npt.NDArray[np.int32],
    layout: Layout,
    prediction: Prediction,
) -> bytes:
    found, prediction = residuals(values_GKS, tops_GS, prediction)
    levels = np.zeros((2, values_GKS.shape[1]), dtype=np.uint8)
    changes = np.diff(tops_GS, axis=0).ravel() % layout.num_classes
    sections: dict[int, Integers] = {_FIRST_TOPS: tops_GS[0], _LATER_TOPS: changes}
    if layout.predicted:
        levels = measure_levels(found, tops_GS)
        sections[_CENTRES] = prediction.centres_K
        sections[_CLASSES] = prediction.means.classes_R
        sections[_OFFSETS] = prediction.means.offsets_RK.ravel()
        sections[_COEFFICIENTS] = _triangles(prediction.coefficients)
        sections[_LEVELS] = levels.ravel().astype(np.int16)
    layout = replace(layout, single=prediction.single, by_size=layout.predicted)
    streams = encode_residuals(found, tops_GS, levels, by_size=layout.by_size)
    sections |= {_STREAMS + number: values for number, values in streams.items()}
    return layout.to_bytes() + pack_sections(sections)


def _tops(sections: dict[int, Integers], layout: Layout) -> npt.NDArray[np.int32]:
    """The top classes, taken out of the sections."""
    first_S, changes = _take(sections, _FIRST_TOPS), _take(sections, _LATER_TOPS)
    views, samples, classes = layout.num_views, layout.num_samples, layout.num_classes
    if len(first_S) != samples or len(changes) != (views - 1) * samples:
        raise ValueError("the top classes are not those of such a chunk")
    changes_GS = np.concatenate([first_S, changes]).reshape(views, samples).astype(np.int64)
    found: npt.NDArray[np.int32] = (np.cumsum(changes_GS, axis=0) % classes).astype(np.int32)
    return found


def _stated(
    sections: dict[int, Integers], layout: Layout, num_columns: int
) -> tuple[Levels, Prediction]:
    """Levels and prediction, taken out of the sections."""
    prediction = no_prediction(num_columns)
    levels = np.zeros((2, num_columns), dtype=np.uint8)
    if not layout.predicted:
        return levels, prediction
    centres_K, classes_R = _take(sections, _CENTRES), _take(sections, _CLASSES)
    offsets_RK = _take(sections, _OFFSETS).reshape(len(classes_R), num_columns)
    levels[:] = _take(sections, _LEVELS).reshape(levels.shape)
    coefficients = _from_triangles(_take(sections, _COEFFICIENTS), prediction.coefficients)
    outside = (classes_R < 0) | (classes_R >= layout.num_classes)
    if len(centres_K) != num_columns or levels.max() >= LEVELS or outside.any():
        raise ValueError("the sections are not those of such a chunk")
    means = ClassMeans(classes_R.astype(np.int32), offsets_RK.astype(np.int32))
    return levels, Prediction(centres_K.astype(np.int32), means, coefficients)


def _take(sections: dict[int, Integers], number: int) -> Integers:
    """A section taken out of them; one that is not there is empty."""
    return sections.pop(number, np.zeros(0, dtype=np.int16))


def _below_diagonal(coefficients: Coefficients) -> npt.NDArray[np.bool_]:
    """Which coefficients there are: of the columns before, within a column block."""
    places = np.zeros(coefficients.shape[1:], dtype=bool)
    for block in column_blocks(len(places)):
        width = block.stop - block.start
        places[block, :width] = np.tri(width, k=-1, dtype=bool)
    return np.broadcast_to(places, coefficients.shape)


def _triangles(coefficients: Coefficients) -> npt.NDArray[np.signedinteger]:
    return coefficients[_below_diagonal(coefficients)]


def _from_triangles(numbers: npt.NDArray[np.signedinteger], empty: Coefficients) -> Coefficients:
    filled = empty.copy()
    filled[_below_diagonal(empty)] = numbers
    return filled
