"""The short way to a file: no framework, and hardly a disk if it was found sound a moment ago.

It gives what the route gives, or leaves the request to it.
"""

import re

from anyio import to_thread
from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from kdrec.api.access import VisibleCatalog
from kdrec.api.byte_answers import answer_file, answer_found
from kdrec.api.hot_files import DelegatedFile
from kdrec.api.names import RecordingAddress
from kdrec.api.state import ServiceState
from kdrec.api.tokens import Grant
from kdrec.errors import KdrecError

FILE_ROUTE = "/v1/recordings/{name}/zarr/{key}"
FILE_PATH = re.compile(r"/v1/recordings/([A-Za-z0-9._@-]+)/zarr/([A-Za-z0-9._/-]+)")
_CONDITIONS = frozenset({b"if-match", b"if-none-match", b"if-range"})
CONDITIONS_OF_DELEGATED = _CONDITIONS | {b"if-unmodified-since", b"range"}
"""Headers with which the web server in front may not be the one that answers."""


class HotPath:
    """Answers for files, and passes everything else on.

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
            scope["kdrec.route"] = FILE_ROUTE
        await (answer or self._app)(scope, receive, send)
        self._state.hot_files.sweep_later()

    async def _answer(self, scope: Scope) -> Response | None:
        match = FILE_PATH.fullmatch(scope["path"]) if scope["method"] == "GET" else None
        if match is None:
            return None
        request = Request(scope)
        try:
            grant = self._state.grant(request.headers.get("authorization"))
            scope["kdrec.token"] = grant.name  # for the log
            name, key = match.groups()
            return await self._hot(request, name, key, grant) or await to_thread.run_sync(
                self._recalled, request, name, key, grant
            )
        except (KdrecError, HTTPException):
            return None  # the route says it

    async def _hot(self, request: Request, name: str, key: str, grant: Grant) -> Response | None:
        found = self._state.hot_files.get(name, key)
        if found is None:
            return None
        is_delegated = isinstance(found, DelegatedFile)
        conditions = CONDITIONS_OF_DELEGATED if is_delegated else _CONDITIONS
        if any(field in conditions for field, _ in request.headers.raw):
            return None
        if not grant.may_read(name.partition("@")[0]):
            return None
        if not await self._state.hot_files.is_sound(found):
            return None
        return answer_found(request, found, budget=self._state.budget)

    def _recalled(self, request: Request, name: str, key: str, grant: Grant) -> Response:
        catalog = VisibleCatalog(self._state.catalog, grant)
        recording = catalog.recall(RecordingAddress.parse(name))
        return answer_file(request, recording, key, state=self._state, address=name)
