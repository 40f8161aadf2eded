"""Conditional requests of RFC 9110, section 13, on strong entity tags."""

import re

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def entity_tag(sha256: str) -> str:
    """The strong tag of bytes with this digest."""
    return f'"{sha256}"'


def lists_tag(header: str, tag: str, *, weak: bool) -> bool:
    """Whether `If-Match` or `If-None-Match` has a tag.

    Args:
        header: Tags separated by commas, or `*` for any.
        tag: A strong tag.
        weak: Whether a weak tag of the same text counts: it does for `If-None-Match` only.
    """
    if header.strip() == "*":
        return True
    return any(text == tag and (weak or not mark) for mark, text in _TAG.findall(header))


def range_applies(if_range: str | None, tag: str) -> bool:
    """Whether a range may be answered under this `If-Range`; a date never matches a tag."""
    return if_range is None or if_range.strip() == tag
