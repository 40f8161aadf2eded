"""One recorder at a time: a lock beside the recording, which dies with the process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_POLL_SECONDS = 1.0


@contextmanager
def recording_lock(path: Path, *, while_waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the recording at `path` for writing.

    Args:
        path: Of the recording, which need not exist.
        while_waiting: Called every second while another process holds it; may raise.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    while True:
        try:
            lock.acquire(timeout=_POLL_SECONDS)
            break
        except Timeout:
            while_waiting()
    try:
        yield
    finally:
        lock.release()
