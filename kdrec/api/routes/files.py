"""The stored bytes of a recording, as any Zarr client asks for them."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from kdrec.api.byte_answers import answer_file
from kdrec.api.names import RecordingAddress
from kdrec.api.routes.dependencies import RecordingName, ServedCatalog, SharedState

router = APIRouter(prefix="/v1/recordings", tags=["files"])
_PATH = "/{name}/zarr/{key:path}"
_BYTES: dict[str, Any] = {
    "description": "Stored bytes, or the part that Range names",
    "content": {"application/octet-stream": {}, "application/json": {}},
}


@router.head(_PATH, include_in_schema=False)
@router.get(_PATH, response_class=Response, responses={200: _BYTES, 206: _BYTES, 304: {}, 416: {}})
def read_file(
    name: RecordingName,
    key: Annotated[
        str,
        Path(
            examples=["zarr.json", "logits/c/0/0/0"],
            json_schema_extra={"pattern": "^[a-z0-9_./-]{1,200}$"},
        ),
    ],
    catalog: ServedCatalog,
    state: SharedState,
    request: Request,
) -> Response:
    """A file that the ledger knows; under `NAME@IDENTITY` it never changes."""
    recording = catalog.find(RecordingAddress.parse(name))
    return answer_file(request, recording, key, state=state, address=name)
