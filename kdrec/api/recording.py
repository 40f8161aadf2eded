"""One recording as the service offers it: the files its ledger knows, and nothing else."""

import json
from dataclasses import dataclass
from typing import Any, Self

import numpy.typing as npt

from kdrec.api.places import PlacedFile, SentFile, ServedPlace
from kdrec.api.signature import Signature
from kdrec.errors import IncompleteError, IntegrityError, NotFoundError, StorageError
from kdrec.store import (
    HEADER_KEY,
    ROOT_KEY,
    SEAL_KEY,
    Block,
    FileDigest,
    LedgerEntry,
    RecordingReader,
    allocated_array,
    block_of_entry,
    block_of_shard,
)

_RECORDS_MEMORY = 64 * 2**20  # decoded, for `records`; a larger view group goes to a scratch file
_DECIDING_KEYS = (ROOT_KEY, HEADER_KEY, SEAL_KEY)  # the seal last


@dataclass(frozen=True, slots=True)
class Document:
    """Bytes at hand, and their digest."""

    data: bytes
    digest: FileDigest

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Of these bytes."""
        return cls(data, FileDigest.of(data))


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file whose digest the ledger states: it need not be read to be known."""

    key: str
    digest: FileDigest


@dataclass(frozen=True, slots=True)
class _Entry:
    signature: Signature
    entry: LedgerEntry


