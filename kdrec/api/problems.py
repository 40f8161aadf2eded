"""Errors as problem details (RFC 9457), with the kinds of the library."""

import logging
from http import HTTPStatus
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from kdrec.errors import ErrorKind, KdrecError

PROBLEM_TYPE = "application/problem+json"
_RETRY_SECONDS = "2"
_KINDS = {
    HTTPStatus.NOT_FOUND: ErrorKind.NOT_FOUND,
    HTTPStatus.PRECONDITION_FAILED: ErrorKind.CONFLICT,
}
_logger = logging.getLogger(__name__)


class Problem(BaseModel):
    """What every error is answered with.

    Attributes:
        type: A name for the kind, as a URI.
        instance: The path that was asked for.
    """

    type: str
    title: str
    status: int
    detail: str
    kind: ErrorKind
    instance: str

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:kdrec:problem:incomplete",
                "title": "Incomplete",
                "status": 404,
                "detail": "block g00001-p00000 of mn40 is not recorded yet, or not in this copy; "
                "ask again later",
                "kind": "incomplete",
                "instance": "/v1/recordings/mn40/zarr/logits/c/1/0/0",
            }
        }
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Let every error of the app become a problem."""
    app.add_exception_handler(KdrecError, _on_kdrec_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(Exception, on_bug)


async def _on_kdrec_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, KdrecError)
    response = respond(request, error.outcome.http_status, error.kind, str(error))
    if error.kind is ErrorKind.UNAUTHENTICATED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="kdrec"'
    return response


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    detail = error.detail
    if detail == status.phrase:  # the framework's own, which says nothing more
        detail = f"{request.method} {_path(request)}: {detail.lower()}; /docs lists what there is"
    response = respond(request, status, _kind(status), detail)
    response.headers.update(error.headers or {})
    return response


def _kind(status: HTTPStatus) -> ErrorKind:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ErrorKind.SERVICE
    return _KINDS.get(status, ErrorKind.INVALID_INPUT)


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    parts = [
        f"{'.'.join(map(str, found['loc'][1:]))}: {found['msg']}, got {found['input']!r}"
        for found in error.errors()
    ]
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    return respond(request, status, ErrorKind.INVALID_INPUT, "; ".join(parts))


async def on_bug(request: Request, _: Exception) -> Response:
    """What no one expected; the traceback is for the log, the one who asks may be anybody."""
    detail = "the server failed in a way it did not expect; its log has the traceback: report it"
    return respond(request, HTTPStatus.INTERNAL_SERVER_ERROR, ErrorKind.SERVICE, detail)


def respond(request: Request, status: int, kind: ErrorKind, detail: str) -> Response:
    """The problem as an answer; what is the server's fault is logged."""
    request.scope["kdrec.kind"] = kind
    headers = {"Cache-Control": "no-store"}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = _RETRY_SECONDS
    problem = Problem(
        type=f"urn:kdrec:problem:{kind}",
        title=kind.replace("_", " ").capitalize(),
        status=status,
        detail=detail,
        kind=kind,
        instance=_path(request),
    )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _logger.error("%s %s: %s", request.method, problem.instance, detail)
    return Response(
        problem.model_dump_json(),
        status_code=status,
        media_type=PROBLEM_TYPE,
        headers=headers,
    )


def _path(request: Request) -> str:
    return quote(request.scope["path"], safe="/@")
