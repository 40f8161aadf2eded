"""Decoded records, for those who have no kdrec."""

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from kdrec.api.answers import RecordsAnswer
from kdrec.api.names import RecordingAddress
from kdrec.api.record_streams import ARROW, arrow_stream, choose_format, json_stream
from kdrec.api.records import MAX_LISTED, parse_query
from kdrec.api.routes.dependencies import RecordingName, ServedCatalog, SharedState

router = APIRouter(prefix="/v1/recordings", tags=["records"])
_RECORDS: dict[int | str, dict[str, Any]] = {
    200: {"model": RecordsAnswer, "content": {ARROW: {}}, "description": "As Accept says"}
}
_GREATEST = 2**53


@router.get("/{name}/records", response_class=StreamingResponse, responses=_RECORDS)
def read_records(
    name: RecordingName,
    catalog: ServedCatalog,
    state: SharedState,
    request: Request,
    view: Annotated[int, Query(ge=0, le=_GREATEST, examples=[0])],
    start: Annotated[int | None, Query(ge=0, le=_GREATEST, examples=[0])] = None,
    stop: Annotated[int | None, Query(ge=0, le=_GREATEST, examples=[32])] = None,
    samples: Annotated[
        str | None,
        Query(description=f"At most {MAX_LISTED} numbers by commas, instead of start and stop."),
    ] = None,
    names: Annotated[
        str | None, Query(description="Columns by commas: sample, parameters, logits; all if left.")
    ] = None,
) -> StreamingResponse:
    """Parameters and logits of one view, as Arrow IPC stream or JSON."""
    recording = catalog.find(RecordingAddress.parse(name))
    reader = state.record_readers.reader(recording)
    query = parse_query(reader, view=view, start=start, stop=stop, samples=samples, names=names)
    media_type = choose_format(request.headers.get("accept"))
    batches = query.batches(reader)
    if media_type == ARROW:
        metadata = {"recording": recording.name, "view": str(view)}
        pieces = arrow_stream(batches, metadata=metadata | {"identity": recording.identity or ""})
    else:
        pieces = json_stream(batches, view=view)
    headers = {"Cache-Control": state.caching(immutable="@" in name), "Vary": "Accept"}
    return StreamingResponse(_begun(pieces), media_type=media_type, headers=headers)


def _begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """With the first piece made, so that what is wrong can still be told."""
    return chain([next(pieces)], pieces)
