"""One recorder at a time in an object store, where a lock does not die with its process.

A lease is an object that only one can create (`If-None-Match: *`), and that its holder rewrites
again and again (`If-Match`). Who waits takes it over when it has not changed for a while by the
waiter's own clock: no clocks are compared. A holder that cannot rewrite it in time gives up before
another may take over.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        self._stop = threading.Event()

    @contextmanager
    def held(self, *, while_waiting: Callable[[], None]) -> Iterator[bool]:
        """Hold it; gives whether it was taken over from a process that stopped.

        Raises:
            StorageError: The store cannot be reached, or knows no conditions.
        """
        took_over = self._acquire(while_waiting)
        beat = threading.Thread(target=self._keep, name="kdrec-lease", daemon=True)
        beat.start()
        try:
            yield took_over
        finally:
            self._stop.set()
            beat.join()
            if self._is_mine():
                self._place.delete()

    def check(self) -> None:
        """Whether this process may still write.

        Raises:
            ConflictError: It may not: it was silent too long, and another may have begun.
        """
        silent = self._times.clock() - self._renewed
        if self._lost or silent > _SAFE_SHARE * self._times.seconds:
            self._lost = True
            raise ConflictError(
                f"this process lost the lock of {self._where}: it could not renew it for "
                f"{silent:.0f} s, and another recorder may have taken over; run the same command "
                "again to go on"
            )

    def _acquire(self, while_waiting: Callable[[], None]) -> bool:
        if self._took(self._place.create):
            self._check_conditions()
            return False
        seen, since = "", self._times.clock()
        while True:
            stored = self._place.read()
            if stored is None:
                if self._took(self._place.create):
                    return False
                continue
            if stored.tag != seen:
                seen, since = stored.tag, self._times.clock()
            elif self._times.clock() - since > self._times.seconds:
                if self._took(partial(self._place.replace, tag=stored.tag)):
                    return True
                continue
            while_waiting()
            self._stop.wait(self._times.poll)

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

    def _is_mine(self) -> bool:
        if self._lost:
            return False
        try:
            stored = self._place.read()
        except KdrecError:
            return False  # it expires by itself
        return stored is not None and stored.tag == self._tag
