"""Following a recording that grows: when it is worth to look again."""

import math
import time
from collections.abc import Callable
from typing import Protocol

from kdrec.client.transport import HttpTransport, TaggedBytes, Transport

# Below the time after which a client gives up on a silent server.
_WAIT_SECONDS = 20
# A server that does not know `wait` answers at once.
_PAUSE_SECONDS = 1.0


class GrowthWatch(Protocol):
    """Waits until a recording has grown."""

    def wait(self, *, at_most: float = math.inf) -> None:
        """Return when it has grown since the call before, or after some seconds.

        Args:
            at_most: No more than so many seconds.
        """


class ChangeSource(Protocol):
    """Answers only what is new; `HttpTransport` does."""

    def get_unless(self, path: str, *, tag: str) -> TaggedBytes | None:
        """See `HttpTransport.get_unless`."""


class LedgerWatch:
    """Lets the server answer when its ledger changes.

    Args:
        source: Below it, `ledger` is the ledger.
        sleep: Pauses; a test may pass its own.
    """

    def __init__(
        self, source: ChangeSource, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._source = source
        self._sleep = sleep
        self._tag = ""

    def wait(self, *, at_most: float = math.inf) -> None:
        seconds = min(_WAIT_SECONDS, at_most)
        newer = self._source.get_unless(f"ledger?wait={seconds:.3f}", tag=self._tag)
        if newer is not None and newer.tag != self._tag:
            self._tag = newer.tag
        else:
            self._sleep(min(_PAUSE_SECONDS, at_most))


class SteadyWatch:
    """Looks again every second, where nothing tells of changes: a folder, a bucket.

    Args:
        sleep: Pauses; a test may pass its own.
    """

    def __init__(self, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep

    def wait(self, *, at_most: float = math.inf) -> None:
        self._sleep(min(_PAUSE_SECONDS, at_most))


def watch_of(transport: Transport) -> GrowthWatch:
    """The watch that goes with a transport."""
    if isinstance(transport, HttpTransport):
        return LedgerWatch(transport)
    return SteadyWatch()
