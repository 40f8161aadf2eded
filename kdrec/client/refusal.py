"""Refusing a recording that another process writes."""

import time
from collections.abc import Callable

from kdrec.errors import ConflictError
from kdrec.store import RecordingPlace


class WriterRefusal:
    """Raises while another process writes; for `RecordingPlace.lock`.

    At once where a lock dies with its process. In an object store the lease may be a dead one's:
    only in time can that be told, and it is then taken over.

    Args:
        place: That is to be locked.
        where: Its name, for the error.
        clock: Monotonic seconds.
    """

    def __init__(
        self, place: RecordingPlace, *, where: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._where = where
        self._patience = 2 * place.stale_after
        self._clock = clock
        self._since = clock()

    def __call__(self) -> None:
        """Called while another process holds the lock.

        Raises:
            ConflictError: It is alive.
        """
        if self._clock() - self._since >= self._patience:
            raise ConflictError(
                f"{self._where} is being written by another process; let it finish, then run the "
                "same command again"
            )
