"""HTTP on a connection, as uvicorn has it, and the news that the service stops."""

import asyncio
import logging
from typing import Any, ClassVar

from fastapi import Request
from uvicorn.protocols.http.h11_impl import H11Protocol

_STOPPING = "kdrec_stopping"
_logger = logging.getLogger(__name__)


class OrderlyProtocol(H11Protocol):
    """Tells the requests of a worker when it begins to stop.

    uvicorn waits for answers under way, but tells the application only when all are done: one that
    waits for something to happen would hold the stop up.

    Attributes:
        stall_seconds: After which a client that takes nothing is cut off.
    """

    stall_seconds: ClassVar[float] = 60.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app_state.setdefault(_STOPPING, asyncio.Event())
        self._stalled: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        """The client does not take what is sent: give it some time, then cut it off.

        uvicorn would wait for ever, with a part of the answer in memory.
        """
        super().pause_writing()
        self._stop_waiting()
        loop = asyncio.get_running_loop()
        self._stalled = loop.call_later(self.stall_seconds, self._cut_off)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _cut_off(self) -> None:
        _logger.warning("a client took nothing of its answer for too long and was cut off")
        self.transport.abort()

    def _stop_waiting(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def shutdown(self) -> None:
        self.app_state[_STOPPING].set()
        super().shutdown()


def is_stopping(request: Request) -> bool:
    """Whether the worker that answers is about to stop."""
    event = request.scope.get("state", {}).get(_STOPPING)
    return isinstance(event, asyncio.Event) and event.is_set()
