"""Waiting for a file to change, with one look at the disk for all who wait for the same.

The disk is asked again and again, because it is all that several workers, and a recorder on
another machine, have in common: no notification crosses a network file system.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from anyio import to_thread

Seen = TypeVar("Seen")


class SharedLooks(Generic[Seen]):
    """Looks at things by name, each no more often than every `interval` seconds.

    Args:
        interval: Seconds before a look.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._pending: dict[str, asyncio.Task[Seen]] = {}

    async def next(self, name: str, look: Callable[[], Seen]) -> Seen:
        """What the next look at `name` sees.

        Args:
            name: Of the thing; who asks for the same name meanwhile shares the look.
            look: Runs in a worker thread; what it raises, all who share it get.
        """
        if name not in self._pending:
            self._pending[name] = asyncio.create_task(self._look(name, look))
            self._pending[name].add_done_callback(_note_error)
        # Shielded: one who leaves must not take the look away from the others.
        return await asyncio.shield(self._pending[name])

    async def _look(self, name: str, look: Callable[[], Seen]) -> Seen:
        try:
            await asyncio.sleep(self._interval)
        finally:
            del self._pending[name]
        return await to_thread.run_sync(look)


def _note_error(task: asyncio.Task[Seen]) -> None:
    """All who waited may have left: asyncio would complain that nobody asked for the error."""
    if not task.cancelled():
        task.exception()
