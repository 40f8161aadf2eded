"""`params` packed to the bits that its grid needs, as a Zarr codec from array to bytes.

Column j holds integers from low to high times 2**-exponent, so a record takes as many bits as its
columns' ranges need, and nothing is lost.

Shape letters: G views of a chunk, S samples, P parameters, R records.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from zarr.registry import register_codec

from kdrec.store.manifest import ParameterColumn
from kdrec.store.whole_chunks import WholeChunkCodec, filled_extent, padded

_HEADER = struct.Struct("<HI")  # views and samples that are filled
Parameters = npt.NDArray[np.float32]


@dataclass(frozen=True)
class PackedGridCodec(WholeChunkCodec):
    """Keeps float32 parameters, (views, samples, parameters), bit for bit.

    Attributes:
        columns: (low, high, exponent) of each.
    """

    NAME: ClassVar[str] = "kdrec.packed_grid"

    columns: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, columns: Sequence[ParameterColumn]) -> Self:
        """The codec for these columns."""
        return cls(tuple((column.low, column.high, column.exponent) for column in columns))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """From the array's metadata."""
        columns = data["configuration"]["columns"]
        return cls(tuple((low, high, exponent) for low, high, exponent in columns))

    def to_dict(self) -> dict[str, Any]:
        """For the array's metadata."""
        columns = [list(column) for column in self.columns]
        return {"name": self.NAME, "configuration": {"columns": columns}}

    def encode_chunk(self, values_GSP: Parameters) -> bytes:
        """A chunk.

        Raises:
            ValueError: A value is NaN, or not on the grid of its column.
        """
        views, samples = filled_extent(values_GSP)
        bits = []
        for column, (low, high, exponent) in enumerate(self.columns):
            values_R = values_GSP[:views, :samples, column].ravel()
            numbers_R = np.ldexp(values_R.astype(np.float64), exponent)
            if not ((numbers_R >= low) & (numbers_R <= high) & (numbers_R % 1 == 0)).all():
                raise ValueError(f"parameter column {column} holds values off its grid")
            bits.append(_bits((numbers_R - low).astype(np.int64), _width(low, high)))
        packed = np.packbits(np.concatenate(bits, axis=1)).tobytes()
        return _HEADER.pack(views, samples) + packed

    def decode_chunk(self, data: bytes, shape: tuple[int, ...]) -> Parameters:
        """The values of a chunk, NaN where it is not filled.

        Raises:
            ValueError: The chunk is damaged, or of another shape.
        """
        if len(data) < _HEADER.size:
            raise ValueError("a chunk of parameters is cut")
        views, samples = _HEADER.unpack_from(data)
        widths = [_width(low, high) for low, high, _ in self.columns]
        num_bits = views * samples * sum(widths)
        packed = np.frombuffer(data, dtype=np.uint8, offset=_HEADER.size)
        if views > shape[0] or samples > shape[1] or len(packed) != -(-num_bits // 8):
            raise ValueError(f"a chunk of parameters of shape {shape} holds another number of them")
        bits = np.unpackbits(packed, count=num_bits).reshape(views * samples, sum(widths))
        values_RP = np.empty((views * samples, len(widths)), dtype=np.float32)
        starts = np.cumsum([0, *widths])
        for column, (low, _, exponent) in enumerate(self.columns):
            numbers_R = _numbers(bits[:, starts[column] : starts[column + 1]]) + low
            values_RP[:, column] = np.ldexp(numbers_R.astype(np.float64), -exponent)
        return padded(values_RP.reshape(views, samples, -1), shape)


def _width(low: int, high: int) -> int:
    return int(high - low).bit_length()


def _bits(numbers_R: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.uint8]:
    """Of each number its lowest bits, the highest of them first, (R, width)."""
    places = np.arange(width - 1, -1, -1)
    return ((numbers_R[:, None] >> places) & 1).astype(np.uint8)


def _numbers(bits_RW: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    numbers_R = np.zeros(len(bits_RW), dtype=np.int64)
    for bit in bits_RW.T:
        numbers_R = (numbers_R << 1) | bit
    return numbers_R


register_codec(PackedGridCodec.NAME, PackedGridCodec)
