"""A lock between the threads of a process, that a fork or a pickle renews."""

import os
import threading
from types import TracebackType


class ProcessLock:
    """A reentrant lock.

    A thread that held it when the process was forked does not exist in the child, which would wait
    for it for ever: there it is a new one.
    """

    def __init__(self) -> None:
        self._renew()

    def __getstate__(self) -> dict[str, object]:
        return {}

    def __setstate__(self, state: dict[str, object]) -> None:
        self._renew()

    def _renew(self) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        if self._process != os.getpid():
            self._renew()
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()
