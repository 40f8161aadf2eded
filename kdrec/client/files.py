"""Plain files of a recording, answering as the service does: one client for both."""

import json
from collections.abc import Iterator

from kdrec.client.transport import Transport
from kdrec.errors import NotFoundError, StorageError
from kdrec.store import SEAL_KEY, ReadableStorage, RecordingReader, Seal

_FILES = "zarr/"


class FilesTransport:
    """A service that is none: it reads the files itself.

    Args:
        storage: Where they lie.
        where: Its address, for errors.

    Raises:
        NotFoundError: No recording is there.
        IntegrityError: Its metadata are damaged.
    """

    def __init__(self, storage: ReadableStorage, *, where: str) -> None:
        self._storage = storage
        self._where = where
        self._reader = RecordingReader(storage, where=where)

    def get(self, path: str) -> bytes:
        if path == "":
            self._reader = RecordingReader(self._storage, where=self._where)  # as it is now
            summary = {"identity": self._reader.identity, "header": self._reader.header.digest}
            return json.dumps(summary).encode()
        if path == "ledger":
            return json.dumps({"blocks": [b.name for b in self._reader.committed()]}).encode()
        return self._storage.read(path.removeprefix(_FILES))


class HttpFiles:
    """Files on a host that knows nothing of kdrec; their list is in the seal.

    Args:
        transport: Below it, KEY gives a file.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def read(self, key: str) -> bytes:
        return self._transport.get(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        try:
            data = self.read(SEAL_KEY)
        except NotFoundError as error:
            raise StorageError(
                "a plain web host cannot tell which blocks of an unfinished recording are there; "
                "wait until it is sealed, or let `kdrec serve` serve it"
            ) from error
        seal = Seal.from_bytes(data, where=SEAL_KEY, remedy="look at the host's copy")
        yield from sorted(key for key in (*seal.files, SEAL_KEY) if key.startswith(prefix))
