"""A lock or a claim in an object store, where it does not die with its process.

A lease is an object that only one can create (`If-None-Match: *`), and that its holder rewrites
again and again (`If-Match`). Who waits takes it over when it has not changed for a while by the
waiter's own clock: no clocks are compared. A holder that cannot rewrite it in time gives up before
another may take over.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from kdrec.errors import ConflictError, KdrecError, StorageError

LEASE_SECONDS = 30.0
_POLL_SECONDS = 1.0
_BEATS = 5  # in the time after which a silent lease is taken over
_SAFE_SHARE = 0.6  # of that time; the holder stops writing then, well before another may begin


@dataclass(frozen=True, slots=True)
class Stored:
    """An object and the tag of its content."""

    data: bytes
    tag: str


class ConditionalObject(Protocol):
    """One object that is written under a condition; every write gives the new tag."""

    def read(self) -> Stored | None:
        """None where there is none."""

    def create(self, data: bytes) -> str | None:
        """Write it where there is none; None where there is one."""

    def replace(self, data: bytes, tag: str) -> str | None:
        """Write it where it still has this tag; None where it has not."""

    def delete(self) -> None:
        """Remove it; no error where there is none."""


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long things take; a test may want them shorter.

    Attributes:
        seconds: After which a lease that nobody rewrites is taken over.
        poll: Between two looks of who waits.
        clock: Monotonic seconds.
    """

    seconds: float = LEASE_SECONDS
    poll: float = _POLL_SECONDS
    clock: Callable[[], float] = time.monotonic


class Lease:
    """The right to write, held by one process.

    Args:
        place: The object.
        where: Of the recording, for errors.
        times: See there.
    """

    def __init__(self, place: ConditionalObject, *, where: str, times: LeaseTimes) -> None:
        self._place = place
        self._where = where
        self._times = times
        self._holder = secrets.token_hex(8)
        self._beats = 0
        self._tag = ""
        self._renewed = 0.0
        self._lost = False
        self._took_over = False
        self._seen, self._since = "", 0.0  # the last tag of another holder, and since when it is
        self._stop = threading.Event()
        self._beat: threading.Thread | None = None

    @property
    def took_over(self) -> bool:
        """Whether another process had it and fell silent."""
        return self._took_over

    @contextmanager
    def held(self, *, while_waiting: Callable[[], None]) -> Iterator[bool]:
        """Hold it; gives whether it was taken over from a process that stopped.

        Raises:
            StorageError: The store cannot be reached, or knows no conditions.
        """
        while not self.attempt():
            while_waiting()
            self._stop.wait(self._times.poll)
        try:
            if not self._took_over:
                self._check_conditions()
            yield self._took_over
        finally:
            self.release()

    def attempt(self) -> bool:
        """Look once, and hold it if it is free or was silent for too long since the first look.

        Raises:
            StorageError: The store cannot be reached.
        """
        self._took_over = False
        if self._took(self._place.create):
            return self._begin()
        stored = self._place.read()
        now = self._times.clock()
        if stored is None:
            return self._took(self._place.create) and self._begin()
        if stored.tag != self._seen:
            self._seen, self._since = stored.tag, now
        elif now - self._since > self._times.seconds:
            self._took_over = self._took(partial(self._place.replace, tag=stored.tag))
            return self._took_over and self._begin()
        return False

    def release(self) -> None:
        """Give it back; from any thread, and more than once."""
        if self._beat is None:
            return
        self._stop.set()
        self._beat.join()
        self._beat = None
        if self._still_stored():
            with suppress(StorageError):  # it expires by itself
                self._place.delete()

    def is_mine(self) -> bool:
        """Whether this process may still write."""
        silent = self._times.clock() - self._renewed
        self._lost |= silent > _SAFE_SHARE * self._times.seconds
        return not self._lost

    def check(self) -> None:
        """Whether this process may still write.

        Raises:
            ConflictError: It may not: it was silent too long, and another may have begun.
        """
        if not self.is_mine():
            silent = self._times.clock() - self._renewed
            raise ConflictError(
                f"this process lost the lock of {self._where}: it could not renew it for "
                f"{silent:.0f} s, and another recorder may have taken over; run the same command "
                "again to go on"
            )

    def _begin(self) -> bool:
        """Renew it from now on; true, for the callers."""
        self._beat = threading.Thread(target=self._keep, name="kdrec-lease", daemon=True)
        self._beat.start()
        return True

    def _check_conditions(self) -> None:
        """A store that ignores conditions would let two recorders write at once."""
        if self._place.create(b"a second holder\n") is not None:
            self._place.delete()
            raise StorageError(
                f"the store of {self._where} ignores conditional writes (If-None-Match: *), so two "
                "recorders could harm each other; use a store that knows them, or record to a "
                "folder and copy it there"
            )

    def _keep(self) -> None:
        while not self._stop.wait(self._times.seconds / (2 * _BEATS)):
            try:
                if not self._took(partial(self._place.replace, tag=self._tag)):
                    self._lost = True
                    return
            except KdrecError:
                continue  # `check` notices when this lasts too long

    def _took(self, write: Callable[[bytes], str | None]) -> bool:
        """Write the next content; a write that was done though its answer was lost counts too."""
        begun = self._times.clock()  # before: who waits may see it long before the answer is here
        content = f"{self._holder} {self._beats}\n".encode()
        tag = write(content)
        if tag is None:
            stored = self._place.read()
            if stored is None or stored.data != content:
                return False
            tag = stored.tag
        self._tag, self._renewed = tag, begun
        self._beats += 1
        return True

    def _still_stored(self) -> bool:
        if self._lost:
            return False
        try:
            stored = self._place.read()
        except KdrecError:
            return False  # it expires by itself
        return stored is not None and stored.tag == self._tag
