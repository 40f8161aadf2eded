"""One recorder at a time: a lock beside the recording, which dies with the process."""

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
    path = path.resolve()  # one lock, by whatever name the folder is called
    if path.is_file():
        raise InvalidInputError(f"{path} is a file; give the name of a folder: NAME.zarr")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"{path.parent} cannot be a folder: {error.strerror}") from error
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    while True:
        try:
            lock.acquire(timeout=_POLL_SECONDS)
            break
        except Timeout:
            while_waiting()
        except OSError as error:
            raise StorageError(
                f"{path.parent} takes no lock: {error.strerror or error}; it must be a folder that "
                "can be written"
            ) from error
    try:
        yield LockHolder()
    finally:
        lock.release()
