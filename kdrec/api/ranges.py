"""Byte ranges of RFC 9110, section 14."""

import re
import sys

_SINGLE_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)
_MANY_DIGITS = 18


def requested_part(header: str | None, size: int) -> range | None:
    """The bytes that a `Range` header asks for.

    Args:
        header: As received.
        size: Of the whole.

    Returns:
        None for the whole: no header, another unit, several ranges, or one that is malformed, all
        of which a server may ignore. An empty range where nothing of it exists.
    """
    match = _SINGLE_RANGE.fullmatch(header or "")
    if match is None or size == 0:
        return None
    first, last = match.groups()
    if not first:
        return range(size - min(_number(last), size), size) if last else None
    stop = _number(last) + 1 if last else size
    if stop <= _number(first):
        return None if last else range(size, size)
    return range(min(_number(first), size), min(stop, size))


def content_range(part: range, size: int) -> str:
    """The `Content-Range` of an answer; of a refusal, if the part is empty."""
    return f"bytes {part.start}-{part.stop - 1}/{size}" if part else f"bytes */{size}"


def _number(digits: str) -> int:
    """Python refuses to convert thousands of digits, and no file is that large."""
    return int(digits) if len(digits) <= _MANY_DIGITS else sys.maxsize
