"""A filled cache without its server."""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from kdrec.client.remote import RecordingSummary, fetch_summary
from kdrec.errors import KdrecError, NotFoundError, StorageError
from kdrec.store import HEADER_KEY, ROOT_KEY, SEAL_KEY, LocalStorage, ReadableStorage

_SUMMARY_KEY = "summary.json"


class RememberedAddress:
    """What an address led to, and the documents by which it is opened.

    Args:
        cache: Folder of all that is fetched.
        address: Of a recording.
    """

    def __init__(self, cache: Path, address: str) -> None:
        name = hashlib.sha256(address.encode()).hexdigest()
        self._documents = LocalStorage(cache / ".addresses" / name)

    def remember(self, summary: RecordingSummary, storage: ReadableStorage) -> None:
        """Keep them of a finished recording; one that grows must be asked for again."""
        if summary.identity is None or summary == self.summary():
            return
        with suppress(StorageError):  # a cache that can only be read is a cache all the same
            for key in (HEADER_KEY, ROOT_KEY, SEAL_KEY):
                self._documents.write(key, storage.read(key))
            self._documents.write(_SUMMARY_KEY, summary.model_dump_json().encode())

    def summary(self) -> RecordingSummary | None:
        """None if nothing is remembered."""
        try:
            return fetch_summary(self)
        except KdrecError:
            return None

    def get(self, path: str) -> bytes:
        """As of a transport.

        Raises:
            NotFoundError: It is not remembered.
        """
        return self._documents.read(path.removeprefix("zarr/") or _SUMMARY_KEY)


class OfflineTransport:
    """Says of everything that is not in the cache why it cannot be had.

    Args:
        remembered: The documents.
        folder: The partial recording.
        reason: Why the server cannot be reached.
    """

    def __init__(self, remembered: RememberedAddress, folder: LocalStorage, reason: str) -> None:
        self._remembered = remembered
        self._folder = folder
        self._reason = reason

    def get(self, path: str) -> bytes:
        if path == "ledger":
            entries = (key for key in self._folder.keys("ledger/") if key != HEADER_KEY)
            names = [key.removeprefix("ledger/").removesuffix(".json") for key in entries]
            return json.dumps({"blocks": names}).encode()
        try:
            return self._remembered.get(path)
        except NotFoundError as error:
            raise StorageError(
                f"{path} is not in {self._folder.root}, and {self._reason}"
            ) from error
