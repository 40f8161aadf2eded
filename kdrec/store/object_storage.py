"""A recording in an object store: s3://, gs:// or az://, by obstore.

A put is atomic and durable there, so that there are no temporary files and nothing is renamed; the
order of writing and the documents are those of a folder. What a store must do is written down in
docs/object-stores.md. Credentials come from the environment, as the store's own tools have them.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from kdrec.errors import (
    ErrorKind,
    InvalidInputError,
    KdrecError,
    NotFoundError,
    StorageError,
)
from kdrec.store.claims import Claim
from kdrec.store.lease import Lease, LeaseTimes, Stored
from kdrec.store.lock import LockHolder
from kdrec.store.object_relay import Relay, note_use, was_forked_after_use
from kdrec.store.storage import check_key

OBJECT_SCHEMES = ("s3", "gs", "az")
_MOST_MESSAGE = 300
# A large file over a slow line may take any time, as long as bytes arrive.
_TIMES = {"timeout": "1h", "read_timeout": "30s", "connect_timeout": "10s"}
_RETRIES = {"max_retries": 5}
# How S3, Azure and Google tell a missing bucket from a missing object: it is never absence.
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "specified bucket does not exist")
_VARIABLES = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}


class ObjectStorage:
    """Files by key below an address.

    Args:
        url: `s3://BUCKET/FOLDER/NAME.zarr`, and gs:// or az:// alike.
        times: Of the lease; a test may want them shorter.

    Raises:
        InvalidInputError: The address is none, or the environment lacks what the store needs.
    """

    def __init__(self, url: str, *, times: LeaseTimes | None = None) -> None:
        _split(url.rstrip("/"))
        self.url = url.rstrip("/")
        self._times = times or LeaseTimes()
        self._lease: Lease | None = None
        self._awaited: dict[str, Lease] = {}
        self._beside: ObjectStorage | None = None
        self._opened: Any = None
        self._relay: Relay | None = None
        if not was_forked_after_use():
            self._store()

    def __repr__(self) -> str:
        return f"ObjectStorage({self.url!r})"

    def __getstate__(self) -> dict[str, Any]:
        return (
            {"url": self.url, "_times": self._times}
            | dict.fromkeys(("_lease", "_opened", "_relay", "_beside"))
            | {"_awaited": {}}
        )

    @property
    def stale_after(self) -> float:
        """See `RecordingPlace`."""
        return self._times.seconds

    def read(self, key: str) -> bytes:
        check_key(key)
        if was_forked_after_use():
            return self._relayed().read(key)
        with self._translated(key):
            return bytes(self._store().get(key).bytes())

    def write(self, key: str, data: bytes) -> None:
        check_key(key)
        if self._lease is not None:
            self._lease.check()
        with self._translated(key):
            # In one request: the parts of an upload cut off by a kill would be kept, and paid for.
            self._store().put(key, data, use_multipart=False)

    def size(self, key: str) -> int:
        return self.mark(key)[1]

    def mark(self, key: str) -> tuple[str, int]:
        """Tag and size, by which a replaced file is noticed without reading it.

        Raises:
            NotFoundError: There is none.
        """
        check_key(key)
        with self._translated(key):
            found = self._store().head(key)
            return str(found["e_tag"]), int(found["size"])

    def marks(self, prefix: str = "") -> dict[str, tuple[str, int]]:
        """Tag and size of every file below a folder, by key."""
        with self._translated(prefix):
            entries = [entry for page in self._store().list(prefix) for entry in page]
        return {str(e["path"]): (str(e["e_tag"]), int(e["size"])) for e in entries}

    def folders(self) -> list[str]:
        """Names of the folders directly below this address."""
        with self._translated(""):
            found = self._store().list_with_delimiter()["common_prefixes"]
        return sorted(str(path).rstrip("/") for path in found)

    def read_part(self, key: str, part: range, *, tag: str) -> bytes:
        """Some bytes of a file.

        Args:
            key: Of the file.
            part: Of its bytes; not empty.
            tag: That it must still have; see `mark`.

        Raises:
            NotFoundError: There is none.
            StorageError: It was replaced, or cannot be read.
        """
        check_key(key)
        asked: Any = {"range": (part.start, part.stop), "if_match": tag}
        with self._translated(key):
            return bytes(self._store().get(key, options=asked).bytes())

    def delete(self, key: str) -> None:
        check_key(key)
        if self._lease is not None:
            self._lease.check()
        with self._translated(key):
            try:
                self._store().delete(key)
            except FileNotFoundError:
                return  # some stores say so, others do not

    def keys(self, prefix: str = "") -> Iterator[str]:
        if was_forked_after_use():
            yield from self._relayed().keys(prefix)
            return
        with self._translated(prefix):
            found = [str(entry["path"]) for page in self._store().list(prefix) for entry in page]
        yield from sorted(found)

    @contextmanager
    def lock(self, *, while_waiting: Callable[[], None]) -> Iterator[LockHolder]:
        """Hold the recording for writing, by a lease in an object beside it.

        Raises:
            ConflictError: Another took over, because this process was silent too long.
        """
        parent, name = self._parted()
        place = _ObjectOfLease(ObjectStorage(parent), f".{name}.lock")
        lease = Lease(place, where=self.url, times=self._times)
        with lease.held(while_waiting=while_waiting) as took_over:
            self._lease = lease
            try:
                yield LockHolder(took_over=took_over)
            finally:
                self._lease = None

    def joined(self, *, while_waiting: Callable[[], None]) -> AbstractContextManager[None]:
        """Nothing to hold: repair and conversion, which want to be alone, work on folders."""
        return nullcontext()

    def claim(self, name: str) -> Claim | None:
        """By a lease of the block's own: the silence of another's is known from earlier looks."""
        if name not in self._awaited:
            where = f"block {name} of {self.url}"
            place = _ObjectOfLease(self._claims(), name)
            self._awaited[name] = Lease(place, where=where, times=self._times)
        return self._awaited.pop(name) if self._awaited[name].attempt() else None

    def remove_claims(self) -> None:
        claims = self._claims()
        for name in claims.keys():  # noqa: SIM118 - a storage is no mapping
            claims.delete(name)

    def _claims(self) -> "ObjectStorage":
        if self._beside is None:
            parent, name = self._parted()
            self._beside = ObjectStorage(f"{parent}/.{name}.claims")
        return self._beside

    def _parted(self) -> tuple[str, str]:
        """The address above, and the name."""
        parent, name = _split(self.url)
        if not name:
            raise InvalidInputError(f"{self.url} is a whole bucket; give {self.url}/NAME.zarr")
        return parent, name

    def remove_unfinished(self) -> list[str]:
        """Nothing: a put that was cut off leaves nothing."""
        return []

    def create(self, key: str, data: bytes) -> str | None:
        """Write a file that is not there yet; its tag, or None where there is one."""
        return self._put_if(key, data, "create")

    def replace(self, key: str, data: bytes, *, tag: str) -> str | None:
        """Write a file that still has this tag; its new one, or None where it has another."""
        return self._put_if(key, data, {"e_tag": tag})

    def _put_if(self, key: str, data: bytes, condition: Any) -> str | None:
        refusals = _obstore("obstore.exceptions")
        with self._translated(key):
            try:
                put = self._store().put(key, data, mode=condition, use_multipart=False)
            except (refusals.AlreadyExistsError, refusals.PreconditionError, FileNotFoundError):
                return None
        return str(put["e_tag"])

    def _store(self) -> Any:
        if was_forked_after_use():
            raise StorageError(
                f"{self.url}: a process forked from one that used an object store can only read "
                "it; start processes by spawn"
            )
        note_use()
        if self._opened is None:
            self._opened = _connect(self.url)
        return self._opened

    def _relayed(self) -> Relay:
        if self._relay is None or not self._relay.is_mine():
            self._relay = Relay(self.url)
        return self._relay

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        where = f"{self.url}/{key}" if key else self.url
        try:
            yield
        except KdrecError:
            raise
        except FileNotFoundError as error:
            if any(words in str(error) for words in _NO_BUCKET):
                raise StorageError(f"{where}: there is no such bucket; make it first") from error
            raise NotFoundError(f"no object {where}") from error
        except (_obstore("obstore.exceptions").BaseError, OSError, ValueError) as error:
            raise StorageError(
                f"{where}: {_first_words(error)}; check the address, the credentials in the "
                "environment and the network, and run the same command again"
            ) from error


class _ObjectOfLease:
    """One object of a storage, as a lease wants it."""

    def __init__(self, storage: ObjectStorage, key: str) -> None:
        self._storage = storage
        self._key = key

    def read(self) -> Stored | None:
        """Tag before content: content that changed between would only be older than its tag."""
        try:
            tag, _ = self._storage.mark(self._key)
            return Stored(self._storage.read(self._key), tag)
        except NotFoundError:
            return None

    def create(self, data: bytes) -> str | None:
        return self._storage.create(self._key, data)

    def replace(self, data: bytes, tag: str) -> str | None:
        return self._storage.replace(self._key, data, tag=tag)

    def delete(self) -> None:
        self._storage.delete(self._key)


def is_object_address(where: str) -> bool:
    """Whether it is the address of an object store."""
    return where.partition("://")[0] in OBJECT_SCHEMES and "://" in where


def _split(url: str) -> tuple[str, str]:
    """The address above, and the name."""
    scheme, _, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    if not bucket or any(part in ("", ".", "..") for part in path.split("/") if path):
        raise InvalidInputError(
            f"{url} is no address of an object store; give s3://BUCKET/NAME.zarr, gs:// or az:// "
            "alike"
        )
    above, _, name = path.rpartition("/")
    return f"{scheme}://{bucket}/{above}".rstrip("/"), name


def _connect(url: str) -> Any:
    stores = _obstore("obstore.store")
    options = _TIMES | {"allow_http": _allows_http(url.partition("://")[0])}
    try:
        return stores.from_url(url, client_options=options, retry_config=_RETRIES)
    except (_obstore("obstore.exceptions").BaseError, ValueError) as error:
        raise InvalidInputError(
            f"{url} cannot be used: {_first_words(error)}; see docs/object-stores.md for the "
            "variables of the environment that each store needs"
        ) from error


def _allows_http(scheme: str) -> bool:
    """By the store's own variable, which obstore overlooks when it is given other options."""
    return os.environ.get(f"{_VARIABLES[scheme]}_ALLOW_HTTP", "").lower() in ("1", "true", "yes")


def _obstore(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            "object stores need obstore: run `pip install kdrec[objects]`",
            kind=ErrorKind.MISSING_DEPENDENCY,
        ) from error


def _first_words(error: Exception) -> str:
    """Its first line; what follows is the debug form of the same, over many lines."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line if len(line) <= _MOST_MESSAGE else f"{line[:_MOST_MESSAGE]}.."
