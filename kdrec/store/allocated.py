"""Temporary memory-mapped arrays whose room on the disk is taken at once.

On a disk that is full only later, the system kills whoever writes to such an array (SIGBUS).
"""

import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdrec.errors import StorageError


def allocated_array(
    shape: tuple[int, ...], dtype: str, *, folder: Path | None = None
) -> npt.NDArray[Any]:
    """Zeros in a file without a name: whatever ends the process ends it.

    Args:
        shape: Of the array.
        dtype: Of the values.
        folder: On whose disk; by default the system's temporary one.

    Raises:
        StorageError: The disk has not the room.
    """
    num_bytes = np.dtype(dtype).itemsize * math.prod(shape)
    if num_bytes == 0:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="kdrec-", dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, num_bytes)
            file.truncate(num_bytes)
            return np.memmap(file, dtype=dtype, mode="r+", shape=shape)
    except (OSError, OverflowError, ValueError) as error:
        raise StorageError(
            f"decoded records of shape {shape} need {num_bytes} bytes in "
            f"{folder or 'the folder of temporary files'}, which cannot be had ({error}); make "
            "room there, or give another folder"
        ) from error
