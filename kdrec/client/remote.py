"""A recording behind a transport, kept in a folder as far as it was read.

The folder is a partial recording: the same files under the same keys, so that the same reader reads
it, with or without the server. A file enters it only after its digest was checked.
"""

import json
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdrec.client.cache import CacheRules, ShardCache
from kdrec.client.process_lock import ProcessLock
from kdrec.client.scratch import CacheScratch
from kdrec.client.transport import Transport
from kdrec.errors import ConflictError, IntegrityError, NotFoundError, ServiceError
from kdrec.store import HEADER_KEY, ROOT_KEY, SEAL_KEY, FileDigest, LedgerEntry, LocalStorage, Seal

_REMEDY = "the server's copy is damaged or was replaced: run `kdrec verify --bytes` there"
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
        self._documents: dict[str, bytes] = {}
        self._digests: dict[str, FileDigest] = {}
        self._lists: dict[str, str] = {}
        self._listed: dict[str, dict[str, int]] = {}
        self._awaited: dict[str, set[str]] = {}
        self._check_folder()

    def scratch(self) -> CacheScratch | None:
        """Room on the cache's disk under its limit; None where there is no limit."""
        if self._rules.limit is None or self._rules.locks is None:
            return None
        return CacheScratch(self._cache, self._rules.locks)

    def read(self, key: str) -> bytes:
        if key == SEAL_KEY or key.startswith("ledger/"):
            return self._read_document(key)
        if key == ROOT_KEY and HEADER_KEY not in self._documents:
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
                together = self._listed[self._lists[key]]
                with self._books, self._cache.contents_stay():
                    self._cache.make_room(key, len(data), together=together)
                    self._cache.write(key, data)
                    self._note_here(key)
            return data

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
        for attempt in range(_FETCH_TRIES):
            data = self._transport.get(f"zarr/{key}")
            try:
                digest.check(data, where=key, remedy=_REMEDY)
                break
            except IntegrityError:
                if attempt == _FETCH_TRIES - 1:
                    raise
        return data

    def _read_document(self, key: str) -> bytes:
        if key not in self._documents:
            data = self._kept_document(key) or self._fetch_document(key)
            with self._books:
                self._register(key, data)
        return self._documents[key]

    def _fetch_document(self, key: str) -> bytes:
        for attempt in range(_FETCH_TRIES):
            data = self._transport.get(f"zarr/{key}")
            try:
                self._parse(key, data)
                break
            except IntegrityError:
                if attempt == _FETCH_TRIES - 1:
                    raise
        return data

    def _kept_document(self, key: str) -> bytes | None:
        """The folder's, unless it is damaged: then the server's takes its place."""
        kept = self._kept(key)
        try:
            if kept is not None:
                self._parse(key, kept)
        except IntegrityError:
            return None
        return kept

    def _register(self, key: str, data: bytes) -> None:
        """Note what a document lists; write it once all of that is here."""
        document = self._parse(key, data)
        self._documents[key] = data
        if isinstance(document, Seal):
            self._folder.write(key, data)
            return
        self._digests |= document.files
        self._lists |= dict.fromkeys(document.files, key)
        self._listed[key] = {name: file.size for name, file in document.files.items()}
        self._awaited[key] = {
            file
            for file in document.files
            if not file.endswith(ROOT_KEY) and not self._folder.has(file)
        }
        closing = {key, ROOT_KEY} if key == HEADER_KEY else {key}
        if not all(map(self._folder.has, closing)):
            self._settle(key)

    def _parse(self, key: str, data: bytes) -> LedgerEntry | Seal:
        document: LedgerEntry | Seal
        if key == SEAL_KEY:
            document = Seal.from_bytes(data, where=key, remedy=_REMEDY)
            header = FileDigest.of(self._read_document(HEADER_KEY))
            belongs = document.files.get(HEADER_KEY) == header
            belongs = belongs and self._identity in (None, document.digest)
        else:
            document = LedgerEntry.from_bytes(data, where=key, remedy=_REMEDY)
            found = document.digest if key == HEADER_KEY else document.recording
            belongs = found == self._header
        if not belongs:
            raise ConflictError(
                f"{key} belongs to another recording: it was replaced under its name while it was "
                "read; open it again"
            )
        return document

    def _settle(self, document: str) -> None:
        """Write a document if all that it lists is here.

        The header's metadata are not waited for, but fetched then: no reader asks for all of them.
        """
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
