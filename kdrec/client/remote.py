"""A recording behind a transport, kept in a folder as far as it was read.

The folder is a partial recording: the same files under the same keys, so that the same reader reads
it, with or without the server. A file enters it only after its digest was checked.
"""

import json
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, ValidationError

from kdrec.client.transport import Transport
from kdrec.errors import ConflictError, IntegrityError, NotFoundError, ServiceError
from kdrec.store import HEADER_KEY, ROOT_KEY, SEAL_KEY, FileDigest, LedgerEntry, LocalStorage, Seal

_REMEDY = "the server's copy is damaged or was replaced: run `kdrec verify --bytes` there"
_FETCH_TRIES = 2


class RecordingSummary(BaseModel):
    """What the service answers for one recording, as far as the client needs it.

    Attributes:
        identity: Digest of the seal, None while it is recorded.
        header: Digest of the ledger's first entry; the same before and after sealing.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    identity: str | None
    header: str


def fetch_summary(transport: Transport) -> RecordingSummary:
    """Ask the service which recording it has under this address.

    Raises:
        NotFoundError: None.
        ServiceError: It answers something else.
    """
    try:
        return RecordingSummary.model_validate(json.loads(transport.get("")))
    except (ValidationError, ValueError) as error:
        raise ServiceError(
            "the address does not answer as a recording; give "
            "http(s)://HOST/v1/recordings/NAME as `kdrec serve` prints it"
        ) from error


class RemoteStorage:
    """Files from a folder where they are there, else from the server into the folder.

    Args:
        transport: Below it, `zarr/KEY` gives a file and `ledger` the list of blocks.
        folder: The partial recording.
        header: Digest that the recording's header must have.
    """

    def __init__(self, transport: Transport, folder: LocalStorage, *, header: str) -> None:
        self._transport = transport
        self._folder = folder
        self._header = header
        self._digests: dict[str, FileDigest] = {}
        self._check_folder()

    @property
    def folder(self) -> LocalStorage:
        """The partial recording."""
        return self._folder

    def read(self, key: str) -> bytes:
        if key == ROOT_KEY and ROOT_KEY not in self._digests:
            self.read(HEADER_KEY)  # says what the root must be
        if key == SEAL_KEY or key.startswith("ledger/"):
            return self._read_document(key)
        if key not in self._digests:
            raise NotFoundError(f"no file {key} is listed by the ledger")
        return self._read_listed(key, self._digests[key])

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys that can be read; of the blocks those that the server has committed."""
        blocks = json.loads(self._transport.get("ledger"))["blocks"]
        known = {*self._digests, HEADER_KEY, *(f"ledger/{name}.json" for name in blocks)}
        yield from sorted(key for key in known if key.startswith(prefix))

    def _read_listed(self, key: str, digest: FileDigest) -> bytes:
        kept = self._kept(key)
        if kept is not None and FileDigest.of(kept) == digest:
            return kept
        for attempt in range(_FETCH_TRIES):
            data = self._transport.get(f"zarr/{key}")
            try:
                digest.check(data, where=key, remedy=_REMEDY)
                break
            except IntegrityError:
                if attempt == _FETCH_TRIES - 1:
                    raise
        self._folder.write(key, data)
        return data

    def _read_document(self, key: str) -> bytes:
        kept = self._kept(key)
        if kept is not None:
            try:
                self._register(key, kept)
            except IntegrityError:
                kept = None  # damaged on this disk: the server's copy replaces it
        if kept is None:
            kept = self._transport.get(f"zarr/{key}")
            self._register(key, kept)
            self._folder.write(key, kept)
        return kept

    def _register(self, key: str, data: bytes) -> None:
        """Note the digests a document lists; refuse one of another recording."""
        if key == SEAL_KEY:
            Seal.from_bytes(data, where=key, remedy=_REMEDY)
            return
        entry = LedgerEntry.from_bytes(data, where=key, remedy=_REMEDY)
        if self._header != (entry.digest if key == HEADER_KEY else entry.recording):
            raise ConflictError(
                f"{key} belongs to another recording: it was replaced under its name while it was "
                "read; open it again"
            )
        self._digests |= entry.files

    def _kept(self, key: str) -> bytes | None:
        try:
            return self._folder.read(key)
        except NotFoundError:
            return None

    def _check_folder(self) -> None:
        kept = self._kept(HEADER_KEY)
        if kept is None:
            return
        entry = LedgerEntry.from_bytes(
            kept, where=f"{self._folder.root}/{HEADER_KEY}", remedy="delete that folder"
        )
        if entry.digest != self._header:
            raise ConflictError(
                f"{self._folder.root} holds another recording (header {entry.digest[:12]}.., the "
                f"server has {self._header[:12]}..); give another folder"
            )
