"""Where the files of a recording lie: a seam of four calls, and the local disk behind it.

Keys are relative POSIX paths, as Zarr has them. A write is atomic (temporary file, then rename) and
durable (file and folder are flushed) before it returns: what a ledger entry lists is on the disk.
"""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from kdrec.errors import NotFoundError, StorageError

_TEMPORARY = ".tmp"


class ReadableStorage(Protocol):
    """Files by key. Implementations turn every failure into an error of `kdrec.errors`."""

    def read(self, key: str) -> bytes:
        """The whole file.

        Raises:
            NotFoundError: There is none.
            StorageError: It cannot be read; this is never reported as absent.
        """

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys of the finished files below a folder (`ledger/`), sorted."""


class Storage(ReadableStorage, Protocol):
    """Files by key that can be written too."""

    def write(self, key: str, data: bytes) -> None:
        """Replace the file atomically and durably."""

    def delete(self, key: str) -> None:
        """Remove the file; no error where there is none."""


class LocalStorage:
    """A folder on a local or shared disk.

    Args:
        root: The folder; made by the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, key: str) -> bytes:
        with _translated(self.root / key):
            return (self.root / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        path = self.root / key
        temporary = path.with_name(
            f".{path.name}.{os.getpid()}-{threading.get_ident()}{_TEMPORARY}"
        )
        with _translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            _flush_folders(path.parent, self.root)

    def delete(self, key: str) -> None:
        with _translated(self.root / key):
            (self.root / key).unlink(missing_ok=True)

    def keys(self, prefix: str = "") -> Iterator[str]:
        with _translated(self.root / prefix):
            found = [p for p in (self.root / prefix).rglob("*") if p.is_file()]
        finished = (p for p in found if not p.name.endswith(_TEMPORARY))
        yield from sorted(p.relative_to(self.root).as_posix() for p in finished)

    def remove_unfinished(self) -> None:
        """Remove the temporary files that a killed process left; call it holding the lock."""
        with _translated(self.root):
            for path in self.root.rglob(f".*{_TEMPORARY}"):
                path.unlink(missing_ok=True)


def _flush_folders(folder: Path, root: Path) -> None:
    """Flush the folder entry of a new file, and those of the folders made for it."""
    while True:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if folder in (root, folder.parent):
            return
        folder = folder.parent


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"no file {path}") from error
    except OSError as error:
        hint = "; free some space and run the same command again" if _is_full(error) else ""
        raise StorageError(f"{path}: {error.strerror or error}{hint}") from error


def _is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
