"""A stored file that is being sent: read without waiting where its bytes are in memory."""

import os
import weakref
from collections.abc import Iterator
from functools import cache

from anyio import to_thread

from kdrec.errors import StorageError

SENDS_FILES = hasattr(os, "sendfile") and hasattr(os, "preadv")
PIECE_BYTES = 2**20  # smaller ones cost more than they save, larger ones are all in memory
# A read that would wait for the disk fails instead. Not everywhere (macOS), nor on every file
# system (tmpfs): there a worker thread reads.
_NO_WAIT = getattr(os, "RWF_NOWAIT", None)
_SCRATCH_BYTES = 64 * 1024
_PIECES_AHEAD = 8


class OpenFile:
    """A file of a folder; see `SentFile`.

    It is closed when nothing refers to it any more: answers that are being sent keep it.

    Args:
        descriptor: Belongs to this object from now on.
        where: Name of the file, for errors.
    """

    def __init__(self, descriptor: int, *, where: str) -> None:
        self._descriptor = descriptor
        self._where = where
        self._warm: set[range] = set()
        weakref.finalize(self, os.close, descriptor)

    def status(self) -> os.stat_result:
        """Size, kind and the rest."""
        return os.fstat(self._descriptor)

    @property
    def piece_bytes(self) -> int:
        return PIECE_BYTES

    async def read(self, part: range) -> bytes | bytearray:
        """Some bytes, which must exist.

        In the event loop where they are in the page cache, which is several times faster than to
        hand them from another thread; a cold disk keeps only a worker thread waiting.

        Raises:
            StorageError: The disk fails, or the file became shorter in its place.
        """
        data = _read_cached(self._descriptor, part)
        return await to_thread.run_sync(self.read_now, part) if data is None else data

    async def warm(self, part: range) -> None:
        """Have some bytes, which must exist, in the page cache: sending them waits for no disk.

        Raises:
            StorageError: The disk fails, or the file became shorter in its place.
        """
        if part not in self._warm and not _is_cached(self._descriptor, part):
            await to_thread.run_sync(self.load, part)
        self._warm.add(part)

    def load(self, part: range) -> None:
        """What `warm` does; waits for the disk."""
        if part not in self._warm:
            self._load(part)
            self._warm.add(part)

    def _load(self, part: range) -> None:
        # While these are sent, the disk may go on; after the last piece, a shorter one, there is
        # nothing to go on with, and to be told so costs twice what reading it does.
        if len(part) == PIECE_BYTES and hasattr(os, "posix_fadvise"):
            ahead = _PIECES_AHEAD * PIECE_BYTES
            os.posix_fadvise(self._descriptor, part.start, ahead, os.POSIX_FADV_WILLNEED)
        try:
            found = _bring_in(self._descriptor, part)
        except OSError as error:
            raise StorageError(f"{self._where} cannot be read: {error.strerror}") from error
        if found < len(part):
            raise StorageError(f"{self._where} was cut off while it was sent; ask again")

    def send(self, part: range, *, to: int) -> int:
        """Let the kernel send some bytes to a socket, as many as it takes without waiting.

        Only after `warm`: a cold part would keep the event loop waiting for the disk.

        Returns:
            How many it took; none where something is wrong, which writing to it will tell.
        """
        sent = 0
        try:
            while sent < len(part):
                taken = os.sendfile(to, self._descriptor, part.start + sent, len(part) - sent)
                if not taken:
                    break
                sent += taken
        except OSError:
            pass
        return sent

    def read_now(self, part: range) -> bytes:
        """Some bytes, which must exist; waits for the disk; raises as `read` does."""
        try:
            data = b"".join(_pieces(self._descriptor, part))
        except OSError as error:
            raise StorageError(f"{self._where} cannot be read: {error.strerror}") from error
        if len(data) != len(part):
            raise StorageError(f"{self._where} was cut off while it was sent; ask again")
        return data


def _is_cached(descriptor: int, part: range) -> bool:
    if _NO_WAIT is None:
        return False
    try:
        return _scan(descriptor, part, _NO_WAIT) == len(part)
    except OSError:  # as in `_read_cached`
        return False


def _bring_in(descriptor: int, part: range) -> int:
    """Have bytes read from the disk.

    Returns:
        How many there are.
    """
    try:
        return _drop(descriptor, part)
    except OSError:  # not everywhere can bytes be dropped; a disk that fails says so once more
        return _scan(descriptor, part)


def _drop(descriptor: int, part: range) -> int:
    """Send bytes nowhere: the kernel waits for the disk and copies nothing."""
    found = 0
    while found < len(part):
        got = os.sendfile(_nowhere(), descriptor, part.start + found, len(part) - found)
        if not got:
            break
        found += got
    return found


@cache
def _nowhere() -> int:
    """A descriptor that this process keeps: what is written to it is gone."""
    return os.open(os.devnull, os.O_WRONLY)


def _scan(descriptor: int, part: range, flags: int = 0) -> int:
    """Read bytes that nobody wants, into a buffer that stays in the processor's cache.

    Returns:
        How many there are.
    """
    scratch = memoryview(bytearray(min(_SCRATCH_BYTES, len(part))))
    found = 0
    while found < len(part):
        rest = len(part) - found
        # The same buffer again and again in one call: a thread that comes back from each piece
        # would wait for the interpreter each time.
        buffers = [scratch] * (rest // len(scratch)) or [scratch[:rest]]
        got = os.preadv(descriptor, buffers, part.start + found, flags)
        if not got:
            break
        found += got
    return found


def _read_cached(descriptor: int, part: range) -> bytearray | None:
    if _NO_WAIT is None:
        return None
    buffer, found = bytearray(len(part)), 0
    try:
        while found < len(part):  # one call may give less than is cached
            rest = memoryview(buffer)[found:]
            got = os.preadv(descriptor, [rest], part.start + found, _NO_WAIT)
            if not got:
                return None
            found += got
    except OSError:  # not cached, or not supported; if the disk fails, the thread says so
        return None
    return buffer


def _pieces(descriptor: int, part: range) -> Iterator[bytes]:
    position = part.start
    while position < part.stop:
        piece = os.pread(descriptor, part.stop - position, position)
        if not piece:
            return
        yield piece
        position += len(piece)
