"""Repair: put back only what is damaged or missing, and only the bytes that were there.

Which bytes those are is said by what is still intact here: the seal lists every file; the header's
ledger entry those of the header; a block's entry, which names the header, those of its shards. No
file is written whose digest does not follow from them, wherever it comes from: a sealed recording
ends as it was sealed, or stays damaged and says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kdrec.client.addresses import is_address, reach
from kdrec.client.refusal import WriterRefusal
from kdrec.client.transport import Transport
from kdrec.errors import (
    ConflictError,
    IncompleteError,
    IntegrityError,
    NotFoundError,
    StorageError,
)
from kdrec.store import (
    BLOCK_ARRAYS,
    HEADER_KEY,
    ROOT_KEY,
    SEAL_KEY,
    Block,
    BlockGrid,
    FileDigest,
    LedgerEntry,
    RecordingPlace,
    Seal,
    Storage,
    is_object_address,
    open_place,
    parse_group,
)

_ABSENT = (NotFoundError, IncompleteError, IntegrityError)


class FileSource(Protocol):
    """Where whole files may be had again: a copy on disk or behind a server, or the teacher."""

    def read(self, key: str) -> bytes:
        """The file of a key.

        Raises:
            NotFoundError, IncompleteError, IntegrityError: It has none that could be right.
            StorageError, ServiceError: It cannot be reached now.
        """


@dataclass(slots=True)
class RepairReport:
    """What was found and done.

    Attributes:
        checked: Files that were looked at.
        repaired: Keys of the files that were put back, in that order.
        num_bytes: Their size.
        broken: A line for each thing that is still wrong.
        absent: Blocks that are not here and were not asked for.
        blocks: How many were gone through so far.
        total: Blocks of the plan; 0 before that is known.
    """

    checked: int = 0
    repaired: list[str] = field(default_factory=list)
    num_bytes: int = 0
    broken: list[str] = field(default_factory=list)
    absent: list[Block] = field(default_factory=list)
    blocks: int = 0
    total: int = 0


class _FetchedFiles:
    """The stored files behind `kdrec serve` or on a plain web host, untouched."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def read(self, key: str) -> bytes:
        return self._transport.get(f"zarr/{key}")


def open_copy(uri: str | Path, *, token: str | None = None) -> FileSource:
    """The files of another copy.

    Args:
        uri: Folder; `http(s)://HOST/v1/recordings/NAME`, or the address of its files on any host;
            `s3://BUCKET/NAME.zarr`, and gs:// or az:// alike.
        token: Bearer token; by default KDREC_TOKEN.

    Raises:
        NotFoundError: There is no folder of this name, or no recording at this address.
        IntegrityError: The metadata of the recording on a plain web host are damaged.
    """
    if is_address(str(uri)) and not is_object_address(str(uri)):
        return _FetchedFiles(reach(str(uri), token=token)[0])
    place = open_place(uri)
    if next(iter(place.keys()), None) is None:
        raise NotFoundError(f"nothing at {uri}; give another copy of the recording")
    return place


def repair(
    where: str | Path,
    source: FileSource,
    *,
    only_damaged: bool = False,
    place: RecordingPlace | None = None,
) -> Iterator[RepairReport]:
    """Repair a recording; yields the same report, further filled, after each block.

    Args:
        where: The recording, whole or partial, finished or not: a folder, or an address of an
            object store.
        source: Where files may be had again.
        only_damaged: Leave blocks alone of which nothing is here, as in a copy of some views.
        place: What is there; opened by default.

    Raises:
        NotFoundError: No recording is there, or nothing of it that says which one it was.
        ConflictError: Another process writes it, or the source is another recording.
        StorageError: The disk refuses, or the source cannot be reached; the same call continues.
    """
    place = open_place(where) if place is None else place
    if next(iter(place.keys()), None) is None:
        raise NotFoundError(f"no recording at {where}")
    with place.lock(while_waiting=WriterRefusal(place, where=str(where))):
        place.remove_unfinished()
        yield from _Repair(place, source, where=str(where)).run(only_damaged=only_damaged)


