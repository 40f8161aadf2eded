"""Which process records which block: claims that lie beside a recording, never in it.

A claim keeps two processes from doing the same work; it is no lock that correctness rests on. Under
one plan two of them would write the same bytes, each file at once. So a claim may be lost, as that
of a machine which was silent for too long is, and the recording stays right.
"""

from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from kdrec.errors import StorageError


class Claim(Protocol):
    """The right of one process to record one block."""

    @property
    def took_over(self) -> bool:
        """Whether another process had it, and died or fell silent."""

    def is_mine(self) -> bool:
        """Whether nobody else may have taken it meanwhile."""

    def release(self) -> None:
        """Give it back; from any thread, and more than once."""


class FileClaim:
    """A claim on a local or shared disk: a locked file, which the system unlocks for the dead."""

    def __init__(self, lock: FileLock, *, took_over: bool) -> None:
        self._lock = lock
        self._took_over = took_over

    @property
    def took_over(self) -> bool:
        return self._took_over

    def is_mine(self) -> bool:
        return self._lock.is_locked

    def release(self) -> None:
        if self._lock.is_locked:
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()


def claim_file(path: Path) -> FileClaim | None:
    """Claim what a file stands for; None while another process has it.

    Raises:
        StorageError: The folder cannot be written, or its disk knows no locks.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        left = path.exists()
        lock = FileLock(path, thread_local=False)  # taken by one thread, given back by another
        lock.acquire(blocking=False)
    except Timeout:
        return None
    except OSError as error:
        raise StorageError(
            f"{path} cannot be locked: {error.strerror or error}; several recorders need a disk "
            "with file locks (mount NFS with them), or an object store"
        ) from error
    return FileClaim(lock, took_over=left)