class _TemporaryFiles:
    """Where view groups are decoded that are too large for memory; see `Scratch`."""

    def array(self, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
        """Room that nobody can take away: a full disk must not end the service."""
        return allocated_array(shape, dtype)


class ServedRecording:
    """Opened once and asked often, by many threads.

    Header and seal are read when it is opened (see `is_current`), ledger entries when they are
    asked for and again when their files change: a recording may grow while it is served.

    Args:
        folder: Its files.

    Raises:
        NotFoundError: No recording is there.
        IntegrityError: Its metadata are damaged.
        InvalidInputError: It is something else, or of a newer format.
    """

    def __init__(self, folder: ServedPlace) -> None:
        self._folder = folder
        self._signatures = _signatures(folder)  # before reading, so that no change is overlooked
        self._reader = RecordingReader(
            folder, where=folder.name, memory=_RECORDS_MEMORY, scratch=_TemporaryFiles()
        )
        self._check_keys()
        self._entries: dict[str, _Entry] = {}
        self._ledger: tuple[dict[Block, Signature], Document] | None = None

    def _check_keys(self) -> None:
        """A ledger may come from anywhere, and its keys are joined to a path."""
        for key in self._reader.header.files:
            if not {"", ".", ".."}.isdisjoint(key.split("/")):
                raise IntegrityError(
                    f"{HEADER_KEY} of {self.name} lists {key!r}, which is no key of a recording; "
                    f"{self._reader.remedy}"
                )

    @property
    def name(self) -> str:
        """As in its address."""
        return self._folder.name

    @property
    def reader(self) -> RecordingReader:
        """Of header, seal and records; its ledger entries may be out of date, ours are not."""
        return self._reader

    @property
    def identity(self) -> str | None:
        """Digest of the seal, None while the recording goes on."""
        return self._reader.identity

    def is_current(self, folder: ServedPlace) -> bool:
        """Whether that folder still holds the header and the seal that were read here."""
        return self._signatures == _signatures(folder)

    def committed(self) -> dict[Block, Signature]:
        """Blocks that are here now, with the signatures of their ledger entries."""
        found = self._folder.signatures("ledger")
        blocks = {block_of_entry(self._reader.grid, key): key for key in sorted(found)}
        return {block: found[key] for block, key in blocks.items() if block is not None}

    def file(self, key: str) -> Document | ListedFile:
        """What has this key, if the ledger knows it.

        Raises:
            NotFoundError: The recording has no such file.
            IncompleteError: It belongs to a block that is not (yet) here.
            IntegrityError: The document is not what the seal says.
            StorageError: Another recording took the name meanwhile.
        """
        if key in (HEADER_KEY, SEAL_KEY) or block_of_entry(self._reader.grid, key) is not None:
            return self._document(key)
        digest = self._reader.header.files.get(key) or self._shard_digest(key)
        return ListedFile(key, digest)

    def check(self, file: Document | ListedFile) -> None:
        """Whether a file whose bytes nobody asks for is there; opening one tells the same.

        Raises:
            IntegrityError: It is missing, or has another size than the ledger says.
            StorageError: It cannot be reached, or another recording took the name meanwhile.
        """
        if isinstance(file, ListedFile):
            signature = self._folder.signature(file.key)
            self._check_unreplaced()
            if signature is None:
                raise self._missing(file)
            self._compare_size(file, signature.size)

    def open(self, file: ListedFile) -> SentFile:
        """The file of a key, to be sent.

        Raises:
            IntegrityError: It is missing, or has another size than the ledger says.
            StorageError: Another recording took the name meanwhile.
        """
        try:
            opened, size = self._folder.open(file.key)
        except NotFoundError as error:
            raise self._missing(file) from error
        self._check_unreplaced()
        self._compare_size(file, size)
        return opened

    def place(self, file: ListedFile) -> PlacedFile:
        """Where the file of a key lies, to be sent by another.

        Raises:
            IntegrityError: It is missing, has another size than the ledger says, or is a link to
                elsewhere.
            StorageError: Another recording took the name meanwhile.
        """
        try:
            placed = self._folder.place(file.key)
        except NotFoundError as error:
            raise self._missing(file) from error
        self._check_unreplaced()
        self._compare_size(file, placed.signature.size)
        return placed

    def ledger(self) -> Document:
        """Everything that is committed, in one JSON document."""
        committed = self.committed()
        kept = self._ledger
        if kept is None or kept[0] != committed:
            kept = self._ledger = committed, Document.of(self._ledger_bytes(committed))
        return kept[1]

    def _ledger_bytes(self, committed: dict[Block, Signature]) -> bytes:
        entries = {block.name: self._entry(block, found) for block, found in committed.items()}
        blocks = {
            name: {"files": {key: digest.model_dump() for key, digest in entry.files.items()}}
            for name, entry in entries.items()
        }
        header = self._reader.header.digest
        document = {"header": header, "identity": self.identity, "blocks": blocks}
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()

    def _document(self, key: str) -> Document:
        document = Document.of(self._folder.read(key))
        self._check_unreplaced()
        seal = self._reader.seal
        if seal is not None and key in seal.files:  # a cache may keep it for ever
            where = f"{key} of {self.name}"
            seal.files[key].check(document.data, where=where, remedy=self._reader.remedy)
        return document

    def _check_unreplaced(self) -> None:
        """Whether what was found just now is of this recording, whose digest it is sent under."""
        known, found = self._signatures, _signatures(self._folder, fresh=True)
        if self.identity is None:  # that a seal comes replaces nothing
            known, found = known[:-1], found[:-1]
        if known != found:
            raise StorageError(f"{self.name} was replaced while it was asked for; ask again")

    def _shard_digest(self, key: str) -> FileDigest:
        block = block_of_shard(self._reader.grid, key)
        array = key.partition("/")[0]
        if block is None or not self._reader.has_array(array):
            raise NotFoundError(f"{self.name} has no file {key}; its ledger lists those it has")
        files = (self._sealed_entry(block) or self._current_entry(block)).files
        if key not in files:
            raise NotFoundError(f"{self.name} has no file {key}; {block} lists {sorted(files)}")
        return files[key]

    def _sealed_entry(self, block: Block) -> LedgerEntry | None:
        """What the seal's ledger says of a block, if it was read before: it never changes."""
        known = None if self.identity is None else self._entries.get(block.name)
        return None if known is None else known.entry

    def _current_entry(self, block: Block) -> LedgerEntry:
        signature = self._folder.signature(block.ledger_key)
        if signature is None:
            raise IncompleteError(
                f"{block} of {self.name} is not recorded yet, or not in this copy; ask again later"
            )
        return self._entry(block, signature)

    def _entry(self, block: Block, signature: Signature) -> LedgerEntry:
        known = self._entries.get(block.name)
        if known is None or known.signature != signature:
            entry = self._reader.read_entry(block)
            known = self._entries[block.name] = _Entry(signature, entry)
        return known.entry

    def _missing(self, file: ListedFile) -> IntegrityError:
        return IntegrityError(
            f"{file.key} of {self.name} is missing, though its ledger lists it; "
            f"{self._reader.remedy}"
        )

    def _compare_size(self, file: ListedFile, size: int) -> None:
        if size != file.digest.size:
            raise IntegrityError(
                f"{file.key} of {self.name} has {size} bytes, its ledger says {file.digest.size}; "
                f"{self._reader.remedy}"
            )


def _signatures(folder: ServedPlace, *, fresh: bool = False) -> tuple[Signature | None, ...]:
    return tuple(folder.signature(key, fresh=fresh) for key in _DECIDING_KEYS)
