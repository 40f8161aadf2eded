"""Zarr in memory: metadata of the arrays, shards to bytes and back.

Bytes reach a disk only through `Storage` and leave it only after their digest was checked, so Zarr
itself never touches a file here: it would read a missing chunk as the fill value, silently.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.errors import BaseZarrError
from zarr.storage import MemoryStore, StorePath

from kdrec.errors import IntegrityError, InvalidInputError
from kdrec.store.encodings import FittedEncoding, StoredArray, find_encoding, plain_compressors
from kdrec.store.manifest import ParameterColumn
from kdrec.store.packing import PackedGridCodec
from kdrec.store.plan import Plan

AnyArray = npt.NDArray[Any]
_UNDECODABLE = (BaseZarrError, ValueError, RuntimeError, TypeError, KeyError, ArithmeticError)
"""What comes of bytes or metadata that are not kdrec's: numbers out of any range among them."""
_VIEW_CHUNK_BYTES = 2**20
_GROUP_CHUNK_BYTES = 8 * 2**20
_POINT_CHUNK_BYTES = 4 * 2**20
_WRITING = {"write_empty_chunks": True}


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """What an array of the recording looks like.

    Attributes:
        chunks: Of one checksum, read whole.
        compressors: Zarr codecs from bytes to bytes.
        dimensions: Names of the axes.
        shards: Of one file, None for one chunk a file.
        serializer: Zarr codec from array to bytes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    compressors: tuple[Any, ...]
    dimensions: tuple[str, ...]
    shards: tuple[int, ...] | None = None
    serializer: Any = "auto"

    @property
    def fill_value(self) -> float:
        """NaN where the type has it."""
        return float("nan") if self.dtype.startswith("float") else 0


def record_arrays(
    plan: Plan, fitted: FittedEncoding, *, columns: Sequence[ParameterColumn]
) -> tuple[ArraySpec, ...]:
    """The arrays that hold the records: one shard a block.

    Args:
        plan: Of the recording.
        fitted: Its encoding, made ready for these logits.
        columns: Of the parameters; none for no such array.
    """
    stored = [_params_array(plan, columns), *fitted.arrays] if columns else fitted.arrays
    return tuple(
        ArraySpec(
            name=array.name,
            dtype=array.dtype,
            serializer=array.serializer,
            compressors=array.compressors,
            dimensions=("view", "sample", array.dimension),
            **_block_shapes(plan, array.width, whole_groups=array.whole_groups),
        )
        for array in stored
    )


def _params_array(plan: Plan, columns: Sequence[ParameterColumn]) -> StoredArray:
    """Packed to the bits of their grid, unless any reader of Zarr shall read the recording."""
    params = StoredArray("params", len(columns), "parameter", whole_groups=True)
    if find_encoding(plan.encoding.name).is_plain:
        return replace(params, compressors=plain_compressors())
    return replace(params, serializer=PackedGridCodec.of(columns))


def _block_shapes(plan: Plan, width: int, *, whole_groups: bool) -> dict[str, Any]:
    """Shapes of an array of records, its shards and its chunks.

    A chunk holds one view, or all of its group, and the largest whole number of batches that
    divides a block and stays below the chunk size.
    """
    batches = plan.block_samples // plan.batch_size
    views = plan.group if whole_groups else 1
    chunk_bytes = _GROUP_CHUNK_BYTES if whole_groups else _VIEW_CHUNK_BYTES
    most = max(1, chunk_bytes // (4 * views * max(1, width) * plan.batch_size))
    divisor = max(n for n in range(1, batches + 1) if batches % n == 0 and n <= most)
    return {
        "shape": (plan.views, plan.data.num_samples, width),
        "chunks": (views, plan.batch_size * divisor, width),
        "shards": (plan.group, plan.block_samples, width),
    }


def static_array(name: str, values: AnyArray, *dimensions: str) -> ArraySpec:
    """An array that is written once, when the recording is begun, cut along its first axis."""
    row_bytes = max(1, values[:1].nbytes)
    rows = max(1, min(len(values), _POINT_CHUNK_BYTES // row_bytes))
    return ArraySpec(
        name=name,
        shape=values.shape,
        dtype=values.dtype.name,
        chunks=(rows, *values.shape[1:]),
        compressors=plain_compressors(),
        dimensions=dimensions,
    )


def create_hierarchy(attributes: Mapping[str, Any], specs: Iterable[ArraySpec]) -> dict[str, bytes]:
    """The metadata of a new recording, by key.

    Args:
        attributes: Of the root group.
        specs: All arrays.
    """
    files: dict[str, Buffer] = {}
    store = MemoryStore(files)
    root = zarr.create_group(store, attributes=dict(attributes))
    for spec in specs:
        root.create_array(
            spec.name,
            shape=spec.shape,
            dtype=spec.dtype,
            chunks=spec.chunks,
            shards=spec.shards,
            serializer=spec.serializer,
            compressors=spec.compressors,
            fill_value=spec.fill_value,
            dimension_names=spec.dimensions,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that consolidated metadata is not in the specification
        zarr.consolidate_metadata(store)
    return {key: buffer.to_bytes() for key, buffer in sorted(files.items())}


def encode_chunks(
    spec: ArraySpec, metadata: bytes, values: AnyArray
) -> Iterator[tuple[str, bytes]]:
    """The files of a static array one after the other, by key, as there may be many.

    Args:
        spec: Of `static_array`.
        metadata: The `zarr.json` of the array.
        values: All of it.
    """
    rows, rest = spec.chunks[0], "/0" * (len(spec.shape) - 1)
    for number, start in enumerate(range(0, spec.shape[0], rows)):
        region = range(start, min(start + rows, spec.shape[0]))
        piece = np.asarray(values[region.start : region.stop])
        yield f"{spec.name}/c/{number}{rest}", encode_shard(metadata, (region,), piece)


def encode_shard(metadata: bytes, region: tuple[range, ...], values: AnyArray) -> bytes:
    """The file of one shard, or of one chunk where there are no shards.

    Args:
        metadata: The `zarr.json` of the array.
        region: Ranges of the first axes, exactly one shard.
        values: Of the shard.

    Raises:
        InvalidInputError: The encoding cannot keep them.
    """
    files: dict[str, Buffer] = {}
    array = _array(metadata, files).with_config(_WRITING)
    try:
        array[_slices(region)] = values
    except ValueError as error:
        raise InvalidInputError(str(error)) from error
    (data,) = files.values()
    return data.to_bytes()


def decode_files(
    metadata: bytes,
    files: Mapping[str, bytes],
    region: tuple[range, ...] = (),
    *,
    where: str,
    remedy: str,
) -> AnyArray:
    """Values of a region from the files that hold it.

    Args:
        metadata: The `zarr.json` of the array.
        files: By key below the array, such as `c/0/0/0`; all that the region needs.
        region: Ranges of the first axes; none for the whole array.
        where: What is decoded, for the error.
        remedy: What to do about damage, for the error.

    Raises:
        IntegrityError: A checksum does not match, a chunk is absent, or the metadata are others.
    """
    try:
        array = _array(metadata, {key: _buffer(data) for key, data in files.items()})
        if not region and array.nchunks != len(files):
            raise ValueError(f"{len(files)} of its {array.nchunks} chunks are listed")
        return np.asarray(array[_slices(region)])
    except _UNDECODABLE as error:
        raise IntegrityError(f"{where} is damaged: {error}; {remedy}") from error


def _array(metadata: bytes, files: dict[str, Buffer]) -> Any:
    place = StorePath(MemoryStore(files))
    return zarr.Array(zarr.AsyncArray(_parsed(metadata), place))


@lru_cache(maxsize=64)
def _parsed(metadata: bytes) -> Any:
    """Reading it takes as long as decoding a small shard, and all shards have the same."""
    return zarr.open_array(MemoryStore({"zarr.json": _buffer(metadata)}), mode="r").metadata


def _slices(region: tuple[range, ...]) -> Any:
    return tuple(slice(r.start, r.stop) for r in region) if region else ...


def _buffer(data: bytes) -> Buffer:
    return default_buffer_prototype().buffer.from_bytes(data)


def fixed_width_text(names: Iterable[str]) -> npt.NDArray[np.uint8]:
    """Names as rows of UTF-8 bytes padded with zeros: Zarr 3 has no settled type for text."""
    encoded = [name.encode() for name in names]
    width = max(1, max(map(len, encoded), default=1))
    rows = b"".join(name.ljust(width, b"\0") for name in encoded)
    return np.frombuffer(rows, dtype=np.uint8).reshape(len(encoded), width)


def text_of_fixed_width(rows: npt.NDArray[np.uint8]) -> tuple[str, ...]:
    """The names of `fixed_width_text`."""
    return tuple(row.tobytes().rstrip(b"\0").decode() for row in rows)
