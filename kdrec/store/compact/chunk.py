"""One chunk of `compact`: logits to bytes and back.

Shape letters: G views of a chunk, S samples, C classes, K = C + 1 columns (depths, then maximum).
"""

import struct
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kdrec.store.compact.prediction import (
    COLUMN_BLOCK,
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
from kdrec.store.compact.sections import pack_sections, unpack_sections

VERSION = 1
_HEADER = struct.Struct("<BBHIId")  # version, flags, views, samples, classes, step
_SINGLE, _BY_SIZE, _PREDICTED = 1, 2, 4
_CENTRES, _COEFFICIENTS, _LEVELS, _STREAMS = 0, 1, 2, 8
_FEW_RECORDS = 1024

Integers = npt.NDArray[np.int32]


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


def encode_integers(steps_GS: Integers, cells_GCS: Integers, step: float) -> bytes:
    """A chunk of integers.

    Args:
        steps_GS: Of the maxima.
        cells_GCS: Of the depths.
        step: Of the grid, for the header.
    """
    # Negated, so that a column grows with its logit; the maximum goes last.
    values_GKS = np.concatenate([-cells_GCS, steps_GS[:, None]], axis=1)
    views, classes, samples = cells_GCS.shape
    layout = Layout(views, samples, classes, step)
    predicted = _pack(values_GKS, replace(layout, predicted=True), fit_prediction(values_GKS))
    if views * samples >= _FEW_RECORDS:
        return predicted
    return min(predicted, _pack(values_GKS, layout, no_prediction(classes + 1)), key=len)


def decode_integers(data: bytes) -> tuple[Layout, Integers, Integers]:
    """The layout of a chunk, and what `encode_integers` was given.

    Raises:
        ValueError: The chunk is damaged.
    """
    layout = Layout.from_bytes(data)
    num_columns = layout.num_classes + 1
    shape = layout.num_views, num_columns, layout.num_samples
    most = int(np.prod(shape)) + 2 * num_columns * (2 + COLUMN_BLOCK)
    sections = unpack_sections(data[_HEADER.size :], most=most)
    levels, prediction = _stated(sections, layout, num_columns)
    found = decode_residuals(
        {number - _STREAMS: values for number, values in sections.items()},
        levels,
        num_views=layout.num_views,
        num_samples=layout.num_samples,
        by_size=layout.by_size,
    )
    values_GKS = restore(found, replace(prediction, single=layout.single))
    return layout, values_GKS[:, -1], -values_GKS[:, :-1]


def _pack(values_GKS: Integers, layout: Layout, prediction: Prediction) -> bytes:
    found, prediction = residuals(values_GKS, prediction)
    levels = np.zeros((2, values_GKS.shape[1]), dtype=np.uint8)
    sections: dict[int, npt.NDArray[np.signedinteger]] = {}
    if layout.predicted:
        levels = measure_levels(found)
        sections[_CENTRES] = prediction.centres_K
        sections[_COEFFICIENTS] = _triangles(prediction.coefficients)
        sections[_LEVELS] = levels.ravel().astype(np.int16)
    layout = replace(layout, single=prediction.single, by_size=layout.predicted)
    streams = encode_residuals(found, levels, by_size=layout.by_size)
    sections |= {_STREAMS + number: values for number, values in streams.items()}
    return layout.to_bytes() + pack_sections(sections)


def _stated(
    sections: dict[int, npt.NDArray[np.signedinteger]], layout: Layout, num_columns: int
) -> tuple[Levels, Prediction]:
    """Levels and prediction, taken out of the sections."""
    prediction = no_prediction(num_columns)
    levels = np.zeros((2, num_columns), dtype=np.uint8)
    if not layout.predicted:
        return levels, prediction
    try:
        centres, numbers = sections.pop(_CENTRES), sections.pop(_COEFFICIENTS)
        levels[:] = sections.pop(_LEVELS).reshape(levels.shape)
        coefficients = _from_triangles(numbers, prediction.coefficients)
    except KeyError as error:
        raise ValueError(f"section {error} is missing") from error
    if len(centres) != num_columns or levels.max() >= LEVELS:
        raise ValueError("the sections are not those of such a chunk")
    return levels, Prediction(centres.astype(np.int32), coefficients)


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