class _Repair:
    """One recording under repair."""

    def __init__(self, storage: Storage, source: FileSource, *, where: str) -> None:
        self._storage = storage
        self._source = source
        self._where = where
        self._report = RepairReport()

    def run(self, *, only_damaged: bool) -> Iterator[RepairReport]:
        self._seal, self._remains = self._own_seal()
        self._header = self._find_header()
        self._put_back_files(self._header.files, "the header")
        manifest = parse_group(self._read_root(), where=self._where)
        yield self._report
        entries: list[LedgerEntry] = []
        grid = BlockGrid.of(manifest.plan)
        self._report.total = len(grid)
        for block in grid:
            entry = self._put_back_block(block, only_damaged=only_damaged)
            entries += [] if entry is None else [entry]
            self._report.blocks += 1
            yield self._report
        whole = len(entries) == len(grid)
        # Without a seal it may be unfinished: only what is complete is given one.
        if self._remains is not None or (self._seal is None and whole and not only_damaged):
            self._put_back_seal(entries, whole=whole)
            yield self._report

    def _own_seal(self) -> tuple[Seal | None, bytes | None]:
        """The seal, or what is left of it."""
        data = self._own(SEAL_KEY)
        if data is None:
            return None, None
        try:
            return Seal.from_bytes(data, where=SEAL_KEY, remedy="repair"), None
        except IntegrityError:
            return None, data

    def _own(self, key: str) -> bytes | None:
        """A file here; none where it is missing or the disk cannot read it any more."""
        try:
            return self._storage.read(key)
        except (NotFoundError, StorageError):
            return None

    def _find_header(self) -> LedgerEntry:
        self._report.checked += 1
        own = self._own_entry(HEADER_KEY)
        if own is not None and ROOT_KEY in own.files:  # else it is a block's entry in its place
            return own
        try:
            data = self._source.read(HEADER_KEY)
            found = LedgerEntry.from_bytes(data, where=HEADER_KEY, remedy="give another copy")
        except _ABSENT as error:
            raise IntegrityError(
                f"{self._where}/{HEADER_KEY} is damaged and cannot be had again: {error}"
            ) from error
        self._check_vouched(found)
        self._write(HEADER_KEY, data)
        return found

    def _check_vouched(self, header: LedgerEntry) -> None:
        """Whether what is intact here says that this was the header."""
        digest = FileDigest.of(header.to_bytes())
        if self._seal is not None:
            witnesses = [self._seal.files.get(HEADER_KEY) == digest]
        else:
            entries = [self._own_entry(key) for key in self._storage.keys("ledger/g")]
            witnesses = [e.recording == header.digest for e in entries if e is not None]
            root = self._own(ROOT_KEY)
            if root is not None and not witnesses:
                witnesses = [header.files.get(ROOT_KEY) == FileDigest.of(root)]
        if not witnesses or not all(witnesses) or ROOT_KEY not in header.files:
            what = "is another recording's" if witnesses else "cannot be told to be this one's"
            raise ConflictError(
                f"{self._where} has lost its {HEADER_KEY}, and the one offered {what}; give a copy "
                "of this very recording"
            )

    def _own_entry(self, key: str) -> LedgerEntry | None:
        """A ledger entry here, if it is intact and the seal, where there is one, lists it so."""
        data = self._own(key)
        if data is None or not self._is_sealed_so(key, data):
            return None
        try:
            return LedgerEntry.from_bytes(data, where=key, remedy="repair")
        except IntegrityError:
            return None

    def _is_sealed_so(self, key: str, data: bytes) -> bool:
        return self._seal is None or self._seal.files.get(key) == FileDigest.of(data)

    def _say_otherwise(self, key: str, part: str) -> None:
        """Note that the source gives other bytes, unless it is another recording altogether."""
        # Asked for only now: a teacher has to answer all proof records for it.
        try:
            data = self._source.read(HEADER_KEY)
            theirs = LedgerEntry.from_bytes(data, where=HEADER_KEY, remedy="")
        except _ABSENT:
            theirs = self._header  # its other files may be intact, and each is checked by itself
        if theirs != self._header:
            raise ConflictError(
                f"{part} of {self._where}: {key} comes out otherwise than it was recorded, and so "
                "does the header: what it shall be repaired from is another recording, or a "
                "teacher whose device or libraries give other last bits; give a copy of this very "
                "recording"
            )
        self._report.broken.append(
            f"{part}: {key} comes out otherwise than it was recorded; the source is damaged too: "
            "give another copy"
        )

    def _read_root(self) -> bytes:
        root = self._own(ROOT_KEY)
        if root is None or FileDigest.of(root) != self._header.files.get(ROOT_KEY):
            raise IntegrityError(
                f"{self._where}/{ROOT_KEY} is damaged and cannot be had again, and without it "
                f"nothing else can be: {self._report.broken[-1]}"
            )
        return root

    def _put_back_block(self, block: Block, *, only_damaged: bool) -> LedgerEntry | None:
        """The block's entry if all of the block is here afterwards."""
        entry = self._own_entry(block.ledger_key)
        self._report.checked += 1
        if entry is not None and self._belongs(entry, block):
            return entry if self._put_back_files(entry.files, str(block)) else None
        if only_damaged and not self._has_anything_of(block):
            self._report.absent.append(block)
            return None
        try:
            data = self._source.read(block.ledger_key)
            entry = LedgerEntry.from_bytes(data, where=block.ledger_key, remedy="")
        except _ABSENT as error:
            self._report.broken.append(f"{block}: {block.ledger_key} cannot be had again: {error}")
            return None
        if not self._belongs(entry, block) or not self._is_sealed_so(block.ledger_key, data):
            self._say_otherwise(block.ledger_key, str(block))
            return None
        if not self._put_back_files(entry.files, str(block)):
            return None
        self._write(block.ledger_key, data)  # last, as in recording: it says that the rest is here
        return entry

    def _belongs(self, entry: LedgerEntry, block: Block) -> bool:
        return entry.recording == self._header.digest and entry.block == block.name

    def _has_anything_of(self, block: Block) -> bool:
        keys = (block.ledger_key, *map(block.shard_key, BLOCK_ARRAYS))
        return any(self._own(key) is not None for key in keys)

    def _put_back_files(self, files: dict[str, FileDigest], part: str) -> bool:
        """Whether all of them are as they should be afterwards."""
        # The root last, as in recording: with it the recording is there.
        results = [
            self._put_back_file(key, files[key], part)
            for key in sorted(files, key=lambda key: (key == ROOT_KEY, key))
        ]
        return all(results)

    def _put_back_file(self, key: str, digest: FileDigest, part: str) -> bool:
        self._report.checked += 1
        own = self._own(key)
        if own is not None and FileDigest.of(own) == digest:
            return True
        try:
            data = self._source.read(key)
        except _ABSENT as error:
            self._report.broken.append(f"{part}: {key} cannot be had again: {error}")
            return False
        if FileDigest.of(data) != digest:
            self._say_otherwise(key, part)
            return False
        self._write(key, data)
        return True

    def _put_back_seal(self, entries: list[LedgerEntry], *, whole: bool) -> None:
        """The source's seal if it is over what is here; else, of what is left, the same again."""
        self._report.checked += 1
        listed = dict(self._header.files)
        for entry in entries:
            listed |= entry.files
        documents = [self._header, *entries]
        keys = [HEADER_KEY, *(f"ledger/{entry.block}.json" for entry in entries)]
        for key, document in zip(keys, documents, strict=True):
            listed[key] = FileDigest.of(document.to_bytes())
        theirs = self._seal_of_source()
        if theirs is not None and listed.items() <= theirs.files.items():
            self._write(SEAL_KEY, theirs.to_bytes())
        elif whole and self._remains and _is_left_of(Seal(files=listed), self._remains):
            self._write(SEAL_KEY, Seal(files=listed).to_bytes())
        elif self._remains is not None:
            self._report.broken.append(
                f"{SEAL_KEY} is damaged, and nothing says what it was; give a sealed copy"
            )

    def _seal_of_source(self) -> Seal | None:
        try:
            data = self._source.read(SEAL_KEY)
            return Seal.from_bytes(data, where=SEAL_KEY, remedy="")
        except _ABSENT:
            return None

    def _write(self, key: str, data: bytes) -> None:
        self._storage.write(key, data)
        self._report.repaired.append(key)
        self._report.num_bytes += len(data)


def _is_left_of(seal: Seal, remains: bytes) -> bool:
    """Whether the damaged bytes still hold the digest of this seal, or all of its list."""
    body, _, _ = seal.to_bytes().rpartition(b'"sha256"')
    return seal.digest.encode() in remains or remains.startswith(body)
