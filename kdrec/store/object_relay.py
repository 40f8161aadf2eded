"""A process that reads an object store for a forked one.

obstore's threads do not survive a fork, and its calls then wait for ever: a loader's worker that
was forked after the store was used reads through a fresh process of its own.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

from kdrec.errors import ErrorKind, NotFoundError, StorageError

OK = "ok"
_PROGRAM = "kdrec.store.object_reading"  # apart, because a package must not import what it runs


@dataclass(slots=True)
class _Runtime:
    """Whether this process has used obstore, and whether it was forked since."""

    used: bool = False
    lost: bool = False


_runtime = _Runtime()


def note_use() -> None:
    """Say that this process uses obstore now."""
    _runtime.used = True


def was_forked_after_use() -> bool:
    """Whether obstore's threads are lost to this process."""
    return _runtime.lost


def _note_fork() -> None:
    _runtime.lost = _runtime.lost or _runtime.used


os.register_at_fork(after_in_child=_note_fork)


class Relay:
    """The process, seen from the one that asks; it ends when that one does.

    Args:
        url: Of the recording.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._connection, theirs = multiprocessing.Pipe()
        command = [sys.executable, "-m", _PROGRAM, url, str(theirs.fileno())]
        process = subprocess.Popen(  # noqa: S603 - this program itself
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
        theirs.close()
        weakref.finalize(self, _end, self._connection, process)

    def is_mine(self) -> bool:
        """Whether this process started it; two that share one would mix their answers."""
        return self._owner == os.getpid()

    def read(self, key: str) -> bytes:
        """As of a storage."""
        return self._ask("read", key)

    def keys(self, prefix: str) -> Iterator[str]:
        """As of a storage."""
        yield from json.loads(self._ask("keys", prefix))

    def _ask(self, call: str, key: str) -> bytes:
        try:
            with self._lock:
                self._connection.send_bytes(json.dumps([call, key]).encode())
                verdict = self._connection.recv_bytes().decode()
                answer = self._connection.recv_bytes()
        except (OSError, EOFError) as error:
            raise StorageError(
                f"{self._url}/{key}: the process that reads the store for this one has ended; "
                "run the same command again"
            ) from error
        if verdict == OK:
            return answer
        if verdict == ErrorKind.NOT_FOUND:
            raise NotFoundError(answer.decode())
        raise StorageError(answer.decode())


def _end(connection: Connection, process: subprocess.Popen[bytes]) -> None:
    connection.close()  # upon which it ends
    process.wait()
