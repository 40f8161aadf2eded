"""Following a recording that grows: when it is worth to look again, and until a view is there."""

import math
import time
from collections.abc import Callable
from typing import Protocol

from kdrec.client.transport import HttpTransport, TaggedBytes, Transport, is_away
from kdrec.errors import KdrecError
from kdrec.store import Block, RecordingReader

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


class ViewFollower:
    """Waits until views of a running recording are complete.

    Args:
        reader: Of the recording.
        watch: Tells when it has grown.
        on_wait: Told once, before it waits, for what.
    """

    def __init__(
        self,
        reader: RecordingReader,
        *,
        watch: GrowthWatch,
        on_wait: Callable[[str], None] | None,
    ) -> None:
        self._reader = reader
        self._watch = watch
        self._on_wait = on_wait
        self._told = ""

    def wait_for(self, view: int, *, timeout: float) -> None:
        """See `Recording.wait_for`."""
        self._told = ""
        deadline = time.monotonic() + timeout
        while not self._is_complete(view, deadline):
            pass

    def _is_complete(self, view: int, deadline: float) -> bool:
        """Whether a view is; if not, after the recording has had some time to grow."""
        left = max(0.0, deadline - time.monotonic())
        try:
            missing = self._missing(view)
            if not missing:
                return True
            if self._reader.identity is not None or not left:
                self._reader.entry(missing[0])  # raises, unless it has just come
            self._tell("view", lambda: f"waiting for view {view} {self._progress()}", left)
            self._watch.wait(at_most=left)
            self._reader.refresh()
        except KdrecError as error:
            if not left or not is_away(error):
                raise
            reason = str(error)
            self._tell("away", lambda: f"{reason}; trying again", left)
            SteadyWatch().wait(at_most=left)
        return False

    def _missing(self, view: int) -> list[Block]:
        grid, committed = self._reader.grid, set(self._reader.committed())
        wanted = (grid.block(view // grid.group, part) for part in range(grid.num_parts))
        return [block for block in wanted if block not in committed]

    def _progress(self) -> str:
        here, total = len(self._reader.committed()), len(self._reader.grid)
        return f"of {self._reader.where}: {here} of {total} blocks are recorded;"

    def _tell(self, subject: str, message: Callable[[], str], seconds: float) -> None:
        if self._on_wait is not None and self._told != subject:
            self._on_wait(f"{message()} {_patience(seconds)}")
        self._told = subject


def _patience(seconds: float) -> str:
    return "until it comes" if math.isinf(seconds) else f"for {math.ceil(seconds)} seconds at most"
