"""A folder of fetched files that the processes of a machine share, under a limit of bytes."""

import os
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from kdrec.errors import InvalidInputError
from kdrec.store import Block, LocalStorage

_SHARD_FOLDERS = ("logits/c/", "params/c/")
_LOCKS = 64


@dataclass(frozen=True, slots=True)
class CacheRules:
    """How a folder is shared.

    Attributes:
        limit: Bytes that the recording's files may take; None for no limit.
        locks: Folder for locks, beside the recording; None where only one process fetches.
        durable: Whether shards must outlast a power cut. In a cache they need not: every read
            checks them, and fetches again what is torn.
    """

    limit: int | None = None
    locks: Path | None = None
    durable: bool = True


@dataclass(frozen=True, slots=True)
class _Block:
    """The shards of one block that are here."""

    used: float
    num_bytes: int
    keys: tuple[str, ...]


class ShardCache:
    """Keeps the shards that were used last.

    Args:
        folder: The partial recording.
        rules: See there.
    """

    def __init__(self, folder: LocalStorage, rules: CacheRules) -> None:
        self._folder = folder
        self._rules = rules

    def one_fetch(self, key: str) -> AbstractContextManager[object]:
        """Hold this while a file is fetched: another process or thread waits, and finds it then."""
        return self._lock(f"fetch-{zlib.crc32(key.encode()) % _LOCKS:02d}")

    def contents_stay(self) -> AbstractContextManager[object]:
        """Hold this while nothing may be dropped."""
        return self._lock("evict")

    def write(self, key: str, data: bytes) -> None:
        """Keep a file that was fetched."""
        durable = self._rules.durable or not key.startswith(_SHARD_FOLDERS)
        self._folder.write(key, data, durable=durable)

    def note_use(self, key: str) -> None:
        """The file was read now."""
        if self._rules.limit is not None and key.startswith(_SHARD_FOLDERS):
            with suppress(OSError):  # dropped meanwhile, or a disk that is only read
                os.utime(self._folder.path(key))

    def make_room(self, key: str, num_bytes: int) -> None:
        """Drop the blocks that were used longest ago until a file fits.

        A block's ledger entry goes before its shards: the folder claims nothing that it lacks.

        Args:
            key: Of the file that is to come; its block stays.
            num_bytes: Its size.

        Raises:
            InvalidInputError: It does not fit though nothing else is left to drop.
        """
        limit = self._rules.limit
        if limit is None:
            return
        with self.contents_stay():
            blocks, total = self._contents()
            coming = _entry_of(key) if key.startswith(_SHARD_FOLDERS) else ""
            kept = blocks.pop(coming, None)
            for entry, block in sorted(blocks.items(), key=lambda item: item[1].used):
                if total + num_bytes <= limit:
                    return
                for shard in (entry, *block.keys):
                    self._folder.delete(shard)
                total -= block.num_bytes
            if total + num_bytes > limit:
                raise InvalidInputError(
                    f"cache_limit is {limit} bytes, but {key} needs {total + num_bytes} with what "
                    f"must stay ({total} bytes of samples, metadata"
                    f"{' and the same block' if kept else ''}); give at least "
                    f"{total + 2 * num_bytes}"
                )

    def _contents(self) -> tuple[dict[str, _Block], int]:
        """The blocks by ledger key, and the size of everything."""
        found: dict[str, _Block] = {}
        total = 0
        for key in self._folder.keys(""):
            try:
                status = self._folder.path(key).stat()
            except FileNotFoundError:
                continue  # another process dropped it
            total += status.st_size
            if key.startswith(_SHARD_FOLDERS):
                entry = _entry_of(key)
                before = found.get(entry, _Block(0.0, 0, ()))
                found[entry] = _Block(
                    max(before.used, status.st_mtime),
                    before.num_bytes + status.st_size,
                    (*before.keys, key),
                )
        return found, total

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        if self._rules.locks is None:
            yield
            return
        self._rules.locks.mkdir(parents=True, exist_ok=True)
        with FileLock(self._rules.locks / f"{name}.lock"):
            yield


def _entry_of(shard_key: str) -> str:
    """Key of the ledger entry that lists a shard."""
    _, _, group, part, _ = shard_key.split("/")
    nothing = range(0)
    return Block(group=int(group), part=int(part), views=nothing, samples=nothing).ledger_key
