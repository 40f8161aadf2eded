"""Room for samples: in memory, or beyond a limit in a temporary file that has no name.

What lies in the file is read as an array is; the system keeps of it what fits and drops the rest.
"""

import math
import os
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

from kdrec.errors import InvalidInputError, StorageError

MEMORY_VARIABLE = "KDREC_SAMPLE_MEMORY"
MOST_IN_MEMORY = 2 * 2**30
_ROWS_AT_ONCE = 1024


def make_room(
    shape: tuple[int, ...], dtype: npt.DTypeLike, *, most: int | None = None
) -> npt.NDArray[Any]:
    """An array to be filled.

    Args:
        shape: Samples first.
        dtype: Of the values.
        most: Bytes of memory; by default those of KDREC_SAMPLE_MEMORY, else 2 GiB.

    Raises:
        InvalidInputError: The variable is no number of bytes.
        StorageError: There is no room on the disk of temporary files (TMPDIR).
    """
    num_bytes = np.dtype(dtype).itemsize * math.prod(shape)
    most = _memory(os.environ.get(MEMORY_VARIABLE)) if most is None else most
    if num_bytes <= most:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="kdrec-samples-") as file:  # outlived by the mapping
            os.posix_fallocate(file.fileno(), 0, num_bytes)  # a full disk later would be SIGBUS
            return np.asarray(np.memmap(file, dtype=dtype, mode="r+", shape=shape))
    except OSError as error:
        raise StorageError(
            f"samples of shape {shape} need {num_bytes} bytes in {tempfile.gettempdir()}: "
            f"{error.strerror}; make room, name another folder by TMPDIR, or raise "
            f"{MEMORY_VARIABLE}"
        ) from error


def copy_rows(values: npt.NDArray[Any], index: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Some of the samples, in the order of the index, a piece at a time."""
    copied = make_room((len(index), *values.shape[1:]), values.dtype)
    for start in range(0, len(index), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        copied[rows] = values[index[rows]]
    return copied


def _memory(text: str | None) -> int:
    if text is None:
        return MOST_IN_MEMORY
    if not text.isdecimal():
        raise InvalidInputError(f"{MEMORY_VARIABLE} must be a number of bytes, got {text!r}")
    return int(text)
