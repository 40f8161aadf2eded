"""Faults to put into a seam: a storage that fails, tears or stops, and damage to files.

They wrap what a program really uses, so that a test needs no mock.
"""

from collections.abc import Iterator
from pathlib import Path

from kdrec.errors import StorageError
from kdrec.store import Storage


class ProcessKilled(BaseException):
    """Stands for `kill -9` inside a test: no `except Exception` sees it."""


class FaultyStorage:
    """A storage whose n-th write goes wrong.

    Args:
        storage: What is wrapped.
        fail_at: Number of the write, from 0, that raises StorageError and writes nothing.
        kill_at: Number of the write before which the process is as if killed.
        tear_at: Number of the write that leaves only the first half of the bytes.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        fail_at: int | None = None,
        kill_at: int | None = None,
        tear_at: int | None = None,
    ) -> None:
        self._storage = storage
        self._fail_at, self._kill_at, self._tear_at = fail_at, kill_at, tear_at
        self.writes = 0

    def read(self, key: str) -> bytes:
        return self._storage.read(key)

    def write(self, key: str, data: bytes) -> None:
        number, self.writes = self.writes, self.writes + 1
        if number == self._kill_at:
            raise ProcessKilled
        if number == self._fail_at:
            raise StorageError(f"{key}: no space left on device")
        self._storage.write(key, data[: len(data) // 2] if number == self._tear_at else data)

    def size(self, key: str) -> int:
        return self._storage.size(key)

    def delete(self, key: str) -> None:
        self._storage.delete(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        yield from self._storage.keys(prefix)


def flip_bit(path: Path, position: int) -> None:
    """Change one bit of a file.

    Args:
        path: Of the file.
        position: Of the bit, counted over the file and wrapped at its end.
    """
    data = bytearray(path.read_bytes())
    place, bit = divmod(position % (8 * len(data)), 8)
    data[place] ^= 1 << bit
    path.write_bytes(data)


def truncate(path: Path) -> None:
    """Cut the last byte of a file."""
    path.write_bytes(path.read_bytes()[:-1])
