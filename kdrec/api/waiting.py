"""Looks at the disk, one for all who wait for the same.

The disk is asked again and again, because it is all that several workers, a web server in front and
a recorder on another machine have in common: no notification crosses a network file system.
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from anyio import to_thread

Seen = TypeVar("Seen")


class SharedLooks(Generic[Seen]):
    """Looks at things, at each no more often than every `interval` seconds.

    Args:
        interval: Seconds before a look.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._pending: dict[Hashable, asyncio.Task[Seen]] = {}

    async def next(self, thing: Hashable, look: Callable[[], Seen]) -> Seen:
        """What the next look at something sees.

        Args:
            thing: Who asks for the same meanwhile shares the look.
            look: Runs in a worker thread; what it raises, all who share it get.
        """
        if thing not in self._pending:
            self._pending[thing] = asyncio.create_task(self._look(thing, look))
            self._pending[thing].add_done_callback(_note_error)
        # Shielded: one who leaves must not take the look away from the others.
        return await asyncio.shield(self._pending[thing])

    async def _look(self, thing: Hashable, look: Callable[[], Seen]) -> Seen:
        try:
            await asyncio.sleep(self._interval)
        finally:
            del self._pending[thing]
        return await to_thread.run_sync(look)


def _note_error(task: asyncio.Task[Seen]) -> None:
    """All who waited may have left: asyncio would complain that nobody asked for the error."""
    if not task.cancelled():
        task.exception()
