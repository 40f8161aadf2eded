"""Stored bytes as answers: whole, in part, not modified, refused."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote

from fastapi import Request, Response
from starlette.exceptions import HTTPException

from kdrec.api.byte_budget import ByteBudget
from kdrec.api.conditions import entity_tag, lists_tag, range_applies
from kdrec.api.file_answers import FileAnswer
from kdrec.api.hot_files import DelegatedFile, HotFile, SoundFile
from kdrec.api.ranges import content_range, requested_part
from kdrec.api.recording import Document, ListedFile, ServedRecording
from kdrec.api.state import ServiceState

_NOT_FOR_OTHERS = frozenset({"if-match", "if-range", "if-unmodified-since"})
_PLAIN_RANGE = re.compile(r"bytes=\d{0,18}-\d{0,18}", re.ASCII)  # what everybody reads alike


def answer_file(
    request: Request, recording: ServedRecording, key: str, *, state: ServiceState, address: str
) -> Response:
    """The answer to GET or HEAD of a file of a recording, after its conditions.

    Args:
        request: Its method and headers count.
        recording: Has the file.
        key: Of the file.
        state: Of the service.
        address: The recording's name in the request, with its identity if that is said.

    Raises:
        KdrecError: The recording has no such file, or it is damaged.
        HTTPException: A condition fails, or nothing of the range exists.
    """
    file = recording.file(key)
    headers = _validators(file, state.caching(immutable="@" in address))
    if not is_modified(request, file):
        recording.check(file)
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    headers |= {"Accept-Ranges": "bytes", "Content-Type": _media_type(file)}
    if request.method == "HEAD":  # a range means nothing to it
        recording.check(file)
        return Response(headers=headers | {"Content-Length": str(file.digest.size)})
    if isinstance(file, Document):
        return _answer_bytes(request, file, headers)
    prefix = state.settings.accel_prefix
    found = _find(request, recording, file, headers, prefix=prefix)
    if prefix is None or isinstance(found, DelegatedFile):  # as one without conditions gets it
        state.hot_files.keep(address, key, found)
    answer = answer_found(request, found, budget=state.budget)
    if isinstance(answer, FileAnswer):
        answer.load_first_piece()
    return answer


def _find(
    request: Request,
    recording: ServedRecording,
    file: ListedFile,
    headers: dict[str, str],
    *,
    prefix: str | None,
) -> HotFile:
    """The file, to be sent from here or, where a prefix is told, by the web server in front."""
    if prefix is None or not _is_delegated(request, file):
        return SoundFile(recording.open(file), file.digest.size, headers)
    placed = recording.place(file)
    headers["X-Accel-Redirect"] = prefix + quote(placed.below)
    del headers["Accept-Ranges"]  # the one in front adds its own
    return DelegatedFile(placed, file.digest.size, headers)


def answer_found(request: Request, found: HotFile, *, budget: ByteBudget) -> Response:
    """The answer that sends a file or names it, or the part of it that the request names.

    Raises:
        HTTPException: Nothing of that part exists.
    """
    part = _part(request, found.headers["ETag"], found.size)
    if isinstance(found, DelegatedFile):  # who sends it cuts it; what cannot be is refused here
        return Response(headers=dict(found.headers))
    return FileAnswer(
        found.file,
        range(found.size) if part is None else part,
        budget=budget,
        status=_status(part),
        headers=_with_range(found.headers, part, found.size),
    )


def _answer_bytes(request: Request, document: Document, headers: Mapping[str, str]) -> Response:
    part = _part(request, headers["ETag"], document.digest.size)
    data = document.data if part is None else document.data[part.start : part.stop]
    told = _with_range(headers, part, document.digest.size)
    return Response(data, status_code=_status(part), headers=told)


def _status(part: range | None) -> HTTPStatus:
    return HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT


def _with_range(headers: Mapping[str, str], part: range | None, size: int) -> dict[str, str]:
    added = {} if part is None else {"Content-Range": content_range(part, size)}
    return {**headers, **added}


def answer_document(request: Request, document: Document, *, caching: str) -> Response:
    """The answer to GET of a JSON document that the service makes."""
    headers = _validators(document, caching)
    if not is_modified(request, document):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(document.data, headers=headers, media_type="application/json")


def _is_delegated(request: Request, file: ListedFile) -> bool:
    """Whether the web server in front answers as well: it cuts ranges, but knows not our tag.

    Nor that times say nothing, and it refuses ranges that may be ignored. Small documents are not
    worth a second look at the disk.
    """
    is_simple = _NOT_FOR_OTHERS.isdisjoint(request.headers.keys())
    asked = _joined(request, "range")
    is_cut = asked is None or (
        _PLAIN_RANGE.fullmatch(asked) is not None
        and requested_part(asked, file.digest.size) is not None
    )
    return is_simple and is_cut and not file.key.endswith(".json")


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
