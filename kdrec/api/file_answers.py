"""Sending a stored file in pieces, with a bound on the bytes that are in memory."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from kdrec.api.byte_budget import ByteBudget
from kdrec.api.file_parts import FILE_PARTS, FilePart
from kdrec.api.open_file import OpenFile
from kdrec.api.places import SentFile
from kdrec.api.problems import respond
from kdrec.errors import KdrecError


class FileAnswer(Response):
    """An answer whose body is a part of a stored file.

    Args:
        file: What is sent.
        part: Of the file.
        budget: For the bytes in memory.
        status: 200 or 206.
        headers: Of the answer; the length is added.
    """

    def __init__(
        self,
        file: SentFile,
        part: range,
        *,
        budget: ByteBudget,
        status: HTTPStatus,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(status_code=status, headers={**headers, "Content-Length": str(len(part))})
        self._file = file
        self._part = part
        self._budget = budget
        self._begun = False

    def load_first_piece(self) -> None:
        """Have the disk give it, in the worker thread in which the file was found.

        Raises:
            StorageError: The disk fails, or the file became shorter in its place.
        """
        if isinstance(self._file, OpenFile):
            self._file.load(self._pieces()[0])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._send_pieces(send, by_kernel=FILE_PARTS in scope.get("extensions", {}))
        except KdrecError as error:
            if self._begun:  # too late to say it: the connection ends, and the length tells
                raise
            refusal = respond(Request(scope), error.outcome.http_status, error.kind, str(error))
            await refusal(scope, receive, send)

    async def _send_pieces(self, send: Send, *, by_kernel: bool) -> None:
        for piece in self._pieces():
            if by_kernel and isinstance(self._file, OpenFile):
                await self._file.warm(piece)
                await self._send_piece(send, piece, FilePart(self._file, piece))
                continue
            async with self._budget.taking(len(piece)):
                await self._send_piece(send, piece, await self._file.read(piece))

    def _pieces(self) -> list[range]:
        step = self._file.piece_bytes
        starts = range(self._part.start, self._part.stop, step)
        pieces = [range(start, min(start + step, self._part.stop)) for start in starts]
        return pieces or [self._part]

    async def _send_piece(
        self, send: Send, piece: range, data: bytes | bytearray | FilePart
    ) -> None:
        await self._begin(send)  # only now: what went wrong before could still be told
        more = piece.stop < self._part.stop
        await send({"type": "http.response.body", "body": data, "more_body": more})

    async def _begin(self, send: Send) -> None:
        if not self._begun:
            self._begun = True
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
