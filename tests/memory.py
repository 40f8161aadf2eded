"""A storage without a disk: the seam's calls over a dict, for tests that write many recordings."""

from collections.abc import Iterator

from kdrec.errors import NotFoundError


class MemoryStorage:
    """Files by key, in memory."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = dict(files or {})

    def read(self, key: str) -> bytes:
        if key not in self.files:
            raise NotFoundError(f"no file {key}")
        return self.files[key]

    def write(self, key: str, data: bytes) -> None:
        self.files[key] = bytes(data)

    def size(self, key: str) -> int:
        return len(self.read(key))

    def delete(self, key: str) -> None:
        self.files.pop(key, None)

    def keys(self, prefix: str = "") -> Iterator[str]:
        yield from sorted(key for key in self.files if key.startswith(prefix))
