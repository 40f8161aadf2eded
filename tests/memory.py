"""A storage without a disk: the seam's calls over a dict, for tests that write many recordings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kdrec.errors import NotFoundError
from kdrec.store import Claim, LockHolder


class OwnClaim:
    """Of a block that nobody else wants."""

    took_over = False

    def is_mine(self) -> bool:
        return True

    def release(self) -> None:
        pass


class OwnPlace:
    """What makes a storage a place of one test alone: nobody else takes its lock."""

    stale_after = 0.0

    @contextmanager
    def lock(self, *, while_waiting: Callable[[], None]) -> Iterator[LockHolder]:
        yield LockHolder()

    @contextmanager
    def joined(self, *, while_waiting: Callable[[], None]) -> Iterator[None]:
        yield

    def claim(self, name: str) -> Claim | None:
        return OwnClaim()

    def remove_claims(self) -> None:
        pass

    def remove_unfinished(self) -> list[str]:
        return []


class MemoryStorage(OwnPlace):
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
