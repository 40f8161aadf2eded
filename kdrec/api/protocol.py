"""HTTP on a connection as uvicorn has it; bounded heads, the kernel sends files, orderly stops."""

import asyncio
import logging
from typing import Any, ClassVar, cast

from fastapi import Request
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kdrec.api.file_parts import FILE_PARTS, FileSendingTransport
from kdrec.api.open_file import SENDS_FILES
from kdrec.api.permissions import Permissions
from kdrec.errors import InvalidInputError

_STOPPING = "kdrec_stopping"
_MOST_HEAD_BYTES = 64 * 1024
# Of one connection that asks again before it has its answers; each takes some memory meanwhile.
_MOST_PIPELINED = 128
_logger = logging.getLogger(__name__)


class OrderlyProtocol(HttpToolsProtocol):
    """Refuses endless heads, cuts off who takes nothing, and tells requests that the worker stops.

    uvicorn's fast parser takes a head of any length. And uvicorn waits for answers under way, but
    tells the application only when all are done: one that waits for something to happen would hold
    the stop up.

    Attributes:
        stall_seconds: After which a client that takes nothing is cut off.
    """

    stall_seconds: ClassVar[float] = 60.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app_state.setdefault(_STOPPING, asyncio.Event())
        self._head_limit = self.config.h11_max_incomplete_event_size or _MOST_HEAD_BYTES
        self._permissions = _permissions_of(self.app)
        self._in_head = False
        self._field_bytes = 0
        self._unfinished_bytes = 0
        self._begun = 0
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._files = FileSendingTransport(transport)
        super().connection_made(cast(asyncio.Transport, self._files))

    def data_received(self, data: bytes) -> None:
        goes_on, self._begun = self._in_head, 0
        super().data_received(data)
        # The parser may keep a field of any length to itself until that ends.
        if self._begun == int(not goes_on):
            self._unfinished_bytes += len(data)
        if self._in_head and self._unfinished_bytes > self._head_limit:
            self.send_400_response(self._refusal())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {FILE_PARTS: {}} if SENDS_FILES else {}
        self._in_head, self._field_bytes, self._unfinished_bytes = True, 0, 0
        self._begun += 1
        if len(self.pipeline) > _MOST_PIPELINED:  # the connection is ended
            raise InvalidInputError(f"{_MOST_PIPELINED} requests may wait for their answers")

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        if not self._answer_at_once():
            # An answer at once, to what came just before, has set that timer again.
            self._unset_keepalive_if_required()
            super().on_headers_complete()

    def _answer_at_once(self) -> bool:
        """Answer what needs no waiting, unless an earlier answer of this connection does."""
        is_next = self.cycle is None or self.cycle.response_complete
        if self._permissions is None or not is_next or self.flow.write_paused:
            return False
        if self.parser.get_http_version() != "1.1" or not self.parser.should_keep_alive():
            return False
        found = self._permissions.answer(self.parser.get_method(), self.url, self.headers)
        if found is None:
            return False
        fields = (b"%s: %s\r\n" % field for field in (*self.server_state.default_headers, *found))
        self.transport.write(b"HTTP/1.1 200 OK\r\n%s\r\n" % b"".join(fields))
        self.on_response_complete()
        return True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.pipeline:  # no more is read while there is enough to answer
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        if self.cycle is not None:  # so far all was answered at once
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; in the middle of an answer there is no place to say so."""
        cycle = self.cycle
        is_answering = cycle is not None and cycle.response_started and not cycle.response_complete
        if is_answering or self.pipeline:
            self.transport.abort()
        else:
            super().send_400_response(msg)

    def _count(self, num_bytes: int) -> None:
        self._field_bytes += num_bytes
        if self._field_bytes > self._head_limit:  # the parser answers 400
            raise InvalidInputError(self._refusal())

    def _refusal(self) -> str:
        return f"the head of a request may have {self._head_limit} bytes"

    def pause_writing(self) -> None:
        """The client does not take what is sent: give it some time, then cut it off.

        uvicorn would wait for ever, with a part of the answer in memory.
        """
        super().pause_writing()
        self._stop_waiting()
        loop = asyncio.get_running_loop()
        self._stalled = loop.call_later(self.stall_seconds, self._cut_off)

    def resume_writing(self) -> None:
        self._stop_waiting()
        if self._files.go_on():
            super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._files.go_on()  # lets go of the files that were to be sent
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


def _permissions_of(app: Any) -> Permissions | None:
    while isinstance(app, ProxyHeadersMiddleware):
        app = app.app
    found = getattr(app, "permissions", None)
    assert found is None or isinstance(found, Permissions)
    return found


def is_stopping(request: Request) -> bool:
    """Whether the worker that answers is about to stop."""
    event = request.scope.get("state", {}).get(_STOPPING)
    return isinstance(event, asyncio.Event) and event.is_set()
