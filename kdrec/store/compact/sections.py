"""Numbered sections of integers, each coded by pcodec unless it is tiny: the body of a chunk."""

import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from pcodec import ChunkConfig, DeltaSpec, ModeSpec, standalone

_SECTION = struct.Struct("<BBI")  # number, bytes of an integer, how many
_LENGTH = struct.Struct("<I")  # of what pcodec made of them
_EFFORT = 8
_PLAIN = 1  # bytes as they are
_TYPES: Mapping[int, type[np.signedinteger]] = {_PLAIN: np.int8, 2: np.int16, 4: np.int32}

Integers = npt.NDArray[np.signedinteger]


def pack_sections(sections: Mapping[int, Integers]) -> bytes:
    """The sections that are not empty, one after another, each in its narrowest type."""
    config = ChunkConfig(
        compression_level=_EFFORT, mode_spec=ModeSpec.classic(), delta_spec=DeltaSpec.no_op()
    )
    pieces: list[bytes] = []
    for number, values in sections.items():
        if len(values):
            most = np.abs(values).max()
            width = 2 if most < 2**15 else 4
            coded = standalone.simple_compress(values.astype(_TYPES[width]), config)
            data = _LENGTH.pack(len(coded)) + coded
            if most < 2**7 and len(values) < len(data):
                width, data = _PLAIN, values.astype(_TYPES[_PLAIN]).tobytes()
            pieces += [_SECTION.pack(number, width, len(values)), data]
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
        number, width, count = _header(_SECTION, data, place)
        place += _SECTION.size
        length = count
        if width != _PLAIN:
            (length,) = _header(_LENGTH, data, place)
            place += _LENGTH.size
        most -= count
        if number in found or width not in _TYPES or most < 0 or length > len(data) - place:
            raise ValueError(f"section {number} is not one of such a chunk")
        found[number] = _unpack(data[place : place + length], count, width)
        place += length
    return found


def _header(form: struct.Struct, data: bytes, place: int) -> tuple[int, ...]:
    if len(data) - place < form.size:
        raise ValueError("a section is cut")
    return form.unpack_from(data, place)


def _unpack(data: bytes, count: int, width: int) -> Integers:
    if width == _PLAIN:
        return np.frombuffer(data, dtype=_TYPES[_PLAIN]).astype(np.int16)
    values = np.empty(count, dtype=_TYPES[width])
    try:
        progress = standalone.simple_decompress_into(data, values)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"a section does not decode: {error}") from error
    if progress.n_processed != count or not progress.finished:
        raise ValueError("a section holds another number of integers")
    return values
