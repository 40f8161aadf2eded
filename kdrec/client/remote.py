"""A recording behind a transport, kept in a folder as far as it was read.

The folder is a partial recording: the same files under the same keys, so that the same reader reads
it, with or without the server. A file enters it only after its digest was checked.
"""

import json
from collections.abc import Callable, Iterator

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdrec.client.cache import CacheRules, ShardCache
from kdrec.client.scratch import CacheScratch
from kdrec.client.transport import Transport
from kdrec.errors import (
    ConflictError,
    IntegrityError,
    KdrecError,
    NotFoundError,
    ServiceError,
)
from kdrec.store import (
    HEADER_KEY,
    ROOT_KEY,
    SEAL_KEY,
    FileDigest,
    LedgerEntry,
    LocalStorage,
    ProcessLock,
    Seal,
)

_REMEDY = "the server's copy is damaged or was replaced: run `kdrec verify --bytes` there"
_REPLACED = "it was replaced under its name while it was read; open it again"
_FETCH_TRIES = 3
_DIGEST = r"^[0-9a-f]{64}$"  # it becomes the name of a folder


class RecordingSummary(BaseModel):
    """What the service answers for one recording, as far as the client needs it.

    Attributes:
        identity: Digest of the seal, None while it is recorded.
        header: Digest of the ledger's first entry; the same before and after sealing.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    identity: str | None = Field(pattern=_DIGEST)
    header: str = Field(pattern=_DIGEST)


def fetch_summary(transport: Transport) -> RecordingSummary:
    """Ask the service which recording it has under this address.

    Raises:
        NotFoundError: None.
        ServiceError: It answers something else.
    """
    answer = transport.get("")
    try:
        return RecordingSummary.model_validate(json.loads(answer))
    except (ValidationError, ValueError, RecursionError) as error:
        raise ServiceError(
            "the address does not answer as a recording; give "
            "http(s)://HOST/v1/recordings/NAME as `kdrec serve` prints it"
        ) from error


class RemoteStorage:
    """Files from a folder where they are there, else from the server into the folder.

    A ledger entry enters the folder after the files it lists, and `zarr.json` after all others of
    the header: stopped at any moment, the folder claims nothing that it lacks.

    Args:
        transport: Below it, `zarr/KEY` gives a file and `ledger` the list of blocks.
        folder: The partial recording.
        header: Digest that the recording's header must have.
        identity: That its seal must have; None for one that is still recorded.
        rules: How the folder is shared with other processes, and how large it may become.
    """

    def __init__(
        self,
        transport: Transport,
        folder: LocalStorage,
        *,
        header: str,
        identity: str | None = None,
        rules: CacheRules | None = None,
    ) -> None:
        self._transport = transport
        self._identity = identity
        self._folder = folder
        self._rules = rules or CacheRules()
        self._cache = ShardCache(folder, self._rules)
        self._books = ProcessLock()
        self._header = header
        self._seal: Seal | None = None
        self._documents: dict[str, bytes] = {}
        self._digests: dict[str, FileDigest] = {}
        self._lists: dict[str, str] = {}
        self._listed: dict[str, dict[str, int]] = {}
        self._awaited: dict[str, set[str]] = {}
        self._noted: set[str] = set()  # documents of which all the above is known
        self._check_folder()

    def remove_unfinished(self) -> None:
        """Remove what killed processes left half written; see `ShardCache.remove_unfinished`."""
        self._cache.remove_unfinished()

    def scratch(self) -> CacheScratch | None:
        """Room on the cache's disk under its limit; None where there is no limit."""
        if self._rules.limit is None or self._rules.locks is None:
            return None
        return CacheScratch(self._cache, self._rules.locks)

    def read(self, key: str) -> bytes:
        if key == SEAL_KEY or key.startswith("ledger/"):
            return self._read_document(key)
        if key == ROOT_KEY and HEADER_KEY not in self._noted:
            self._read_document(HEADER_KEY)  # says what the root must be
        if key not in self._digests:
            raise NotFoundError(f"no file {key} is listed by the ledger")
        return self._read_listed(key, self._digests[key])

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys that can be read; of the blocks those that the server has committed."""
        blocks = self._committed_blocks()
        known = {*self._digests, HEADER_KEY, *(f"ledger/{name}.json" for name in blocks)}
        yield from sorted(key for key in known if key.startswith(prefix))

    def _committed_blocks(self) -> list[str]:
        answer = self._transport.get("ledger")
        try:
            return list(json.loads(answer)["blocks"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ServiceError("the server's list of blocks cannot be read; try again") from error

    def _read_listed(self, key: str, digest: FileDigest) -> bytes:
        kept = self._kept_listed(key, digest)
        if kept is not None:
            return kept
        with self._cache.one_fetch(key):
            kept = self._kept_listed(key, digest)  # who was first may have fetched it
            if kept is not None:
                return kept
            data = self._fetch_listed(key, digest)
            if key != ROOT_KEY or self._folder.has(ROOT_KEY):
                document = self._lists[key]
                together = self._listed[document] | {document: len(self._documents[document])}
                with self._books, self._cache.contents_stay():
                    needed = len(data) + self._to_settle(key)
                    self._cache.make_room(key, needed, together=together)
                    self._cache.write(key, data)
                    self._note_here(key)
            return data

    def _to_settle(self, key: str) -> int:
        """Bytes that follow the last file of a list: its document, and the header's metadata."""
        document = self._lists[key]
        if self._folder.has(document):
            return 0
        metadata = {n: size for n, size in self._listed[document].items() if n.endswith(ROOT_KEY)}
        missing = (size for n, size in metadata.items() if n != key and not self._folder.has(n))
        return len(self._documents[document]) + sum(missing)

    def _kept_listed(self, key: str, digest: FileDigest) -> bytes | None:
        kept = self._kept(key)
        if kept is None or FileDigest.of(kept) != digest:
            return None
        self._cache.note_use(key)
        if key in self._awaited.get(self._lists[key], ()):  # another process has brought it
            with self._books, self._cache.contents_stay():
                self._note_here(key)
        return kept

    def _note_here(self, key: str) -> None:
        self._awaited[self._lists[key]].discard(key)
        self._settle(self._lists[key])

    def _fetch_listed(self, key: str, digest: FileDigest) -> bytes:
        try:
            return self._fetch(key, lambda data: digest.check(data, where=key, remedy=_REMEDY))
        except (IntegrityError, NotFoundError):
            self._check_not_replaced()
            raise

    def _fetch(self, key: str, check: Callable[[bytes], object]) -> bytes:
        """A file of the server that passes a check, after several tries if need be."""
        for attempt in range(_FETCH_TRIES):
            data = self._transport.get(f"zarr/{key}")
            try:
                check(data)
                break
            except IntegrityError:
                if attempt == _FETCH_TRIES - 1:
                    raise
        return data

    def _check_not_replaced(self) -> None:
        """Whether the server still has this recording.

        Raises:
            ConflictError: It has another one.
        """
        try:
            now = fetch_summary(self._transport)
        except KdrecError:
            return  # the error at hand says more
        sealed = self._seal is not None and now.identity not in (None, self._seal.digest)
        if sealed or now.header != self._header:
            raise ConflictError(f"{self._folder.root.name}: {_REPLACED}")

    def _read_document(self, key: str) -> bytes:
        if key not in self._noted:
            kept = self._kept_document(key)
            data = kept or self._fetch_document(key)
            with self._books:
                self._register(key, data, is_here=kept is not None)
        return self._documents[key]

    def _fetch_document(self, key: str) -> bytes:
        try:
            return self._fetch(key, lambda data: self._parse(key, data))
        except IntegrityError:
            self._check_not_replaced()
            raise

    def _kept_document(self, key: str) -> bytes | None:
        """The folder's, unless it is damaged: then the server's takes its place."""
        kept = self._kept(key)
        try:
            if kept is not None:
                self._parse(key, kept)
        except IntegrityError:
            return None
        return kept

    def _register(self, key: str, data: bytes, *, is_here: bool) -> None:
        """Note what a document lists; write it once all of that is here."""
        document = self._parse(key, data)
        self._documents[key] = data
        if isinstance(document, Seal):
            self._seal = document
        else:
            self._note_listed(key, document)
        self._noted.add(key)
        if is_here and (key != HEADER_KEY or self._folder.has(ROOT_KEY)):
            return
        with self._cache.contents_stay():
            if not is_here:
                self._folder.delete(key)  # a damaged one, or another's
            self._settle(key)

    def _note_listed(self, key: str, document: LedgerEntry) -> None:
        """The digests last: by them others see that there is such a file.

        Half of it may be all that there is, after an error or in a process that was forked in the
        middle; then it is done again.
        """
        self._awaited[key] = {
            file
            for file in document.files
            if not file.endswith(ROOT_KEY) and not self._folder.has(file)
        }
        self._listed[key] = {name: file.size for name, file in document.files.items()}
        self._lists |= dict.fromkeys(document.files, key)
        self._digests |= document.files

    def _parse(self, key: str, data: bytes) -> LedgerEntry | Seal:
        if key == SEAL_KEY:
            seal = Seal.from_bytes(data, where=key, remedy=_REMEDY)
            header = FileDigest.of(self._read_document(HEADER_KEY))
            self._check_belongs(
                key,
                seal.files.get(HEADER_KEY) == header and self._identity in (None, seal.digest),
            )
            return seal
        entry = LedgerEntry.from_bytes(data, where=key, remedy=_REMEDY)
        found = entry.digest if key == HEADER_KEY else entry.recording
        self._check_belongs(key, found == self._header)
        if self._seal is not None and key in self._seal.files:
            self._seal.files[key].check(data, where=key, remedy=_REMEDY)
        return entry

    def _check_belongs(self, key: str, belongs: bool) -> None:
        if not belongs:
            raise ConflictError(f"{key} belongs to another recording: {_REPLACED}")

    def _settle(self, document: str) -> None:
        """Write a document if all that it lists is here.

        The header's metadata are not waited for, but fetched then: no reader asks for all of them.
        """
        if document == SEAL_KEY:
            self._folder.write(document, self._documents[document])
            return
        if self._awaited[document]:
            return
        listed = LedgerEntry.from_bytes(
            self._documents[document], where=document, remedy=_REMEDY
        ).files
        if document != HEADER_KEY:
            if all(map(self._folder.has, listed)):  # none was dropped to make room
                self._folder.write(document, self._documents[document])
            return
        metadata = [key for key in listed if key.endswith(ROOT_KEY) and key != ROOT_KEY]
        for key in metadata:
            if not self._folder.has(key):
                self._folder.write(key, self._fetch_listed(key, listed[key]))
        root = self._fetch_listed(ROOT_KEY, listed[ROOT_KEY])
        self._folder.write(document, self._documents[document])
        self._folder.write(ROOT_KEY, root)

    def _kept(self, key: str) -> bytes | None:
        try:
            return self._folder.read(key)
        except NotFoundError:
            return None

    def _check_folder(self) -> None:
        kept = self._kept(HEADER_KEY)
        if kept is None:
            return
        where = f"{self._folder.root}/{HEADER_KEY}"
        entry = LedgerEntry.from_bytes(kept, where=where, remedy="delete that folder")
        if entry.digest != self._header:
            raise ConflictError(
                f"{self._folder.root} holds another recording (header {entry.digest[:12]}.., the "
                f"server has {self._header[:12]}..); give another folder"
            )
