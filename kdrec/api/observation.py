"""What every request leaves behind: an id, a line in the log, numbers, headers that protect."""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kdrec.api.metrics import RequestMetrics
from kdrec.api.problems import on_bug

REQUEST_ID = "X-Request-ID"
request_id: ContextVar[str] = ContextVar("request_id", default="")
_REQUEST_ID = REQUEST_ID.lower().encode()
_KNOWN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_POLICY = b"content-security-policy"
_DELEGATED = b"x-accel-redirect"
_TOKEN_NAME = b"x-kdrec-token-name"  # for the line in nginx's log; nginx does not pass it on
_PROTECTING = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
# The documentation page loads its program from a fixed place; everything else loads nothing.
_NOTHING = b"default-src 'none'; frame-ancestors 'none'"
_DOCUMENTATION = (
    b"default-src 'none'; connect-src 'self'; frame-ancestors 'none'; "
    b"img-src 'self' data: https://fastapi.tiangolo.com; "
    b"script-src 'unsafe-inline' https://cdn.jsdelivr.net; style-src https://cdn.jsdelivr.net"
)
_logger = logging.getLogger("kdrec.access")


class Observation:
    """Watches requests go by.

    Args:
        app: The rest of the service.
        metrics: Where they are counted.
        ids: Of requests.
        clock: Seconds that never run backwards.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: RequestMetrics,
        ids: "RequestIds",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._ids = ids
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identifier = self._ids.of(scope["headers"])
        request_id.set(identifier)
        seen = _Seen(scope, send, identifier)
        started = self._clock()
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, seen.send)
        except Exception as error:
            if not seen.has_begun:
                problem = await on_bug(Request(scope), error)
                await problem(scope, receive, seen.send)
            raise  # for the log
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, seen, self._clock() - started)

    def _note(self, scope: Scope, seen: "_Seen", seconds: float) -> None:
        route = _route(scope)
        kind = scope.get("kdrec.kind", "")
        self._metrics.count(
            route, scope["method"], seen.status, sent=seen.num_bytes, seconds=seconds, kind=kind
        )
        if not seen.is_delegated and _logger.isEnabledFor(logging.INFO):
            # The path alone: what is in a query is nobody's business, tokens put there by mistake.
            client = scope.get("client")
            _logger.info(
                "%s %s %d", scope["method"], scope["path"].encode("unicode_escape").decode(),
                seen.status,
                extra={
                    "request_id": seen.identifier, "method": scope["method"],
                    "path": scope["path"], "route": route, "status": seen.status,
                    "bytes": seen.num_bytes, "seconds": round(seconds, 6), "kind": kind,
                    "token": scope.get("kdrec.token", ""), "client": client[0] if client else "",
                },
            )  # fmt: skip


class _Seen:
    """One answer as it passes."""

    def __init__(self, scope: Scope, send: Send, identifier: str) -> None:
        self.identifier = identifier
        self.status = 500  # of an answer that never began
        self.has_begun = False
        self.num_bytes = 0
        self.is_delegated = False  # to nginx, which knows when it is sent, and has a line for it
        self._scope = scope
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.has_begun = message["status"], True
            self.is_delegated = any(name == _DELEGATED for name, _ in message["headers"])
            added = added_fields(
                self.identifier,
                policy=_DOCUMENTATION if self._scope["path"] == "/docs" else _NOTHING,
                delegated_by=self._scope.get("kdrec.token", "") if self.is_delegated else None,
            )
            message["headers"] = [*message["headers"], *added]
        else:
            self.num_bytes += len(message.get("body", b""))
        await self._send(message)


class RequestIds:
    """Ids of requests: what they bring, or some digits of this process and a number."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(4)
        self._numbers = itertools.count()

    def of(self, fields: Iterable[tuple[bytes, bytes]]) -> str:
        """The id of the request with these headers."""
        brought = next((value for name, value in fields if name == _REQUEST_ID), b"")
        if _KNOWN_ID.fullmatch(brought):
            return brought.decode()
        return f"{self._process}{next(self._numbers):08x}"


def added_fields(
    identifier: str, *, policy: bytes = _NOTHING, delegated_by: str | None = None
) -> Iterator[tuple[bytes, bytes]]:
    """What every answer has in its head.

    Args:
        identifier: Of the request.
        policy: What a browser may load.
        delegated_by: Name of the token, where nginx sends the file and has the line in the log.
    """
    yield _REQUEST_ID, identifier.encode()
    yield from _PROTECTING
    yield _POLICY, policy
    if delegated_by is not None:
        yield _TOKEN_NAME, delegated_by.encode()


def _route(scope: Scope) -> str:
    """The pattern that was asked for: there are few of them, and infinitely many paths."""
    found = scope.get("kdrec.route") or getattr(scope.get("route"), "path_format", None)
    return found if isinstance(found, str) else "none"
