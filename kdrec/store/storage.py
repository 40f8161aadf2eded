"""Where the files of a recording lie: a seam of few calls, and the local disk behind it.

Keys are relative POSIX paths, as Zarr has them. A write is atomic (temporary file, then rename) and
durable (file and folder are flushed) before it returns: what a ledger entry lists is on the disk.
"""

import errno
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from kdrec.errors import IntegrityError, NotFoundError, StorageError
from kdrec.store.claims import Claim, claim_file
from kdrec.store.lock import LockHolder, recording_lock, shared_recording_lock

_TEMPORARY = ".tmp"
_TEMPORARY_NAME = re.compile(r"\..+\.\d+-\d+\.tmp")


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

    def size(self, key: str) -> int:
        """Bytes of the file.

        Raises:
            NotFoundError: There is none.
        """

    def delete(self, key: str) -> None:
        """Remove the file; no error where there is none."""


class RecordingPlace(Storage, Protocol):
    """Files of a recording that one process writes, or several that share its blocks.

    Attributes:
        stale_after: Seconds after which a lock that shows no life is a dead process's; 0 where it
            dies with its process.
    """

    @property
    def stale_after(self) -> float: ...

    def lock(self, *, while_waiting: Callable[[], None]) -> AbstractContextManager[LockHolder]:
        """Hold the recording alone; see `kdrec.store.recording_lock`."""

    def joined(self, *, while_waiting: Callable[[], None]) -> AbstractContextManager[None]:
        """Be one of those who record here, each the blocks that it claims."""

    def claim(self, name: str) -> Claim | None:
        """Claim a block; None while another process has it."""

    def remove_claims(self) -> None:
        """Remove claims that the dead left; call it holding the lock, with no block missing."""

    def remove_unfinished(self) -> list[str]:
        """Remove what a killed process left half written; call it holding the lock.

        Returns:
            Keys of what was removed.
        """


def check_key(key: str) -> None:
    """Whether it is a key of a recording.

    Raises:
        IntegrityError: It would lead out of the recording; a list of files that names it is not
            one of kdrec's.
    """
    parts = key.split("/")
    if "\\" in key or "\0" in key or any(part in ("", ".", "..") for part in parts):
        raise IntegrityError(f"{key!r} is no key of a recording; do not trust where it is from")


class LocalStorage:
    """A folder on a local or shared disk.

    Args:
        root: The folder; made by the first write.
    """

    stale_after = 0.0

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """The file of a key.

        Raises:
            IntegrityError: The key would lead out of the folder; a list of files that names it is
                not one of kdrec's.
        """
        check_key(key)
        return self.root / key

    def has(self, key: str) -> bool:
        """Whether the file is there."""
        return self.path(key).is_file()

    def read(self, key: str) -> bytes:
        path = self.path(key)
        self._check_contained(path)
        with _translated(path):
            if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait for ever
                raise StorageError(f"{path} is no file; look at where the recording is from")
            return path.read_bytes()

    def write(self, key: str, data: bytes, *, durable: bool = True) -> None:
        """Replace the file atomically.

        Args:
            key: Of the file.
            data: All of it.
            durable: Whether it is on the disk before this returns. Without, what a power cut leaves
                may be torn: for files whose digest is checked whenever they are read, and that can
                be had again.
        """
        path = self.path(key)
        self._check_contained(path.parent)  # a link in its own place is replaced, not followed
        temporary = path.with_name(
            f".{path.name}.{os.getpid()}-{threading.get_ident()}{_TEMPORARY}"
        )
        with _translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    file.write(data)
                    file.flush()
                    if durable:
                        os.fsync(file.fileno())
                temporary.replace(path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            if durable:
                _flush_folders(path.parent, self.root)

    def _check_contained(self, path: Path) -> None:
        """Whether no link leads out of the folder.

        Raises:
            IntegrityError: One does: an archive may have brought it.
        """
        if not _has_link(self.root, path):
            return  # the whole check costs more than reading a small file
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.root)):
            raise IntegrityError(
                f"{path} leads out of {self.root} by a link; put a copy in the place of the link"
            )

    def size(self, key: str) -> int:
        path = self.path(key)
        self._check_contained(path)
        with _translated(path):
            return path.stat().st_size

    def delete(self, key: str) -> None:
        path = self.path(key)
        self._check_contained(path.parent)
        with _translated(path):
            path.unlink(missing_ok=True)

    def remove_empty_folders(self, key: str) -> None:
        """Remove those folders of a deleted file that hold nothing; while nobody writes to them.

        Args:
            key: Of the file.
        """
        for folder in self.path(key).parents:
            if folder == self.root or not _removed(folder):
                break

    def keys(self, prefix: str = "") -> Iterator[str]:
        with _translated(self.root / prefix):
            found = [
                f"{folder}{name}"
                for folder, names in _walk(self.root, prefix)
                for name in names
                if not is_temporary(name)
            ]
        yield from sorted(found)

    def lock(self, *, while_waiting: Callable[[], None]) -> AbstractContextManager[LockHolder]:
        return recording_lock(self.root, while_waiting=while_waiting)

    def joined(self, *, while_waiting: Callable[[], None]) -> AbstractContextManager[None]:
        return shared_recording_lock(self.root, while_waiting=while_waiting)

    def claim(self, name: str) -> Claim | None:
        return claim_file(self._claims() / name)

    def remove_claims(self) -> None:
        with _translated(self._claims()), suppress(FileNotFoundError):
            for path in self._claims().iterdir():
                path.unlink(missing_ok=True)
            self._claims().rmdir()

    def _claims(self) -> Path:
        root = self.root.resolve()
        return root.with_name(f".{root.name}.claims")

    def remove_unfinished(self) -> list[str]:
        with _translated(self.root):
            found = [p for p in self.root.rglob(f".*{_TEMPORARY}") if is_temporary(p.name)]
            for path in found:
                path.unlink(missing_ok=True)
        return sorted(path.relative_to(self.root).as_posix() for path in found)


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that was being written."""
    return _TEMPORARY_NAME.fullmatch(name) is not None


def _removed(folder: Path) -> bool:
    """Whether an empty folder is gone now; one that holds something stays."""
    try:
        folder.rmdir()
    except OSError:
        return not folder.exists()
    return True


def _has_link(root: Path, path: Path) -> bool:
    """Whether anything from below the root to the path is a link."""
    place = root
    for part in path.relative_to(root).parts:
        place /= part
        if place.is_symlink():
            return True
    return False


def _walk(root: Path, prefix: str) -> Iterator[tuple[str, list[str]]]:
    """The folders below, as prefixes of keys, and the files in each."""
    start = os.path.join(root, prefix)  # noqa: PTH118 - a text that begins with the root's, "." too
    for folder, _, names in os.walk(start, onerror=_raise_unless_absent):
        key = folder[len(str(root)) :].replace(os.sep, "/").strip("/")
        yield (f"{key}/" if key else ""), names


def _raise_unless_absent(error: OSError) -> None:
    """A folder that is not there holds nothing; one that cannot be read is no such folder."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


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
