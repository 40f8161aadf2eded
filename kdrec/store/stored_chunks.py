"""Whether the bytes of a file can be decoded within the memory that its layout allows.

Decoders allocate what a header of a few bytes asks for; both Zarr's shard index and the headers of
blosc and zstd can be read without decoding anything.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from kdrec.errors import IntegrityError
from kdrec.store.array_layout import ArrayLayout

_CHECKSUM = 4
_ENTRY = np.dtype([("offset", "<u8"), ("size", "<u8")])
_ABSENT = np.uint64(2**64 - 1)
_BLOSC_HEADER = 16
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_SIZE_BYTES = {0: 0, 1: 2, 2: 4, 3: 8}
_ZSTD_DICTIONARY_BYTES = (0, 1, 2, 4)
_UNSTATED = 2**64


def check_file(data: bytes, layout: ArrayLayout, *, where: str, remedy: str) -> None:
    """Look at the index of a shard and at the headers of its chunks.

    Args:
        data: The file.
        layout: Of its array.
        where: Which file, for the error.
        remedy: What to do, for the error.

    Raises:
        IntegrityError: The index points outside of the file, or a chunk would unpack to more than
            it may.
    """
    for start, stop in _chunks(data, layout, where=where, remedy=remedy):
        declared = _declared_bytes(data[start : min(stop, start + 32)], layout.codecs)
        if declared is not None and declared > layout.chunk_bytes:
            raise IntegrityError(
                f"{where}: a chunk would unpack to {declared} bytes, allowed are "
                f"{layout.chunk_bytes}; {remedy}"
            )


def _chunks(
    data: bytes, layout: ArrayLayout, *, where: str, remedy: str
) -> Iterator[tuple[int, int]]:
    if not layout.sharded:
        yield 0, len(data)
        return
    end = len(data) - _CHECKSUM
    start = end - layout.chunks_per_file * _ENTRY.itemsize
    if start < 0:
        raise IntegrityError(f"{where} is shorter than its index; {remedy}")
    index: npt.NDArray[np.void] = np.frombuffer(data[start:end], dtype=_ENTRY)
    present = index[index["offset"] != _ABSENT]
    outside = (present["offset"] > start) | (present["size"] > start - present["offset"])
    if outside.any():
        first = present[outside][0]
        raise IntegrityError(
            f"{where}: its index points outside of the file ({int(first['size'])} bytes at "
            f"{int(first['offset'])}, of {start}); {remedy}"
        )
    if present["size"].sum() > start:
        raise IntegrityError(f"{where}: its index lists the same bytes several times; {remedy}")
    for entry in present:
        yield int(entry["offset"]), int(entry["offset"]) + int(entry["size"])


def _declared_bytes(head: bytes, codecs: tuple[str, ...]) -> int | None:
    """What a chunk says it unpacks to; None where its codecs do not let it say so."""
    if codecs[:2] == ("bytes", "blosc"):
        return int.from_bytes(head[4:8], "little") if len(head) >= _BLOSC_HEADER else None
    if codecs[:2] == ("bytes", "zstd"):
        return _zstd_bytes(head)
    return None


def _zstd_bytes(head: bytes) -> int | None:
    """Frame_Content_Size of RFC 8878, 3.1.1.1."""
    if len(head) < 6 or not head.startswith(_ZSTD_MAGIC):
        return None  # the decoder refuses it
    flags = head[4]
    single = bool(flags & 0x20)
    width = _ZSTD_SIZE_BYTES[flags >> 6] or int(single)
    place = 5 + (not single) + _ZSTD_DICTIONARY_BYTES[flags & 3]
    size = int.from_bytes(head[place : place + width], "little")
    if width == 0:
        return _UNSTATED  # kdrec's encoder always says it
    return size + 256 if width == 2 else size
