"""The recordings of an object store: as in a folder, without links and hidden files.

A store is asked by requests that cost time and money, so what is known of a file counts for a
second: that long the service may take a new file for missing. One that was replaced is an error of
the store, because the bytes are asked for under their tag.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from anyio import to_thread

from kdrec.api.names import folder_names, recording_name
from kdrec.api.places import PlacedFile
from kdrec.api.signature import Signature
from kdrec.errors import IntegrityError, NotFoundError, StorageError
from kdrec.store import HEADER_KEY, ROOT_KEY, ObjectStorage

_SECONDS = 1.0
_MOST_KNOWN = 10_000
_PIECE_BYTES = 8 * 2**20  # each is a request, whose delay a smaller one would not be worth
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """A file of an object store; see `SentFile`.

    Attributes:
        tag: That the object must keep.
        where: Name of the file, for errors.
    """

    storage: ObjectStorage
    key: str
    tag: str
    where: str

    @property
    def piece_bytes(self) -> int:
        return _PIECE_BYTES

    async def read(self, part: range) -> bytes:
        return await to_thread.run_sync(self._read, part)

    def _read(self, part: range) -> bytes:
        if not part:
            return b""
        with _named(self.where):
            data = self.storage.read_part(self.key, part, tag=self.tag)
        if len(data) != len(part):
            raise StorageError(f"{self.where} was cut off while it was sent; ask again")
        return data


class ServedObjects:
    """A recording in an object store; see `ServedPlace`.

    Args:
        storage: It is in there.
        folder: With `/` at its end; empty where the storage is the recording.
        name: Of the recording, for errors.
        clock: Seconds that never run backwards.
    """

    def __init__(
        self,
        storage: ObjectStorage,
        folder: str,
        *,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._storage = storage
        self._folder = folder
        self._clock = clock
        self._known: dict[str, tuple[float, Signature | None]] = {}

    def read(self, key: str) -> bytes:
        with _named(self._where(key)):
            return self._storage.read(self._folder + key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        with _named(self._where(prefix)):
            for key in self._storage.keys(self._folder + prefix):
                yield key.removeprefix(self._folder)

    def open(self, key: str) -> tuple[ObjectFile, int]:
        found = self.signature(key)
        if found is None:
            raise NotFoundError(f"{self.name} has no file {key}")
        opened = ObjectFile(
            self._storage, self._folder + key, tag=str(found.mark), where=self._where(key)
        )
        return opened, found.size

    def place(self, key: str) -> PlacedFile:
        raise AssertionError("an object store is not served by nginx: refused by the settings")

    def check_contained(self) -> None:
        """It has no links."""

    def signature(self, key: str, *, fresh: bool = False) -> Signature | None:
        until, found = self._known.get(key, (0.0, None))
        now = self._clock()
        if now < until and not fresh:
            return found
        found = self._look(key)
        if len(self._known) >= _MOST_KNOWN:
            self._known = {}
        self._known[key] = now + _SECONDS, found
        return found

    def _look(self, key: str) -> Signature | None:
        try:
            with _named(self._where(key)):
                return Signature(*self._storage.mark(self._folder + key))
        except NotFoundError:
            return None

    def signatures(self, folder: str) -> dict[str, Signature]:
        with _named(self._where(folder)):
            found = self._storage.marks(f"{self._folder}{folder}/")
        marks = {key.removeprefix(self._folder): mark for key, mark in found.items()}
        return {key: Signature(*mark) for key, mark in marks.items() if key.count("/") == 1}

    def _where(self, key: str) -> str:
        return f"{key} of {self.name}" if key else self.name


class BucketShelf:
    """The recordings of an object store; see `Shelf`.

    Args:
        root: Address below which they lie, or of one of them.

    Raises:
        InvalidInputError: It is none, or the environment lacks what the store needs.
    """

    def __init__(self, root: str) -> None:
        self._storage = ObjectStorage(root)
        self._places: dict[str, ServedObjects] = {}

    def check_readable(self) -> None:
        self._folders()

    def names(self) -> list[str]:
        folders = self._folders()
        if "ledger" in folders:
            return [self._own_name()]
        return sorted({recording_name(folder) for folder in folders if self._is_listed(folder)})

    def find(self, name: str) -> ServedObjects | None:
        folders = [f"{folder}/" for folder in folder_names(name)]
        if name == self._own_name():
            folders.append("")
        return next(filter(_holds_recording, (self._place(f, name) for f in folders)), None)

    def _own_name(self) -> str:
        return recording_name(self._storage.url.rpartition("/")[2])

    def _is_listed(self, folder: str) -> bool:
        if folder.startswith("."):
            return False
        name = recording_name(folder)
        return folder.endswith(".zarr") or _holds_recording(self._place(f"{folder}/", name))

    def _place(self, folder: str, name: str) -> ServedObjects:
        if folder not in self._places:
            if len(self._places) >= _MOST_KNOWN:  # of names that somebody made up
                self._places = {}
            self._places[folder] = ServedObjects(self._storage, folder, name=name)
        return self._places[folder]

    def _folders(self) -> list[str]:
        with _named("the store of recordings"):
            return self._storage.folders()


def _holds_recording(place: ServedObjects) -> bool:
    """One that lost one of the two is damaged, not absent."""
    return any(place.signature(key) is not None for key in (HEADER_KEY, ROOT_KEY))


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Without the address of the store, which is for the log."""
    try:
        yield
    except NotFoundError as error:
        raise NotFoundError(f"there is no {where}") from error
    except IntegrityError:
        raise
    except StorageError as error:
        _logger.error("%s", error)
        raise StorageError(
            f"{where} cannot be read; try again, then look at the server's log"
        ) from error
