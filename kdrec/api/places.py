"""Where recordings can lie, as the service sees it: a folder, or an object store."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from kdrec.api.signature import Signature


class SentFile(Protocol):
    """The bytes of a file as they were when it was opened, whatever takes its place meanwhile."""

    @property
    def piece_bytes(self) -> int:
        """How much of it to read at once."""

    async def read(self, part: range) -> bytes | bytearray:
        """Some bytes, which must exist.

        Raises:
            StorageError: They cannot be read.
        """


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """Where a file of a folder lies.

    Attributes:
        path: With all links resolved.
        below: The same below the served folder, with `/`.
        signature: Of the file there.
        is_near: Whether it lies on a disk of this machine: a look at what was just found there
            does not wait, while a network may keep one waiting for ever.
    """

    path: str
    below: str
    signature: Signature
    is_near: bool

    def is_there(self) -> bool:
        """Whether it still is."""
        try:
            return Signature.of(os.lstat(self.path)) == self.signature
        except OSError:
            return False


class ServedPlace(Protocol):
    """The files of one recording, read only; errors carry its name, never where it lies."""

    @property
    def name(self) -> str:
        """Of the recording."""

    def read(self, key: str) -> bytes:
        """The whole file.

        Raises:
            NotFoundError: There is none.
            StorageError: It cannot be read.
        """

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys of the files below a folder (`ledger/`), sorted."""

    def open(self, key: str) -> tuple[SentFile, int]:
        """A file to send, and its size.

        Raises:
            NotFoundError: There is none.
            IntegrityError: It is no plain file, or a link to elsewhere.
        """

    def place(self, key: str) -> PlacedFile:
        """Where a file lies, for another to send it; asked of folders only.

        Raises:
            NotFoundError: There is none.
            IntegrityError: It is a link to elsewhere.
        """

    def check_contained(self) -> None:
        """Whether it lies where it may.

        Raises:
            NotFoundError: It is a link to elsewhere.
        """

    def signature(self, key: str, *, fresh: bool = False) -> Signature | None:
        """None where there is no such file; a file that cannot be reached is an error.

        Args:
            key: Of the file.
            fresh: Look, even if what was seen a moment ago is still known.
        """

    def signatures(self, folder: str) -> dict[str, Signature]:
        """Of the files directly in a folder, by key; none where there is no such folder."""


class Shelf(Protocol):
    """Everything that is served."""

    def check_readable(self) -> None:
        """Whether it can be listed.

        Raises:
            StorageError: It cannot.
        """

    def names(self) -> list[str]:
        """Names of all recordings, those included that turn out to be damaged.

        Raises:
            StorageError: It cannot be listed.
        """

    def find(self, name: str) -> ServedPlace | None:
        """Where the recording of this name lies, if there is one."""
