"""HTTP on a connection, as uvicorn has it, and the news that the service stops."""

import asyncio
from typing import Any

from fastapi import Request
from uvicorn.protocols.http.h11_impl import H11Protocol

_STOPPING = "kdrec_stopping"


class OrderlyProtocol(H11Protocol):
    """Tells the requests of a worker when it begins to stop.

    uvicorn waits for answers under way, but tells the application only when all are done: one that
    waits for something to happen would hold the stop up.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app_state.setdefault(_STOPPING, asyncio.Event())

    def shutdown(self) -> None:
        self.app_state[_STOPPING].set()
        super().shutdown()


def is_stopping(request: Request) -> bool:
    """Whether the worker that answers is about to stop."""
    event = request.scope.get("state", {}).get(_STOPPING)
    return isinstance(event, asyncio.Event) and event.is_set()
