"""The list of recordings, one recording, its ledger."""

import time
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response

from kdrec.api.access import VisibleCatalog
from kdrec.api.answers import LedgerAnswer, ListedRecording, RecordingAnswer, RecordingPage
from kdrec.api.byte_answers import answer_document, is_modified
from kdrec.api.names import RecordingAddress
from kdrec.api.protocol import is_stopping
from kdrec.api.recording import Document
from kdrec.api.routes.dependencies import RecordingName, ServedCatalog, SharedState
from kdrec.errors import KdrecError

router = APIRouter(prefix="/v1/recordings", tags=["recordings"])
_LONGEST_PAGE = 1000
_GREATEST_OFFSET = 10**9
_LONGEST_WAIT = 60


@router.get("")
def list_recordings(
    catalog: ServedCatalog,
    offset: Annotated[int, Query(ge=0, le=_GREATEST_OFFSET)] = 0,
    limit: Annotated[int, Query(ge=1, le=_LONGEST_PAGE)] = 100,
) -> RecordingPage:
    """Recordings by name; one that is damaged stands there with its error."""
    names = catalog.names()
    stop = offset + limit
    return RecordingPage(
        recordings=[_listed(catalog, name) for name in names[offset:stop]],
        total=len(names),
        next=stop if stop < len(names) else None,
    )


def _listed(catalog: VisibleCatalog, name: str) -> ListedRecording:
    try:
        return ListedRecording.of(catalog.find(RecordingAddress.parse(name)))
    except KdrecError as error:
        return ListedRecording.failed(name, error)


@router.get("/{name}")
def describe_recording(
    name: RecordingName, catalog: ServedCatalog, state: SharedState, response: Response
) -> RecordingAnswer:
    """Manifest, identity and progress of `NAME` or `NAME@IDENTITY`."""
    response.headers["Cache-Control"] = state.caching()
    return RecordingAnswer.of(catalog.find(RecordingAddress.parse(name)))


@router.get("/{name}/ledger", responses={200: {"model": LedgerAnswer}, 304: {}})
async def read_ledger(
    name: RecordingName,
    catalog: ServedCatalog,
    state: SharedState,
    request: Request,
    wait: Annotated[float, Query(ge=0, le=_LONGEST_WAIT)] = 0,
) -> Response:
    """Sizes and digests of all committed blocks; the tag changes when one is added.

    With `If-None-Match` and `wait`, answers when the tag is another one, or after that many
    seconds.
    """
    address = RecordingAddress.parse(name)

    def look() -> Document:
        return catalog.find(address).ledger()

    ledger = await to_thread.run_sync(look)
    deadline = time.monotonic() + wait
    while not is_modified(request, ledger) and await _may_wait(request, deadline):
        ledger = await state.ledger_looks.next(name, look)
    return answer_document(request, ledger, caching=state.caching())


async def _may_wait(request: Request, deadline: float) -> bool:
    return (
        time.monotonic() < deadline
        and not is_stopping(request)
        and not await request.is_disconnected()
    )
