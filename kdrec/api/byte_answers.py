"""Stored bytes as answers: whole, in part, not modified, refused."""

from http import HTTPStatus
from urllib.parse import quote

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from kdrec.api.conditions import entity_tag, lists_tag, range_applies
from kdrec.api.ranges import content_range, requested_part
from kdrec.api.recording import Document, ListedFile, ServedRecording


def answer_file(
    request: Request,
    recording: ServedRecording,
    file: Document | ListedFile,
    *,
    caching: str,
    accel_prefix: str | None = None,
) -> Response:
    """The answer to GET or HEAD of a file of a recording, after its conditions.

    Args:
        request: Its method and headers count.
        recording: Reads the file, unless nothing of it is needed.
        file: What is asked for.
        caching: The `Cache-Control` of the answer.
        accel_prefix: Where the web server in front has the served folder; None if nothing is in
            front that would send the file.

    Raises:
        HTTPException: A condition fails, or nothing of the range exists.
    """
    size = file.digest.size
    headers = _validators(file, caching)
    if not is_modified(request, file):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    headers |= {"Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff"}
    media_type = _media_type(file)
    if request.method == "HEAD":  # a range means nothing to it
        headers["Content-Length"] = str(size)
        return Response(headers=headers, media_type=media_type)
    part = _part(request, headers["ETag"], size)
    if accel_prefix is not None and isinstance(file, ListedFile) and _is_delegated(request, file):
        place = recording.served_path(file.key)
        headers["X-Accel-Redirect"] = accel_prefix + quote(place)
        return Response(headers=headers, media_type=media_type)
    status = HTTPStatus.OK
    if part is not None:
        status, headers["Content-Range"] = HTTPStatus.PARTIAL_CONTENT, content_range(part, size)
    # In one piece: FileResponse's many small ones take several times as long.
    body = recording.read(file, range(size) if part is None else part)
    return Response(body, status_code=status, headers=headers, media_type=media_type)


def answer_document(request: Request, document: Document, *, caching: str) -> Response:
    """The answer to GET of a JSON document that the service makes."""
    headers = _validators(document, caching)
    if not is_modified(request, document):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(document.data, headers=headers, media_type="application/json")


def _is_delegated(request: Request, file: ListedFile) -> bool:
    """Whether the web server in front answers as well: it cuts ranges, but knows not our tag.

    Small documents are not worth a second look at the disk.
    """
    return "if-range" not in request.headers and not file.key.endswith(".json")


def _validators(file: Document | ListedFile, caching: str) -> dict[str, str]:
    return {"ETag": entity_tag(file.digest.sha256), "Cache-Control": caching}


def _media_type(file: Document | ListedFile) -> str:
    is_json = isinstance(file, Document) or file.key.endswith(".json")
    return "application/json" if is_json else "application/octet-stream"


def is_modified(request: Request, file: Document | ListedFile) -> bool:
    """Whether there is anything to send that the client does not have.

    Raises:
        HTTPException: `If-Match` lists other bytes.
    """
    tag = entity_tag(file.digest.sha256)
    wanted = _joined(request, "if-match")
    if wanted is not None and not lists_tag(wanted, tag, weak=False):
        raise HTTPException(
            HTTPStatus.PRECONDITION_FAILED,
            f"If-Match lists {wanted}, the bytes now have {tag}; ask again without it",
        )
    known = _joined(request, "if-none-match")
    return known is None or not lists_tag(known, tag, weak=True)


def _part(request: Request, tag: str, size: int) -> range | None:
    if not range_applies(request.headers.get("if-range"), tag):
        return None
    header = _joined(request, "range")
    part = requested_part(header, size)
    if part is not None and not part:
        raise HTTPException(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"range {header} lies beyond the {size} bytes there are; allowed are 0 to {size - 1}",
            headers={"Content-Range": content_range(part, size), "Accept-Ranges": "bytes"},
        )
    return part


def _joined(request: Request, name: str) -> str | None:
    """A header that may come in several lines, as one."""
    lines = request.headers.getlist(name)
    return ", ".join(lines) if lines else None
