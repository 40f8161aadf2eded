"""The short way to a file that was found sound a moment ago: no framework, and hardly a disk.

It gives what the route gives, or leaves the request to it.
"""

import re

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from kdrec.api.byte_answers import answer_found
from kdrec.api.state import ServiceState
from kdrec.errors import KdrecError

_FILE = re.compile(r"/v1/recordings/([A-Za-z0-9._@-]+)/zarr/([A-Za-z0-9._/-]+)")
_CONDITIONS = frozenset({b"if-match", b"if-none-match", b"if-range"})


class HotPath:
    """Answers for hot files, and passes everything else on.

    Args:
        app: The rest of the service.
        state: Of the service.
    """

    def __init__(self, app: ASGIApp, *, state: ServiceState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await self._answer(scope) if scope["type"] == "http" else None
        if answer is not None:
            scope["kdrec.route"] = "/v1/recordings/{name}/zarr/{key}"
        await (answer or self._app)(scope, receive, send)
        self._state.hot_files.sweep_later()

    async def _answer(self, scope: Scope) -> Response | None:
        match = _FILE.fullmatch(scope["path"]) if scope["method"] == "GET" else None
        if match is None or any(name in _CONDITIONS for name, _ in scope["headers"]):
            return None
        found = self._state.hot_files.get(match[1], match[2])
        if found is None:
            return None
        request = Request(scope)
        try:
            grant = self._state.grant(request)
            if not grant.may_read(match[1].partition("@")[0]):
                return None
            scope["kdrec.token"] = grant.name
            if await self._state.hot_files.is_sound(found):
                return answer_found(request, found, budget=self._state.budget)
        except (KdrecError, HTTPException):
            pass  # the route says it
        return None
