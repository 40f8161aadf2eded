"""Files in memory, behind the same seam as a folder: for trials, and for blocks made to compare."""

from collections.abc import Iterator, Mapping

from kdrec.errors import NotFoundError


class MemoryStorage:
    """A `Storage` that leaves nothing behind.

    Args:
        files: What is there from the beginning; not changed.
    """

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self._files = dict(files or {})

    def read(self, key: str) -> bytes:
        if key not in self._files:
            raise NotFoundError(f"no file {key}")
        return self._files[key]

    def write(self, key: str, data: bytes) -> None:
        self._files[key] = data

    def size(self, key: str) -> int:
        return len(self.read(key))

    def delete(self, key: str) -> None:
        self._files.pop(key, None)

    def keys(self, prefix: str = "") -> Iterator[str]:
        yield from sorted(key for key in self._files if key.startswith(prefix))
