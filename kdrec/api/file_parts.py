"""Parts of files as bodies of answers, sent by the kernel without passing through this process."""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import Any, TypeAlias

from kdrec.api.open_file import OpenFile
from kdrec.errors import StorageError

# In `scope["extensions"]` of a server that takes a `FilePart` where ASGI has bytes. ASGI's own
# `zerocopysend` is another kind of message, which uvicorn refuses; of this one it needs the length.
FILE_PARTS = "kdrec.file_parts"
_COPIED_BYTES = 16 * 1024
_GIVEN_BYTES = 256 * 1024
_Bytes: TypeAlias = bytes | bytearray | memoryview
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FilePart:
    """Some bytes of a file that are in the page cache; it has a length, as bytes have."""

    file: OpenFile
    part: range

    def __len__(self) -> int:
        return len(self.part)


class FileSendingTransport:
    """A transport that also writes parts of files.

    What a socket does not take at once waits here, as parts and not as bytes. A few bytes of it are
    given to the transport beneath, which tells when the socket has taken them: whoever is told so
    calls `go_on`. That transport must hold back nothing without saying so, or bytes would overtake
    each other: its buffer limit is 0.

    Args:
        transport: The one beneath, which does everything else.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(high=0)
        self._transport = transport
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._waiting: deque[_Bytes | FilePart] = deque()
        self._closes = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: _Bytes | FilePart) -> None:
        """Send now or later, after all that was written before; nothing once it is to close."""
        if self._closes:
            return
        self._waiting.append(data)
        self.go_on()

    def go_on(self) -> bool:
        """Send what waits, as far as the socket takes it.

        Returns:
            Whether nothing is left.
        """
        try:
            while self._waiting and self._takes_more():
                self._send(self._waiting.popleft())
        except StorageError as error:  # too late to say it: the connection ends, the length tells
            _logger.error("%s", error)
            self._waiting.clear()
            self._transport.abort()
        if self._closes and not self._waiting:
            # Not now: asyncio may be about to say that it has sent all, and would close it again.
            asyncio.get_running_loop().call_soon(self._transport.close)
        return not self._waiting and not self._transport.get_write_buffer_size()

    def _takes_more(self) -> bool:
        if self._transport.is_closing():  # the client has left
            self._waiting.clear()
            return False
        return not self._transport.get_write_buffer_size()

    def _send(self, data: _Bytes | FilePart) -> None:
        if not isinstance(data, FilePart):
            # The transport beneath copies what the socket does not take: of a document that many
            # slow clients get, it shall not be all.
            rest_of_data = memoryview(data)[_GIVEN_BYTES:]
            if rest_of_data:
                self._waiting.appendleft(rest_of_data)
            self._transport.write(memoryview(data)[:_GIVEN_BYTES])
            return
        rest = data.part[data.file.send(data.part, to=self._descriptor) :]
        if rest:
            copied, later = rest[:_COPIED_BYTES], rest[_COPIED_BYTES:]
            if later:
                self._waiting.appendleft(FilePart(data.file, later))
            self._transport.write(data.file.read_now(copied))

    def close(self) -> None:
        """Close when all is sent."""
        self._closes = True
        self.go_on()

    def is_closing(self) -> bool:
        """Whether it takes no more."""
        return self._closes or self._transport.is_closing()
