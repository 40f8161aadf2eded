"""Numbered sections of integers, each coded by pcodec: the body of a chunk."""

import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from pcodec import ChunkConfig, DeltaSpec, ModeSpec, standalone

_SECTION = struct.Struct("<BBII")  # number, bytes of an integer, how many, length
_EFFORT = 8
_TYPES: Mapping[int, type[np.signedinteger]] = {2: np.int16, 4: np.int32}

Integers = npt.NDArray[np.signedinteger]


def pack_sections(sections: Mapping[int, Integers]) -> bytes:
    """The sections, one after another, each in the narrowest type that pcodec has for it."""
    config = ChunkConfig(
        compression_level=_EFFORT, mode_spec=ModeSpec.classic(), delta_spec=DeltaSpec.no_op()
    )
    pieces: list[bytes] = []
    for number, values in sections.items():
        width = 2 if np.abs(values).max(initial=0) < 2**15 else 4
        data = standalone.simple_compress(values.astype(_TYPES[width]), config)
        pieces += [_SECTION.pack(number, width, len(values), len(data)), data]
    return b"".join(pieces)


def unpack_sections(data: bytes, *, most: int) -> dict[int, Integers]:
    """The sections, by number.

    Args:
        data: From `pack_sections`.
        most: How many integers there may be in all; nothing larger is allocated.

    Raises:
        ValueError: They are damaged, or hold more.
    """
    found: dict[int, Integers] = {}
    place = 0
    while place < len(data):
        if len(data) - place < _SECTION.size:
            raise ValueError("a section is cut")
        number, width, count, length = _SECTION.unpack_from(data, place)
        place += _SECTION.size
        most -= count
        if number in found or width not in _TYPES or most < 0 or length > len(data) - place:
            raise ValueError(f"section {number} is not one of such a chunk")
        found[number] = _unpack(data[place : place + length], count, _TYPES[width])
        place += length
    return found


def _unpack(data: bytes, count: int, dtype: type[np.signedinteger]) -> Integers:
    values = np.empty(count, dtype=dtype)
    try:
        progress = standalone.simple_decompress_into(data, values)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"a section does not decode: {error}") from error
    if progress.n_processed != count or not progress.finished:
        raise ValueError("a section holds another number of integers")
    return values
