"""The files of one recording, read only; errors carry its name and never a path of the server."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kdrec.api.open_file import OpenFile
from kdrec.api.places import PlacedFile
from kdrec.api.signature import Signature
from kdrec.errors import IntegrityError, KdrecError, NotFoundError, StorageError
from kdrec.store import LocalStorage

# No link in the last place, and no waiting for the other end of a pipe.
_READ_ONLY = (
    os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
)


class ServedFolder:
    """A recording in a folder; see `ServedPlace`.

    Args:
        path: The folder.
        name: Of the recording, for errors.
        within: Nothing outside this folder is read, whatever links and keys say; resolved.
    """

    def __init__(self, path: Path, *, name: str, within: Path) -> None:
        self.name = name
        self._path = path
        self._inside = os.path.join(within, "")  # noqa: PTH118 - a text that paths begin with

    def read(self, key: str) -> bytes:
        opened, size = self.open(key)
        return opened.read_now(range(size))

    def open(self, key: str) -> tuple[OpenFile, int]:
        path = self._contained(key)
        with self._named(key):
            opened = OpenFile(os.open(path, _READ_ONLY), where=f"{key} of {self.name}")
            status = opened.status()
        if not stat.S_ISREG(status.st_mode):
            raise IntegrityError(f"{key} of {self.name} is no plain file; put a copy in its place")
        return opened, status.st_size

    def place(self, key: str) -> PlacedFile:
        path = self._contained(key)
        with self._named(key):
            status = os.lstat(path)
        below = path.removeprefix(self._inside)
        return PlacedFile(path, below, Signature.of(status), is_near=_is_near(status))

    def check_contained(self) -> None:
        if not self._is_contained(_resolved(str(self._path))):
            raise NotFoundError(
                f"recording {self.name} leads out of the folder that is served; "
                "put a copy in the place of the link"
            )

    def keys(self, prefix: str = "") -> Iterator[str]:
        with self._named(prefix):
            yield from LocalStorage(self._path).keys(prefix)

    def signature(self, key: str, *, fresh: bool = False) -> Signature | None:
        try:
            return Signature.of(os.stat(f"{self._path}/{key}"))  # noqa: PTH116 - asked very often
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._unreadable(key, error) from error

    def signatures(self, folder: str) -> dict[str, Signature]:
        try:
            with self._named(folder), os.scandir(self._path / folder) as entries:
                return dict(_visible_files(folder, entries))
        except NotFoundError:
            return {}

    def _contained(self, key: str) -> str:
        real = _resolved(f"{self._path}/{key}")
        if not self._is_contained(real):  # not "not found": a seal would pass for one to come
            raise IntegrityError(
                f"{key} of {self.name} leads out of the folder that is served; "
                "put a copy in the place of the link"
            )
        return real

    def _is_contained(self, real: str) -> bool:
        return f"{real}/".startswith(self._inside)

    @contextmanager
    def _named(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"{self.name} has no file {key}") from error
        except (OSError, KdrecError) as error:
            reason = error if isinstance(error, OSError) else error.__cause__
            raise self._unreadable(key, reason) from error

    def _unreadable(self, key: str, reason: BaseException | None) -> StorageError:
        return StorageError(
            f"{key} of {self.name} cannot be read: "
            f"{getattr(reason, 'strerror', None) or type(reason).__name__}; try again, then "
            "look at the server's disk"
        )


def _resolved(path: str) -> str:
    """`os.path.realpath` by one look of the kernel instead of one a folder, where it tells."""
    if hasattr(os, "O_PATH"):
        with suppress(OSError):  # no such file, or no /proc
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)  # opens no device and no pipe
            try:
                real = os.readlink(f"/proc/self/fd/{handle}")  # noqa: PTH115 - asked very often
            finally:
                os.close(handle)
            if not real.endswith(" (deleted)"):
                return real
    return os.path.realpath(path)


def _is_near(status: os.stat_result) -> bool:
    """Whether a file lies on a block device; what has none, a network's, has the major number 0."""
    return hasattr(os, "major") and os.major(status.st_dev) != 0


def _visible_files(
    folder: str, entries: Iterator[os.DirEntry[str]]
) -> Iterator[tuple[str, Signature]]:
    """Without hidden ones, which are being written, and those that vanish while we look."""
    for entry in entries:
        if not entry.name.startswith("."):
            with suppress(FileNotFoundError):
                yield f"{folder}/{entry.name}", Signature.of(entry.stat())
