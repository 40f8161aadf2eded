"""How many bytes of answers may be in memory at once."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kdrec.errors import ErrorKind, ServiceError


class ByteBudget:
    """Bytes that are lent in the order in which they were asked for.

    Args:
        limit: Bytes that may be lent at once; a single loan above it has them all to itself.
        patience: Seconds to wait for a loan.
    """

    def __init__(self, limit: int, *, patience: float) -> None:
        self._limit = limit
        self._patience = patience
        self._lent = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def lent(self) -> int:
        """Bytes that are lent now."""
        return self._lent

    @asynccontextmanager
    async def taking(self, amount: int) -> AsyncIterator[None]:
        """Borrow some bytes for the length of a block.

        Raises:
            ServiceError: None were free in time; the one who asks may come again.
        """
        amount = min(amount, self._limit)
        if self._queue or self._lent + amount > self._limit:
            await self._wait(amount)
        else:
            self._lent += amount
        try:
            yield
        finally:
            self._lent -= amount
            self._lend()

    async def _wait(self, amount: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((amount, turn))
        granted = False
        try:
            await asyncio.wait_for(turn, self._patience)
            granted = True
        except TimeoutError as error:
            raise ServiceError(
                f"{self._limit} bytes of answers are on their way already, the most this service "
                "keeps in memory; ask again later",
                kind=ErrorKind.OVERLOADED,
            ) from error
        finally:
            if not granted:
                self._withdraw(amount, turn)

    def _withdraw(self, amount: int, turn: asyncio.Future[None]) -> None:
        """For one who leaves, maybe in the moment in which the loan was made."""
        if (amount, turn) in self._queue:
            self._queue.remove((amount, turn))
        elif turn.done() and not turn.cancelled():
            self._lent -= amount
        self._lend()

    def _lend(self) -> None:
        while self._queue and self._lent + self._queue[0][0] <= self._limit:
            amount, turn = self._queue.popleft()
            if not turn.done():
                self._lent += amount
                turn.set_result(None)
