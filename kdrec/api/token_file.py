"""The file of token hashes: read again when it changes, changed by `kdrec token`."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from kdrec.api.signature import Signature
from kdrec.api.tokens import TokenEntry
from kdrec.errors import (
    AlreadyExistsError,
    InvalidInputError,
    KdrecError,
    NotFoundError,
    StorageError,
)

_HEADING = "# Tokens of kdrec serve: NAME SHA256 PATTERN...; see `kdrec token --help`\n"
_OWNER_ONLY = 0o600
_logger = logging.getLogger(__name__)


class TokenFile:
    """Hashes of tokens, one a line; `#` begins a comment.

    Args:
        path: Of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: Signature | None = None
        self._current: tuple[TokenEntry, ...] = ()

    def check(self) -> None:
        """Whether every line can be read, for the start of a service.

        Raises:
            NotFoundError: There is no such file.
            InvalidInputError: A line is none; names it.
            StorageError: The file cannot be read.
        """
        for number, line in self._lines():
            _parse(self._path, number, line)

    def current(self) -> tuple[TokenEntry, ...]:
        """The entries as the file is now.

        A running service fails closed: a line that cannot be read, or a file that is gone, grants
        nothing, and the log says so; the other lines count.
        """
        with self._lock:
            signature = self._signature()
            if signature is None or signature != self._seen:
                self._current = tuple(self._readable())
                self._seen = signature
            return self._current

    def add(self, entry: TokenEntry) -> None:
        """Append an entry; makes the file.

        Raises:
            AlreadyExistsError: There is one of this name.
            StorageError: The file cannot be written.
        """
        with self._changing() as lines:
            if any(_name(line) == entry.name for line in lines):
                raise AlreadyExistsError(
                    f"{self._path} has a token {entry.name}; give another --name, or "
                    f"`kdrec token revoke {entry.name}` first"
                )
            lines.append(f"{entry.line}\n")

    def remove(self, name: str) -> None:
        """Remove the entry of this name.

        Raises:
            NotFoundError: There is none.
            StorageError: The file cannot be written.
        """
        with self._changing() as lines:
            kept = [line for line in lines if _name(line) != name]
            if len(kept) == len(lines):
                raise NotFoundError(
                    f"{self._path} has no token {name}; `kdrec token list` shows them"
                )
            lines[:] = kept

    def _readable(self) -> Iterator[TokenEntry]:
        try:
            for number, line in self._lines():
                try:
                    yield _parse(self._path, number, line)
                except InvalidInputError as error:
                    _logger.error("a token is not usable: %s", error)
        except KdrecError as error:
            _logger.error("no token is usable: %s", error)

    def _lines(self) -> Iterator[tuple[int, str]]:
        try:
            text = self._path.read_text()
        except FileNotFoundError as error:
            raise NotFoundError(
                f"no token file {self._path}; make one by `kdrec token new`"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise StorageError(f"token file {self._path} cannot be read: {reason}") from error
        for number, line in enumerate(text.splitlines(), start=1):
            content = line.partition("#")[0].strip()
            if content:
                yield number, content

    def _signature(self) -> Signature | None:
        try:
            return Signature.of(self._path.stat())
        except OSError:
            return None  # reading it says why

    @contextmanager
    def _changing(self) -> Iterator[list[str]]:
        """The lines, to be changed; they replace the file at once: no reader sees a part."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._path.with_name(f".{self._path.name}.lock")):
                there = self._path.exists()
                lines = self._path.read_text().splitlines(keepends=True) if there else [_HEADING]
                yield lines
                self._replace("".join(_ended(line) for line in lines))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            raise StorageError(f"token file {self._path} cannot be changed: {reason}") from error

    def _replace(self, text: str) -> None:
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        temporary.touch(mode=_OWNER_ONLY)
        if self._path.exists():
            before = self._path.stat()
            with suppress(PermissionError):  # only root may give files away, and may have to:
                os.chown(temporary, before.st_uid, before.st_gid)  # the service's user reads it
            temporary.chmod(before.st_mode & 0o777)
        temporary.write_text(text)
        temporary.replace(self._path)


def _parse(path: Path, number: int, line: str) -> TokenEntry:
    try:
        return TokenEntry.parse(line)
    except InvalidInputError as error:
        raise InvalidInputError(f"line {number} of {path}: {error}") from error


def _name(line: str) -> str:
    return line.partition("#")[0].strip().partition(" ")[0]


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n"
