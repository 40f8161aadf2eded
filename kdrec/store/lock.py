"""A lock beside the recording, which dies with the process.

One process holds it alone, to begin, seal, repair or convert; recorders at work share it.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from kdrec.errors import InvalidInputError, StorageError

_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who holds a recording for writing.

    Attributes:
        took_over: Whether the lock was that of a process which stopped without giving it back. A
            local lock dies with its process, so this is known of object stores only.
    """

    took_over: bool = False


@contextmanager
def recording_lock(path: Path, *, while_waiting: Callable[[], None]) -> Iterator[LockHolder]:
    """Hold the recording at `path` for writing.

    Args:
        path: Of the recording, which need not exist.
        while_waiting: Called every second while another process holds it; may raise.

    Raises:
        InvalidInputError: There is a file in its place, or above it.
        StorageError: The folder cannot be written.
    """
    lock = FileLock(_lock_file(path))
    while True:
        try:
            lock.acquire(timeout=_POLL_SECONDS)
            break
        except Timeout:
            while_waiting()
        except OSError as error:
            raise _no_lock(path, error) from error
    try:
        yield LockHolder()
    finally:
        lock.release()


@contextmanager
def shared_recording_lock(path: Path, *, while_waiting: Callable[[], None]) -> Iterator[None]:
    """Keep out who wants the recording at `path` alone, together with others who do the same.

    Args:
        path: Of the recording.
        while_waiting: Called every second while another process holds it alone; may raise.

    Raises:
        StorageError: The folder cannot be written.
    """
    lock_file = _lock_file(path)
    try:
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _no_lock(path, error) from error
    try:
        while not _shares(descriptor, path):
            while_waiting()
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)  # which gives it back


def _shares(descriptor: int, path: Path) -> bool:
    # The call that filelock makes, of the other kind: it has no shared lock of plain files.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise _no_lock(path, error) from error
    return True


def _lock_file(path: Path) -> Path:
    path = path.resolve()  # one lock, by whatever name the folder is called
    if path.is_file():
        raise InvalidInputError(f"{path} is a file; give the name of a folder: NAME.zarr")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"{path.parent} cannot be a folder: {error.strerror}") from error
    return path.with_name(f".{path.name}.lock")


def _no_lock(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path.parent} takes no lock: {error.strerror or error}; it must be a folder that can be "
        "written"
    )
