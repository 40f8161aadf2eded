"""Small JSON files that notice their own damage: ledger entries and the seal.

A document is `{"body": ..., "sha256": digest of the canonical body}`, written in one canonical
form; on reading, the bytes must be that form again, so that no changed byte goes unnoticed, white
space included.
"""

import hashlib
from typing import Any

from pydantic_core import from_json, to_json

from kdrec.errors import IntegrityError


def sha256(data: bytes) -> str:
    """Digest in hexadecimal, as everywhere in a recording."""
    return hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> bytes:
    """The one form in which a value is written: sorted keys, one space indent, UTF-8, newline.

    Args:
        value: Of maps, lists, text, whole numbers, true, false and null.

    Raises:
        ValueError: There is a fraction in it, which has several forms.
    """
    # json.dumps is ten times slower once it indents; a seal may list very many files.
    return to_json(_sorted(value), indent=1) + b"\n"


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    if isinstance(value, float):
        raise ValueError(f"a document holds whole numbers, got {value}")
    return value


def seal_document(body: Any) -> bytes:
    """The bytes of the document with this body."""
    text = canonical(body)
    # No text of JSON holds a bare line feed: what is a level deeper is indented by one more.
    inner = text[:-1].replace(b"\n", b"\n ")
    return b'{\n "body": %b,\n "sha256": "%b"\n}\n' % (inner, sha256(text).encode())


def body_digest(body: Any) -> str:
    """The digest that stands in the document."""
    return sha256(canonical(body))


def open_document(data: bytes, *, where: str, remedy: str) -> Any:
    """The body of a document.

    Args:
        data: The bytes of the file.
        where: Name of the file, for the error.
        remedy: What to do about damage, for the error.

    Raises:
        IntegrityError: A byte was changed, or it is no such document.
    """
    try:
        document = from_json(data)
        body, digest = document["body"], document["sha256"]
        intact = data == seal_document(body)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(f"{where} is damaged: {error}; {remedy}") from error
    if not intact:
        raise IntegrityError(
            f"{where} is damaged: it does not match the digest {str(digest)[:12]}.. in it; {remedy}"
        )
    return body
