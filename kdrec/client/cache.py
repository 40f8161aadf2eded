"""A folder of fetched files that the processes of a machine share, under a limit of bytes."""

import os
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from kdrec.client.scratch import Claim, claimed_bytes
from kdrec.errors import InvalidInputError, StorageError
from kdrec.store import BLOCK_ARRAYS, Block, LocalStorage

_SHARD_FOLDERS = tuple(f"{name}/c/" for name in BLOCK_ARRAYS)
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

    def remove_unfinished(self) -> None:
        """Remove what killed processes left half written.

        Nothing is written to the folder but under `contents_stay`: what is half written while that
        is held is nobody's.
        """
        with self.contents_stay():
            self._folder.remove_unfinished()

    def one_fetch(self, key: str) -> AbstractContextManager[object]:
        """Hold this while a file is fetched: another process or thread waits, and finds it then."""
        return self._lock(f"fetch-{zlib.crc32(key.encode()) % _LOCKS:02d}")

    def contents_stay(self) -> AbstractContextManager[object]:
        """Hold this while nothing may be dropped, and to write."""
        return self._lock("evict")

    def write(self, key: str, data: bytes) -> None:
        """Keep a file that was fetched; hold `contents_stay`."""
        durable = self._rules.durable or not key.startswith(_SHARD_FOLDERS)
        self._folder.write(key, data, durable=durable)

    def note_use(self, key: str) -> None:
        """The file was read now."""
        if self._rules.limit is not None and key.startswith(_SHARD_FOLDERS):
            with suppress(OSError):  # dropped meanwhile, or a disk that is only read
                os.utime(self._folder.path(key))

    def make_room(self, key: str, num_bytes: int, *, together: Mapping[str, int]) -> None:
        """Drop the blocks that were used longest ago until a file fits; hold `contents_stay`.

        Args:
            key: Of the file that is to come; its block stays.
            num_bytes: Its size, with what is written right after it.
            together: Sizes of its block with the ledger entry, or of all that is of no block.

        Raises:
            InvalidInputError: It does not fit though nothing else is left to drop.
        """
        is_shard = key.startswith(_SHARD_FOLDERS)
        missing = self._drop_for(num_bytes, keep=_entry_of(key) if is_shard else "")
        if missing is not None:
            missing += sum(size for name, size in together.items() if not self._folder.has(name))
            # Room for one block more, so that the next finds some, even if it is somewhat larger.
            missing += sum(together.values()) if is_shard else 0
            raise self._too_small(key, missing)

    def claim(self, num_bytes: int) -> Claim:
        """Bytes of the limit for a temporary file, until they are given back or the process ends.

        Raises:
            InvalidInputError: They are not there though nothing else is left to drop.
            StorageError: The disk refuses.
        """
        assert self._rules.locks is not None
        with self.contents_stay():
            missing = self._drop_for(num_bytes)
            if missing is None:
                return Claim(self._rules.locks, num_bytes)
        raise self._too_small("a decoded view group", missing + num_bytes)

    def _drop_for(self, num_bytes: int, *, keep: str = "") -> int | None:
        """Make room, ledger entries before shards: the folder claims only what it has.

        Returns:
            None if there is room, else the bytes that nothing frees.
        """
        limit = self._rules.limit
        if limit is None:
            return None
        blocks, total = self._contents()
        if self._rules.locks is not None:
            total += claimed_bytes(self._rules.locks)
        blocks.pop(keep, None)
        for entry, block in sorted(blocks.items(), key=lambda item: item[1].used):
            if total + num_bytes <= limit:
                return None
            for shard in (entry, *block.keys):
                self._folder.delete(shard)
                self._folder.remove_empty_folders(shard)  # or each look at the rest goes by them
            total -= block.num_bytes
        return None if total + num_bytes <= limit else total

    def _too_small(self, what: str, needed: int) -> InvalidInputError:
        return InvalidInputError(
            f"cache_limit is {self._rules.limit} bytes, too small for {what} beside the samples, "
            f"metadata and decoded view groups that stay; give at least {needed}"
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

    def _lock(self, name: str) -> AbstractContextManager[object]:
        if self._rules.locks is None:
            return nullcontext()
        path = self._rules.locks / f"{name}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return FileLock(path).acquire()
        except OSError as error:
            raise StorageError(
                f"{path} cannot be locked ({error.strerror or error}); make room there, or give "
                "another cache"
            ) from error


def _entry_of(shard_key: str) -> str:
    """Key of the ledger entry that lists a shard."""
    _, _, group, part, _ = shard_key.split("/")
    nothing = range(0)
    return Block(group=int(group), part=int(part), views=nothing, samples=nothing).ledger_key
