"""Which requests are let in: sizes, and how many at once."""

from http import HTTPStatus

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from kdrec.api.problems import respond
from kdrec.errors import ErrorKind

MAX_PATH_BYTES = 1024
MAX_QUERY_BYTES = 16 * 1024
MAX_BODY_BYTES = 0
_ALWAYS = "/healthz"  # a busy process is alive


class Admission:
    """Refuses what is too long, and what would be too many at once.

    Args:
        app: The rest of the service.
        max_requests: Under way at once.
    """

    def __init__(self, app: ASGIApp, *, max_requests: int) -> None:
        self._app = app
        self._max_requests = max_requests
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = _refusal(scope) or self._crowded(scope)
        self._under_way += 1
        try:
            await (refusal or self._app)(scope, receive, send)
        finally:
            self._under_way -= 1

    def _crowded(self, scope: Scope) -> Response | None:
        if self._under_way < self._max_requests or scope["path"] == _ALWAYS:
            return None
        detail = (
            f"{self._max_requests} requests are under way already, the most this worker takes; "
            "ask again later"
        )
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return respond(Request(scope), status, ErrorKind.OVERLOADED, detail)


def _refusal(scope: Scope) -> Response | None:
    """For a request of which a part is too long."""
    parts = (
        (
            "path",
            len(scope.get("raw_path") or b""),
            MAX_PATH_BYTES,
            HTTPStatus.REQUEST_URI_TOO_LONG,
        ),
        ("query", len(scope["query_string"]), MAX_QUERY_BYTES, HTTPStatus.REQUEST_URI_TOO_LONG),
        ("body", _body_size(scope), MAX_BODY_BYTES, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    )
    for noun, size, limit, status in parts:
        if size > limit:
            detail = f"the {noun} has {size} bytes; allowed are {limit}"
            refusal = respond(Request(scope), status, ErrorKind.INVALID_INPUT, detail)
            refusal.headers["Connection"] = "close"  # so that the rest of it is not read
            return refusal
    return None


def _body_size(scope: Scope) -> int:
    """As announced; without an announcement one byte stands for all."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 1
        if name == b"transfer-encoding":
            return 1
    return 0
