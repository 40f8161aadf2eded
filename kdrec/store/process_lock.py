"""A lock between the threads of a process, that a fork or a pickle renews."""

import os
import threading
import weakref
from types import TracebackType


class ProcessLock:
    """A reentrant lock.

    A thread that held it when the process was forked does not exist in the child, which would wait
    for it for ever: there it is a new one. It is renewed before the child runs anything: renewed by
    the first of its threads to come, it could be taken in its old and its new form at once.
    """

    def __init__(self) -> None:
        self.renew()
        _LOCKS.add(self)

    def __getstate__(self) -> dict[str, object]:
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.renew()
        _LOCKS.add(self)

    def renew(self) -> None:
        """Make it one that nobody holds."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()


_LOCKS: weakref.WeakSet[ProcessLock] = weakref.WeakSet()


def _renew_all() -> None:
    for lock in _LOCKS:
        lock.renew()


os.register_at_fork(after_in_child=_renew_all)
