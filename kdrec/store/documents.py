"""Small JSON files that notice their own damage: ledger entries and the seal.

A document is `{"body": ..., "sha256": digest of the canonical body}`, written in one canonical
form; on reading, the bytes must be that form again, so that no changed byte goes unnoticed, white
space included.
"""

import hashlib
import json
from typing import Any

from kdrec.errors import IntegrityError


def sha256(data: bytes) -> str:
    """Digest in hexadecimal, as everywhere in a recording."""
    return hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> bytes:
    """The one form in which a value is written: sorted keys, one space indent, UTF-8, newline."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def seal_document(body: Any) -> bytes:
    """The bytes of the document with this body."""
    return canonical({"body": body, "sha256": body_digest(body)})


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
        document = json.loads(data)
        body, digest = document["body"], document["sha256"]
        intact = digest == body_digest(body) and data == seal_document(body)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IntegrityError(f"{where} is damaged: {error}; {remedy}") from error
    if not intact:
        raise IntegrityError(
            f"{where} is damaged: it does not match the digest {str(digest)[:12]}.. in it; {remedy}"
        )
    return body
