"""Decoded view groups too large for memory: in temporary files that the cache's limit counts."""

import itertools
import os
import weakref
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from kdrec.errors import StorageError
from kdrec.store import allocated_array

_PREFIX, _SUFFIX = "claim-", ".lock"
_numbers = itertools.count()


class Claim:
    """Bytes that a process takes, as a locked file whose name says how many.

    Whoever dies gives its lock back: a claim that can be locked is nobody's any more.

    Args:
        folder: Of the locks of a recording.
        num_bytes: How many.

    Raises:
        StorageError: The disk refuses.
    """

    def __init__(self, folder: Path, num_bytes: int) -> None:
        self._process = os.getpid()
        name = f"{_PREFIX}{num_bytes}-{self._process}-{next(_numbers)}{_SUFFIX}"
        self._path = folder / name
        self._lock = FileLock(self._path, thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except OSError as error:
            raise StorageError(
                f"{self._path} cannot be made ({error}); make room there, or give another cache"
            ) from error

    def give_back(self) -> None:
        """Nobody takes them any more; a child that was forked has no say in it."""
        if os.getpid() == self._process:
            self._path.unlink(missing_ok=True)
            self._lock.release()


def claimed_bytes(folder: Path) -> int:
    """What living processes claim; the claims of dead ones are removed."""
    total = 0
    for path in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        lock = FileLock(path, thread_local=False)
        try:
            with lock.acquire(timeout=0):
                path.unlink(missing_ok=True)
        except Timeout:
            total += int(path.name.removeprefix(_PREFIX).partition("-")[0])
    return total


class ClaimSource(Protocol):
    """Gives bytes of a limit; `ShardCache` does."""

    def claim(self, num_bytes: int) -> Claim:
        """See `ShardCache.claim`."""


class CacheScratch:
    """Memory-mapped arrays on the cache's disk, under its limit.

    The files have no name: whatever ends the process ends them. What they take is given back with
    the last reference to an array.

    Args:
        cache: Whose limit.
        folder: On its disk.
    """

    def __init__(self, cache: ClaimSource, folder: Path) -> None:
        self._cache = cache
        self._folder = folder

    def array(self, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        """Room for values.

        Raises:
            InvalidInputError: The limit is too small.
            StorageError: The disk is.
        """
        num_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if num_bytes == 0:
            return np.empty(shape, dtype)
        claim = self._cache.claim(num_bytes)
        try:
            mapped = allocated_array(shape, dtype, folder=self._folder)
        except StorageError:
            claim.give_back()
            raise
        weakref.finalize(mapped, claim.give_back)
        return mapped
