"""Zarr codecs that turn a chunk of float32 values into bytes as a whole.

Zarr pads chunks at the edge of an array with the fill value, NaN. How far a chunk is filled is
therefore kept in it, and NaN anywhere else is refused.
"""

import asyncio
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.buffer import Buffer, NDBuffer

Values = npt.NDArray[np.float32]


class WholeChunkCodec(ArrayBytesCodec):
    """See the module; a subclass registers itself under its name."""

    NAME: ClassVar[str]
    is_fixed_size = False

    @abstractmethod
    def encode_chunk(self, values: Values) -> bytes:
        """A chunk, NaN where it is not filled.

        Raises:
            ValueError: A value cannot be kept.
        """

    @abstractmethod
    def decode_chunk(self, data: bytes, shape: tuple[int, ...]) -> Values:
        """The values of a chunk of this shape, NaN where it is not filled.

        Raises:
            ValueError: The bytes are damaged, or of another shape.
        """

    async def _encode_single(self, chunk_array: NDBuffer, chunk_spec: Any) -> Buffer | None:
        values = chunk_array.as_numpy_array().astype(np.float32, copy=False)
        data = await asyncio.to_thread(self.encode_chunk, values)
        return chunk_spec.prototype.buffer.from_bytes(data)  # type: ignore[no-any-return]

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: Any) -> NDBuffer:
        data = chunk_bytes.to_bytes()
        values = await asyncio.to_thread(self.decode_chunk, data, chunk_spec.shape)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(values)  # type: ignore[no-any-return]

    def compute_encoded_size(self, input_byte_length: int, _chunk_spec: Any) -> int:
        """Zarr asks; there is no answer."""
        raise NotImplementedError(f"the size of a {self.NAME} chunk depends on its values")


def filled_extent(values: Values) -> tuple[int, int]:
    """How many views and samples of a chunk, (views, samples, ...), are filled.

    Raises:
        ValueError: A value among them is NaN or infinite, or none is there.
    """
    there = np.asarray(~np.isnan(values).all(axis=tuple(range(2, values.ndim))))
    views = int(np.flatnonzero(there.any(axis=1)).max(initial=-1)) + 1
    samples = int(np.flatnonzero(there.any(axis=0)).max(initial=-1)) + 1
    filled = values[:views, :samples]
    if filled.size == 0 or not np.isfinite(filled).all():
        raise ValueError("a chunk holds NaN or infinite values, or none at all")
    return views, samples


def padded(filled: npt.NDArray[Any], shape: tuple[int, ...]) -> Values:
    """A whole chunk, NaN where it is not filled."""
    if filled.shape == tuple(shape):
        return np.ascontiguousarray(filled, dtype=np.float32)
    whole = np.full(shape, np.nan, dtype=np.float32)
    whole[: filled.shape[0], : filled.shape[1]] = filled
    return whole
