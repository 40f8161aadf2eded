"""SIGTERM, as schedulers and torchrun send it, ends a command as Ctrl-C does, and in seconds."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ABANDON_SECONDS = 15.0
"""Half of what Kubernetes, Slurm and torchrun give a process that they told to stop."""
_STOPS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def terminated_like_interrupted(
    *, abandon: Callable[[], None], seconds: float = ABANDON_SECONDS
) -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGTERM within the block; outside the main thread, do nothing.

    Python hears of a signal between two of its instructions only, and a call into a store that
    does not answer, or a GPU that hangs, may be none for minutes. Then the process ends as if it
    was killed.

    Args:
        abandon: Called when the block has not ended this long after a signal; says so.
        seconds: After the first signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended = threading.Event()
    heard, told = socket.socketpair()
    told.setblocking(False)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    waker = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(
        target=_watch, args=(heard, ended, abandon, seconds), name="kdrec-signals", daemon=True
    )
    watch.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGTERM, before)
        told.close()  # which ends the watch
        watch.join()
        heard.close()


def _watch(
    heard: socket.socket, ended: threading.Event, abandon: Callable[[], None], seconds: float
) -> None:
    while numbers := heard.recv(64):
        if not set(numbers) & set(map(int, _STOPS)):
            continue
        if not ended.wait(seconds):
            abandon()
            os._exit(1)
        return
