"""What the handlers depend on: the service's state, and the recordings that one may see."""

from typing import Annotated

from fastapi import Depends, Path, Request

from kdrec.api.access import VisibleCatalog
from kdrec.api.names import NAME_PATTERN
from kdrec.api.state import ServiceState, state_of


async def _state(request: Request) -> ServiceState:
    return state_of(request)


async def _visible_catalog(request: Request) -> VisibleCatalog:
    state = state_of(request)
    grant = state.grant(request.headers.get("authorization"))
    request.scope["kdrec.token"] = grant.name  # for the log
    return VisibleCatalog(state.catalog, grant)


RecordingName = Annotated[
    str,
    Path(
        description="`NAME`, or `NAME@IDENTITY` for what never changes.",
        examples=["mn40"],
        # Described, not checked there: what cannot be a name is not found.
        json_schema_extra={"pattern": f"^{NAME_PATTERN}(@[0-9a-f]{{1,64}})?$"},
    ),
]
SharedState = Annotated[ServiceState, Depends(_state)]
ServedCatalog = Annotated[VisibleCatalog, Depends(_visible_catalog)]
